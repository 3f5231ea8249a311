/** A stop in the middle of a dispatcher's start: start() rejects, and nothing runs behind it. */
import t from 'tap';
import { ClosedError } from '../../src/core/errors/append-errors.ts';
import { connect } from '../../src/millrace.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

for (const step of ['choose', 'beforeLanes', 'aroundStages'] as const) {
  t.test(`stopped in its step ${step}`, async (t) => {
    const redis = await startRedis(t);
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: 4,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    let stopped: Promise<void> | null = null;
    const stopIn = (now: string): void => {
      if (now === step) stopped ??= dispatcher.stop();
    };
    const dispatcher = millrace.dispatcher({
      functionsDir: functionsDirOf('handle'),
      choose(found) {
        stopIn('choose');
        return found;
      },
      beforeLanes() {
        stopIn('beforeLanes');
        return Promise.resolve();
      },
      aroundStages(stages) {
        stopIn('aroundStages');
        return stages;
      },
    });
    await t.rejects(dispatcher.start(), ClosedError);
    t.ok(stopped);
    await stopped;
    t.match(dispatcher.health(), { started: false, lanes: 0 });
    const client = redis.client();
    t.strictSame(await client.keys('mr:*:lease:*'), []);
    t.strictSame(await client.keys('mr:members:*'), []);
  });
}
