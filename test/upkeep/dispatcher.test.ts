/** Upkeep and loss ledger of a running dispatcher. */
import t from 'tap';
import { readLosses } from '../../src/lag/losses.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { deadLetters, settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, is } from '../../scripts/lab/until.ts';

const event = (id: string, order = 'ok', key = id) => ({
  type: 'test.event',
  id,
  data: { key, number: 0, order, filler: new Uint8Array(0) },
});

async function open(
  t: TestLike,
  url: string,
  environment: Record<string, unknown> = {},
): Promise<Millrace> {
  const millrace = await connect({
    environment: {
      REDIS_URL: url,
      MILLRACE_PARTITIONS: 1,
      WORKERS: 1,
      LOG_LEVEL: 'silent',
      MILLRACE_UPKEEP_MS: 100,
      ...environment,
    },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  return millrace;
}

t.test(
  'trims what its functions have settled; writes down lost groups and lost entries',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const millrace = await open(t, redis.url);
    const { deployment } = millrace;
    const publisher = millrace.publisher();
    const dispatcher = millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
    await dispatcher.start();
    for (let i = 0; i < 20; i++)
      await publisher.publish('test.event', event(`a${i}`).data, { id: `a${i}` });
    await settled(look, 'handle', 1, 20);
    await setTypeLimits(deployment, 'test.event', { maxEvents: 5 });
    await untilTold(
      writesTo(look),
      'trimmed',
      async () => (await look.xlen('mr:{0}:events:test.event')) <= 5,
    );
    t.match(await settled(look, 'handle', 1, 20), { appended: 20, done: 20 });

    await look.xgroup('DESTROY', 'mr:{0}:events:test.event', 'handle');
    await publisher.publish('test.event', event('b').data, { id: 'b' });
    await settled(look, 'handle', 1, 21);
    t.match(
      (await readLosses(deployment)).filter((loss) => loss.kind === 'group'),
      [{ function: 'handle', type: 'test.event' }],
    );
    await dispatcher.stop();

    // The entry was delivered to a dispatcher that died, and deleted by another program.
    await publisher.publish('test.event', event('c').data, { id: 'c' });
    const [entry] = (await look.xrevrange('mr:{0}:events:test.event', '+', '-', 'COUNT', 1)) as [
      string,
      string[],
    ][];
    await look.xreadgroup(
      'GROUP',
      'handle',
      'lane',
      'COUNT',
      1,
      'STREAMS',
      'mr:{0}:events:test.event',
      '>',
    );
    await look.xdel('mr:{0}:events:test.event', entry?.[0] as string);
    const again = await open(t, redis.url);
    await again.dispatcher({ functionsDir: functionsDirOf('handle') }).start();
    await untilTold(writesTo(look), 'dead-lettered', async () =>
      is((await deadLetters(look, 'handle', 1)).length, 1),
    );
    await until('both losses are written down', async () => {
      const kinds = (await readLosses(deployment)).map((loss) => loss.kind);
      return kinds.includes('pending') && kinds.includes('entries');
    });
    t.match(
      (await readLosses(deployment)).find((loss) => loss.kind === 'pending'),
      { function: 'handle', from: entry?.[0], to: entry?.[0], count: 1 },
    );
  },
);
