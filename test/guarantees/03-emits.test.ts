/**
 * Emitted events are written exactly once, whatever happens to dispatchers, connections and Redis.
 */
import { join } from 'node:path';
import t from 'tap';
import {
  openService,
  startDispatcher,
  testDir,
  type DispatcherProcess,
} from '../../scripts/lab/dispatcher-process.ts';
import { checkFlow, inventFlow, type Flow } from '../../scripts/lab/emit-flow.ts';
import { readHistory } from '../../scripts/lab/history.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import {
  until,
  untilTold,
  writesTo,
  countersOf,
  writesToFile,
  moreThan,
} from '../../scripts/lab/until.ts';

const PARTITIONS = 4;

t.test('emitted events', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const service = await openService(t, redis.url, PARTITIONS);
  const publisher = service.publisher();
  const options = {
    url: redis.url,
    functions: 'emit',
    history,
    environment: { MILLRACE_LEASE_MS: '500' },
  } as const;
  const lines = (): number => readHistory(history).length;
  let flow: Flow = { items: [], emitted: [] };
  const begin = async (name: string, count: number, seed: number): Promise<void> => {
    const more = inventFlow(name, count, randomOf(seed));
    flow = { items: [...flow.items, ...more.items], emitted: [...flow.emitted, ...more.emitted] };
    await publisher.publishMany(more.items);
  };
  let dispatchers: DispatcherProcess[] = [];
  const end = async (): Promise<void> => {
    for (const dispatcher of dispatchers) t.equal(await dispatcher.terminate(), 0);
    dispatchers = [];
  };

  for (const seed of [1, 2, 3]) {
    await t.test(`dispatchers are killed in the middle, seed ${seed}`, async (t) => {
      const random = randomOf(seed + 100);
      dispatchers = [await startDispatcher(t, options), await startDispatcher(t, options)];
      for (let kill = 0; kill < 2; kill++) {
        const before = lines();
        await begin(`kill-${seed}-${kill}`, 120, seed * 10 + kill);
        await until('it is in the middle', () => moreThan(lines(), before + 10 + random(150)));
        const victim = random(2);
        await dispatchers[victim]?.kill();
        dispatchers[victim] = await startDispatcher(t, options);
      }
      await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
      await end();
    });
  }

  await t.test('replies are lost', async (t) => {
    const proxy = await startProxy(t, { socket: redis.socket });
    dispatchers = [await startDispatcher(t, { ...options, url: proxy.url })];
    for (let cut = 0; cut < 6; cut++) {
      await begin(`lost-${cut}`, 60, 500 + cut);
      await proxy.dropRepliesThenCut(1 + (cut % 3));
    }
    await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
    await end();
  });

  await t.test('a dispatcher stopped beyond its lease, and continued', async (t) => {
    const zombie = await startDispatcher(t, options);
    const heir = await startDispatcher(t, options);
    const before = lines();
    await begin('zombie', 200, 900);
    await untilTold(writesToFile(history), 'it is in the middle', () =>
      moreThan(
        readHistory(history)
          .slice(before)
          .filter((line) => line.pid === zombie.pid).length,
        20,
      ),
    );
    zombie.freeze();
    await untilTold(
      writesTo(look),
      'the heir has all lanes',
      async () => {
        const leases = await Promise.all(
          Array.from({ length: PARTITIONS }, (_, p) => look.get(`mr:{${p}}:lease:emitter`)),
        );
        return leases.every((lease) => lease?.includes(`-${heir.pid}-`));
      },
      20_000,
    );
    zombie.thaw();
    await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
    dispatchers = [zombie, heir];
    await end();
  });

  await t.test('what waits for its time outlives Redis and the dispatcher', async (t) => {
    dispatchers = [await startDispatcher(t, options)];
    const more = inventFlow('later', 40, randomOf(7), { then: 'throw-once', sleepMs: 0 });
    const items = more.items.map((item) => {
      const data = item.data as { order: string };
      return {
        ...item,
        data: {
          ...data,
          order: data.order.replaceAll(
            /"subject":"([^"]*)"(,"delayMs":\d+)?/g,
            '"subject":"$1","delayMs":1500',
          ),
        },
      };
    });
    const done = flow.items.length;
    flow = { items: [...flow.items, ...items], emitted: [...flow.emitted, ...more.emitted] };
    await publisher.publishMany(items);
    await untilTold(countersOf(look), 'all is committed', async () => {
      let sum = 0;
      for (let p = 0; p < PARTITIONS; p++) {
        const counters = await look.hgetall(`mr:{${p}}:counters`);
        sum +=
          Number(counters['done:emitter:test.event'] ?? 0) +
          Number(counters['dead:emitter:test.event'] ?? 0);
      }
      return sum === done + items.length;
    });
    await dispatchers[0]?.kill();
    await redis.kill();
    await redis.restart();
    dispatchers = [await startDispatcher(t, options)];
    await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
    await end();
  });
});
