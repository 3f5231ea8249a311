/**
 * The end of a lease counts as the death of its owner only where the owner does not come again.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { OWNER } from '../../../src/core/function-spec.ts';
import { CrashSearch } from '../../../src/pipeline/ownership/crash-search.ts';
import { acquireLease, noteNotDead, releaseLease } from '../../../src/pipeline/ownership/leases.ts';
import { UnknownOutcomeError } from '../../../src/core/errors/server-errors.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import type { RedisConnection } from '../../../src/redis/contract.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { defineScript } from '../../../src/redis/script.ts';
import { HOLDS_LEASE } from '../../../src/redis/lua/shared.ts';
import { settled, totals } from '../../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../../scripts/lab/dispatcher-process.ts';
import { readHistory } from '../../../scripts/lab/history.ts';
import { POLICY } from '../../../scripts/lab/misbehaving-functions/behave.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';
import { until, untilTold, writesToFile, moreThan } from '../../../scripts/lab/until.ts';

const keys = createKeys('mr');
const FN = 'f';
const LANE = { fn: FN, partition: 0, consumer: OWNER };
const ADDRESS = '1-0/0';
const mark = defineScript({
  url: new URL('../../../src/pipeline/ownership/mark-suspect.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 2,
});

/**
 * `ends`: an owner's lease ends by itself. `lives`: the owner learns of that, and says that it
 * lives. `claims`: it takes the lane, and ends before it has counted the deaths. `passes`: it gives
 * the lane back after all that was pending has run.
 */
type Step = readonly [
  dispatcher: string,
  what: 'claims' | 'takes' | 'ends' | 'lives' | 'gives back' | 'passes' | 'marks' | 'survives',
];
const cases: readonly (readonly [
  title: string,
  steps: readonly Step[],
  deaths: number,
  suspected: number,
])[] = [
  [
    'one dispatcher that takes its lane again and again',
    repeat(5, [
      ['A', 'takes'],
      ['A', 'ends'],
    ]),
    0,
    0,
  ],
  [
    'one that does not notice that it lost it',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['A', 'takes'],
    ],
    0,
    0,
  ],
  [
    'two that swap at each pause, and live',
    repeat(4, [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['A', 'lives'],
      ['B', 'ends'],
      ['A', 'takes'],
      ['B', 'lives'],
      ['A', 'ends'],
    ]),
    0,
    0,
  ],
  [
    'one that says that it lives before another one takes its lane',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['A', 'lives'],
      ['B', 'takes'],
    ],
    0,
    0,
  ],
  [
    'one that has said so twice, because the answer was lost',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['A', 'lives'],
      ['A', 'lives'],
      ['B', 'ends'],
      ['C', 'takes'],
    ],
    1,
    0,
  ],
  [
    'three that died',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'ends'],
      ['C', 'takes'],
      ['C', 'ends'],
      ['D', 'takes'],
    ],
    3,
    0,
  ],
  [
    'of three one lives',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'ends'],
      ['C', 'takes'],
      ['A', 'lives'],
      ['C', 'ends'],
      ['D', 'takes'],
    ],
    2,
    0,
  ],
  [
    'one, before one that ran all that was pending, and gave it back',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'passes'],
      ['C', 'takes'],
    ],
    0,
    0,
  ],
  [
    'three that died, before one that gave it back at once',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'ends'],
      ['C', 'takes'],
      ['C', 'ends'],
      ['D', 'takes'],
      ['D', 'gives back'],
      ['E', 'takes'],
    ],
    3,
    0,
  ],
  [
    'one that died, before one that was stopped during its claim',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'claims'],
      ['B', 'gives back'],
      ['C', 'takes'],
    ],
    1,
    0,
  ],
  [
    'two that died, the second one during its claim',
    [
      ['A', 'takes'],
      ['A', 'ends'],
      ['B', 'claims'],
      ['B', 'ends'],
      ['C', 'takes'],
    ],
    2,
    0,
  ],
  [
    'one that died with an event marked, before one that gave it back at once',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'gives back'],
      ['C', 'takes'],
    ],
    1,
    1,
  ],
  [
    'one that gave it back with an event marked',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'gives back'],
      ['B', 'takes'],
    ],
    0,
    0,
  ],
  [
    'one that died with an event marked',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'ends'],
      ['B', 'takes'],
    ],
    1,
    1,
  ],
  [
    'one that lost its lease with an event marked, and lives',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['A', 'lives'],
    ],
    0,
    0,
  ],
  [
    'the same, once the other one has marked the event too',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'ends'],
      ['B', 'takes'],
      ['B', 'marks'],
      ['A', 'lives'],
      ['B', 'survives'],
    ],
    0,
    0,
  ],
  [
    'one that lost it with an event marked, and takes it again itself',
    [
      ['A', 'takes'],
      ['A', 'marks'],
      ['A', 'ends'],
      ['A', 'lives'],
      ['A', 'takes'],
    ],
    0,
    0,
  ],
];

