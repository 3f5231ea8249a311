/** Any number of calls may wait for a part to end, without a false warning of a leak. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { sharedAbort } from '../../src/core/shared-signal.ts';
import { connect } from '../../src/index.ts';
import { PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

const warnings: string[] = [];
process.on('warning', ({ name }) => warnings.push(name));

t.test('a hundred waits', async (t) => {
  const controller = sharedAbort();
  const waits = Array.from({ length: 100 }, () =>
    delay(60_000, undefined, { signal: controller.signal }),
  );
  controller.abort();
  t.ok((await Promise.allSettled(waits)).every(({ status }) => status === 'rejected'));
  t.strictSame(warnings, []);
});

t.test('a publisher whose server takes no writes: every partition waits', async (t) => {
  const redis = await startRedis(t);
  const millrace = await connect({
    protoDir: PROTO_DIR,
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 64, LOG_LEVEL: 'silent' },
  });
  t.teardown(() => millrace.close());
  const look = redis.client();
  const publisher = millrace.publisher({ deadlineMs: 1000 });
  await look.config('SET', 'min-replicas-to-write', '3');
  const calls = Array.from({ length: 256 }, (_, i) =>
    publisher.publish('test.event' as never, { key: `s${i}` } as never).then(
      () => 'done',
      () => 'failed',
    ),
  );
  t.ok((await Promise.all(calls)).every((end) => end === 'failed'));
  t.strictSame(warnings, []);
});
