/**
 * Emitted events are written exactly once, whatever happens to dispatchers, connections and Redis.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
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

/** Opens a service whose dispatchers emit. The flow holds all events of the subtests until now. */
async function openBed(t: Test) {
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
  let flow: Flow = { items: [], emitted: [] };
  const publish = async (more: Flow): Promise<void> => {
    flow = { items: [...flow.items, ...more.items], emitted: [...flow.emitted, ...more.emitted] };
    await publisher.publishMany(more.items);
  };
  return {
    redis,
    look,
    history,
    options,
    publish,
    begin: (name: string, count: number, seed: number): Promise<void> =>
      publish(inventFlow(name, count, randomOf(seed))),
    published: (): number => flow.items.length,
    lines: (): number => readHistory(history).length,
    /** Waits until all is done, and checks that each event was emitted once. */
    check: (t: Test): Promise<void> =>
      checkFlow(t, { service, look, partitions: PARTITIONS }, flow),
  };
}

async function end(t: Test, dispatchers: readonly DispatcherProcess[]): Promise<void> {
  for (const dispatcher of dispatchers) t.equal(await dispatcher.terminate(), 0);
}

/** Returns a flow whose events fail once, and whose emitted events are due after 1.5 s. */
function inventLater(): Flow {
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
  return { items, emitted: more.emitted };
}

async function allLanesAreOf(heir: DispatcherProcess, look: Redis): Promise<void> {
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
}

async function committed(count: number, look: Redis): Promise<void> {
  await untilTold(countersOf(look), 'all is committed', async () => {
    let sum = 0;
    for (let p = 0; p < PARTITIONS; p++) {
      const counters = await look.hgetall(`mr:{${p}}:counters`);
      sum +=
        Number(counters['done:emitter:test.event'] ?? 0) +
        Number(counters['dead:emitter:test.event'] ?? 0);
    }
    return sum === count;
  });
}

t.test('emitted events', async (t) => {
  const bed = await openBed(t);
  const { redis, look, history, options } = bed;

  for (const seed of [1, 2, 3]) {
    await t.test(`dispatchers are killed in the middle, seed ${seed}`, async (t) => {
      const random = randomOf(seed + 100);
      const dispatchers = [await startDispatcher(t, options), await startDispatcher(t, options)];
      for (let kill = 0; kill < 2; kill++) {
        const before = bed.lines();
        await bed.begin(`kill-${seed}-${kill}`, 120, seed * 10 + kill);
        await until('it is in the middle', () => moreThan(bed.lines(), before + 10 + random(150)));
        const victim = random(2);
        await dispatchers[victim]?.kill();
        dispatchers[victim] = await startDispatcher(t, options);
      }
      await bed.check(t);
      await end(t, dispatchers);
    });
  }

  await t.test('replies are lost', async (t) => {
    const proxy = await startProxy(t, { socket: redis.socket });
    const dispatchers = [await startDispatcher(t, { ...options, url: proxy.url })];
    for (let cut = 0; cut < 6; cut++) {
      await bed.begin(`lost-${cut}`, 60, 500 + cut);
      await proxy.dropRepliesThenCut(1 + (cut % 3));
    }
    await bed.check(t);
    await end(t, dispatchers);
  });

  await t.test('a dispatcher stopped beyond its lease, and continued', async (t) => {
    const zombie = await startDispatcher(t, options);
    const heir = await startDispatcher(t, options);
    const before = bed.lines();
    await bed.begin('zombie', 200, 900);
    await untilTold(writesToFile(history), 'it is in the middle', () =>
      moreThan(
        readHistory(history)
          .slice(before)
          .filter((line) => line.pid === zombie.pid).length,
        20,
      ),
    );
    zombie.freeze();
    await allLanesAreOf(heir, look);
    zombie.thaw();
    await bed.check(t);
    await end(t, [zombie, heir]);
  });

  await t.test('Redis refuses acknowledgements for a while', async (t) => {
    const dispatcher = await startDispatcher(t, options);
    await look.acl('SETUSER', 'default', '-xack');
    await look.acl('LOG', 'RESET');
    const written = async (): Promise<number> =>
      Number(/cmdstat_xadd:calls=(\d+)/.exec(await look.info('commandstats'))?.[1] ?? 0);
    await bed.begin('refused', 40, 700);
    const before = await written();
    await until('commits were refused several times', async () => {
      const entries = (await look.acl('LOG')) as unknown[][];
      return entries.some((entry) => entry.includes('xack') && Number(entry[1]) >= 5);
    });
    t.equal(await written(), before, 'nothing was emitted by a commit that failed');
    await look.acl('SETUSER', 'default', '+xack');
    await bed.check(t);
    await end(t, [dispatcher]);
  });

  await t.test('what waits for its time outlives Redis and the dispatcher', async (t) => {
    const first = await startDispatcher(t, options);
    const later = inventLater();
    const count = bed.published() + later.items.length;
    await bed.publish(later);
    await committed(count, look);
    await first.kill();
    await redis.kill();
    await redis.restart();
    const second = await startDispatcher(t, options);
    await bed.check(t);
    await end(t, [second]);
  });
});