function repeat(times: number, steps: readonly Step[]): Step[] {
  return Array.from({ length: times }, () => steps).flat();
}

async function played(
  t: Test,
  steps: readonly Step[],
): Promise<{ deaths: number; suspected: number }> {
  const redis = await startRedis(t);
  const connection = openConnection({
    url: redis.url,
    name: 'test',
    blocking: false,
    log: () => {},
  });
  t.teardown(() => connection.close());
  const look = redis.client();
  const leases = new Map<string, string>();
  const marked = new Set<string>();
  for (const [dispatcher, what] of steps) {
    const leaseValue = leases.get(dispatcher) ?? '';
    if (what === 'takes' || what === 'claims') {
      const lease = await acquireLease(connection, keys, LANE, { dispatcher, ttlMs: 60_000 });
      if (!('value' in lease)) throw new Error('the lease is taken');
      leases.set(dispatcher, lease.value);
      marked.delete(dispatcher);
      if (what === 'claims') continue;
      await CrashSearch.begin({
        connection,
        keys,
        ...LANE,
        types: ['a'],
        leaseValue: lease.value,
        leaseTtlMs: 60_000,
      });
    } else if (what === 'ends') await look.del(keys.lease(0, FN));
    else if (what === 'gives back' || what === 'passes')
      await releaseLease(
        connection,
        keys,
        { ...LANE, leaseValue },
        { passed: what === 'passes', marked: marked.has(dispatcher) ? ADDRESS : '' },
      );
    else if (what === 'lives')
      await noteNotDead(
        connection,
        keys,
        { ...LANE, leaseValue },
        marked.has(dispatcher) ? ADDRESS : '',
      );
    else {
      if (what === 'marks') marked.add(dispatcher);
      await mark.run(
        connection,
        [keys.lease(0, FN), keys.counters(0)],
        [leaseValue, 60_000, FN, what === 'marks' ? 'begin' : 'survived', ADDRESS, 0],
      );
    }
  }
  const counters = await look.hgetall(keys.counters(0));
  return {
    deaths: Number(counters[`crash:${FN}`]?.split(' ')[0] ?? 0),
    suspected: Number(counters[`suspect:${FN}`]?.split(' ')[0] ?? 0),
  };
}

