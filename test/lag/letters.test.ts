/** An entry that dies as a whole is one letter and several dead events: lag tells both. */
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { connect } from '../../src/millrace.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

t.test('a corrupt entry of three events beside one dead event', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 1, LOG_LEVEL: 'silent' },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  const { deployment } = millrace;
  const data = { key: 'k', number: 0, order: 'non-retryable', filler: new Uint8Array(0) };
  await millrace.publisher().publishMany([{ type: 'test.event', id: 'dead', data }]);
  await look.xadd('mr:{0}:events:test.event', '*', 'b', 'no batch', 'n', 3, 'c', 1);
  await millrace.dispatcher({ functionsDir: functionsDirOf('handle') }).start();
  await settled(look, 'handle', 1, 4);
  t.match((await readLag(deployment)).functions, [
    { dead: 4, letters: 2, purged: 0, conserved: true },
  ]);
  for await (const letter of listDeadLetters(deployment))
    if (letter.kind === 'entry') await purgeDeadLetters(deployment, [letter]);
  t.match((await readLag(deployment)).functions, [
    { dead: 4, letters: 1, purged: 3, conserved: true },
  ]);
});