for (const [title, steps, deaths, suspected] of cases) {
  /** Sends scripts on, and loses the answers to those that it is told to. */
  function losingAnswers(
    connection: RedisConnection,
    lost: (number: number) => boolean,
  ): RedisConnection {
    let number = 0;
    return new Proxy(connection, {
      get(target, name: keyof RedisConnection) {
        if (name !== 'script') return Reflect.get(target, name) as unknown;
        return async (...call: Parameters<RedisConnection['script']>) => {
          const answer = await target.script(...call);
          if (lost(++number)) throw new UnknownOutcomeError(call[0].name);
          return answer;
        };
      },
    });
  }

  t.test('an event is charged once per death, whichever answer is lost', async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const openSearch = async (dispatcher: string, through: RedisConnection) => {
      const lease = await acquireLease(connection, keys, LANE, { dispatcher, ttlMs: 60_000 });
      if (!('value' in lease)) throw new Error('the lease is taken');
      const options = { keys, ...LANE, types: ['a'], leaseValue: lease.value, leaseTtlMs: 60_000 };
      return CrashSearch.begin({ ...options, connection: through });
    };
    // Two owners have died of the event: the next one has a search.
    const deaths = 2;
    for (const answer of [2, 3, 4, 5]) {
      await look.flushall();
      const opened = await openSearch('one', connection);
      t.equal(opened, null);
      await look.hset(keys.counters(0), `suspect:${FN}`, `${deaths} ${ADDRESS}`);
      await look.del(keys.lease(0, FN));
      const search = await openSearch(
        'two',
        // The first script is note-crash.lua. Then: look, begin, look, survived.
        losingAnswers(connection, (number) => number === answer),
      );
      if (search === null || search === 'stale') throw new Error('there is no search');
      await t.rejects(
        search.alone(ADDRESS, () => Promise.resolve('ran')),
        UnknownOutcomeError,
      );
      t.equal(await search.alone(ADDRESS, () => Promise.resolve('ran')), 'ran');
      t.equal(await look.hget(keys.counters(0), `suspect:${FN}`), `${deaths} ${ADDRESS}`);
    }
  });

  t.test('an owner that has run everything forgets the deaths of earlier ones', async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    let owner = 0;
    const next = async () => {
      const dispatcher = `owner-${++owner}`;
      const lease = await acquireLease(connection, keys, LANE, { dispatcher, ttlMs: 60_000 });
      if (!('value' in lease)) throw new Error('the lease is taken');
      const options = { keys, ...LANE, types: ['a'], leaseValue: lease.value, leaseTtlMs: 60_000 };
      const deaths = await CrashSearch.begin({ ...options, connection });
      await look.del(keys.lease(0, FN));
      return deaths;
    };
    t.equal(await next(), null);
    const first = await next();
    t.match(first, { underWay: false });
    await look.set(keys.lease(0, FN), 'owner-2:2');
    await (first as CrashSearch).end();
    t.equal(await look.hexists(keys.counters(0), `crash:${FN}`), 0);
    await look.del(keys.lease(0, FN));
    t.match(await next(), { underWay: false }, 'the second one counts as the first death');
  });

  t.test(`${title}: ${deaths} deaths`, async (t) => {
    t.strictSame(await played(t, steps), { deaths, suspected });
  });
}

t.test(
  'pauses of Redis beyond the lease while a slow handler runs: nobody died, the event is done',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, 1)).publisher();
    const dispatcher = await startDispatcher(t, {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_LEASE_MS: '500', WORKERS: '1' },
    });
    await publisher.publishMany([
      {
        type: 'test.event',
        id: 'slow',
        data: { key: 'subject', number: 0, order: 'slow:900', filler: new Uint8Array(0) },
      },
    ]);
    const starts = (): number => readHistory(history).filter(({ what }) => what === 'start').length;
    const over = async (): Promise<boolean> => {
      const { done, dead } = await totals(look, 'handle', 1);
      return done + dead > 0;
    };
    // Seven in a row were enough: three owners that seem to have died, then as many attempts as the
    // function has, and one more.
    for (let round = 1; round <= 7; round++) {
      if (
        (await until(`it runs for the ${round}th time, or is settled`, async () =>
          (await over()) ? 'over' : starts() >= round,
        )) === 'over'
      )
        break;
      redis.pause();
      await delay(700);
      redis.resume();
    }
    t.match(await settled(look, 'handle', 1, 1), { done: 1, dead: 0 });
    t.notMatch(dispatcher.stderr, /dispatchers have died/);
    t.equal(await dispatcher.terminate(), 0);
  },
);

t.test(
  'a process that stands still for longer than timeoutMs: its handlers are charged nothing',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, 1)).publisher();
    const dispatcher = await startDispatcher(t, {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { WORKERS: '1' },
    });
    await publisher.publishMany([
      {
        type: 'test.event',
        id: 'slow',
        data: { key: 'subject', number: 0, order: 'slow:400', filler: new Uint8Array(0) },
      },
    ]);
    await untilTold(writesToFile(history), 'it runs', () =>
      moreThan(readHistory(history).length, 0),
    );
    dispatcher.freeze();
    await delay(POLICY.timeoutMs + 2500);
    dispatcher.thaw();
    t.match(await settled(look, 'handle', 1, 1), { done: 1, retried: 0 });
    t.equal(await dispatcher.terminate(), 0);
  },
);
