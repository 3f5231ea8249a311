/**
 * The search for events that kill dispatchers: the marks, the charges, and the order in which
 * suspects run.
 */
import t, { type Test } from 'tap';
import { OWNER } from '../../../src/core/function-spec.ts';
import { CELL } from '../../../src/core/progress-cells.ts';
import { defineFunction } from '../../../src/define/index.ts';
import {
  createBatch,
  type PreparedBatch,
  type StreamEntry,
} from '../../../src/pipeline/batch/batch.ts';
import { FairShare } from '../../../src/pipeline/batch/fair-share.ts';
import { CrashSearch } from '../../../src/pipeline/ownership/crash-search.ts';
import { Lane } from '../../../src/pipeline/lane/lane.ts';
import type { LaneStages } from '../../../src/pipeline/lane/lane-stages.ts';
import { acquireLease } from '../../../src/pipeline/ownership/leases.ts';
import { BARE_REPORT } from '../../../src/pipeline/run/batch-group.ts';
import { runIsolating } from '../../../src/pipeline/run/run-isolating.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';

const keys = createKeys('mr');
const FN = 'f';

const entry = (type: number, positions: readonly number[]): StreamEntry => {
  const builder = new BatchBuilder();
  for (const position of positions) {
    builder.add({
      id: `e${position}`,
      subject: 's',
      timeMs: 1,
      source: '',
      schema: 0,
      position,
      extensions: null,
      dataBuffer: new Uint8Array(0),
      dataStart: 0,
      dataEnd: 0,
    });
  }
  const { bytes, count, crc } = builder.finish();
  return { id: '1-0', type, bytes, n: count, crc, count, gone: false };
};
const { spec } = defineFunction({
  name: FN,
  on: ['a', 'b'],
  handle: () => {},
} as unknown as Parameters<typeof defineFunction>[0]);

async function searches(t: Test) {
  const redis = await startRedis(t);
  const connection = openConnection({
    url: redis.url,
    name: 'test',
    blocking: false,
    log: () => {},
  });
  t.teardown(() => connection.close());
  const look = redis.client();
  const begin = async (partition: number): Promise<CrashSearch> => {
    const lease = await acquireLease(
      connection,
      keys,
      { fn: FN, partition, consumer: OWNER },
      { dispatcher: 'one', ttlMs: 60_000 },
    );
    if (!('value' in lease)) throw new Error('the lease is taken');
    const search = await CrashSearch.begin({
      connection,
      keys,
      fn: FN,
      partition,
      types: ['a'],
      leaseValue: lease.value,
      leaseTtlMs: 60_000,
      consumer: 'lane',
    });
    if (search === null || search === 'stale') throw new Error(`no search: ${String(search)}`);
    return search;
  };
  return {
    look,
    begin,
    suspect: (partition: number) => look.hget(keys.counters(partition), `suspect:${FN}`),
  };
}

t.test(
  'one event at a time runs marked in the whole process, and a mark that was survived does not count',
  async (t) => {
    const { look, begin, suspect } = await searches(t);
    for (const partition of [0, 1]) await look.hset(keys.counters(partition), `crash:${FN}`, '3 ,');
    const [first, second] = [await begin(0), await begin(1)];
    let end!: () => void;
    const running = first.alone(
      '1-0/0',
      () => new Promise<string>((resolve) => (end = () => resolve('done'))),
    );
    let secondRan = false;
    const waiting = second.alone('2-0/0', () => {
      secondRan = true;
      return Promise.resolve('done');
    });
    while ((await suspect(0)) === null) await look.ping();
    for (let i = 0; i < 20; i++) await look.ping();
    t.equal(await suspect(0), '1 1-0/0');
    t.equal(secondRan, false, 'the other lane waits');
    t.equal(
      await suspect(1),
      null,
      'and has marked nothing: should the first one kill us, nobody else is charged',
    );
    end();
    t.equal(await running, 'done');
    t.equal(await waiting, 'done');
    t.equal(await suspect(0), '0 1-0/0', 'survived');
    t.equal((await begin(0)).suspect?.deaths, 0);
  },
);

t.test('a run that failed leaves no mark behind the next one', async (t) => {
  const { look, begin, suspect } = await searches(t);
  await look.hset(keys.counters(0), `crash:${FN}`, '3 ,');
  const search = await begin(0);
  const failed = new Error('the turn failed');
  await t.rejects(
    search.alone('1-0/0', () => Promise.reject(failed)),
    failed,
  );
  await search.alone('1-0/0', async () => t.equal(await suspect(0), '1 1-0/0'));
  t.equal(await suspect(0), '0 1-0/0');
});

t.test('a mark that is found again is a death of that event', async (t) => {
  const { look, begin, suspect } = await searches(t);
  await look.hset(keys.counters(0), `suspect:${FN}`, '2 1-0/0');
  const search = await begin(0);
  t.strictSame(search.suspect, { address: '1-0/0', deaths: 2 });
  await search.alone('1-0/0', async () => t.equal(await suspect(0), '3 1-0/0'));
  t.equal(await suspect(0), '2 1-0/0');
  await look.set(keys.lease(0, FN), 'two:9');
  t.equal(
    await search.alone('1-0/0', () => Promise.reject(new Error('must not run'))),
    false,
    'the lease is lost',
  );
  t.equal(search.leaseLost, true);
});

t.test(
  'a lane that ends while it searches, and learns by it that its lease is lost, says so',
  async (t) => {
    for (const leaseLost of [true, false]) {
      const share = new FairShare({ slots: 1, slowLimit: 1 });
      share.register(FN);
      let began!: () => void;
      const running = new Promise<void>((resolve) => (began = resolve));
      const stages: Pick<
        LaneStages,
        'reader' | 'share' | 'beginSearch' | 'releaseRunning' | 'listParked' | 'run' | 'log'
      > = {
        reader: {
          take: () =>
            Promise.resolve({
              kind: 'ok',
              entries: [entry(0, [1])],
              units: [],
              more: false,
              nextDueMs: null,
              serverNowMs: 0,
            }),
          reset() {},
          pendingLeft: true,
          drained: false,
        },
        share,
        // The only methods that the lane calls here.
        beginSearch: () =>
          Promise.resolve({ suspect: null, underWay: true, leaseLost } as CrashSearch),
        releaseRunning: () => Promise.resolve(0),
        listParked: () => Promise.resolve(new Map()),
        run() {
          began();
          void lane.stop();
          return Promise.resolve({ kind: 'stopped' });
        },
        log() {},
      };
      const lane: Lane = new Lane(
        {
          spec,
          partition: 0,
          leaseValue: 'one:1',
          streamKeys: [],
          leaseTtlMs: 60_000,
          batchBytes: 1000,
          batchEvents: 10,
          batchMs: 10,
          pollMs: 1000,
        },
        stages as LaneStages,
      );
      lane.start();
      await running;
      await lane.stop();
      t.equal(lane.lost, leaseLost);
    }
  },
);

t.test(
  'suspects of two types in one flush run in the order in which they were appended',
  async (t) => {
    const batch = createBatch(FN, 0, ['a', 'b'], [], [entry(0, [1, 2]), entry(1, [0, 3])]);
    const ran: number[] = [];
    const pool = {
      run({ cells }: PreparedBatch) {
        for (let i = 0; i < batch.events; i++) {
          if (cells.states[i] !== CELL.TODO) continue;
          ran.push(i);
          cells.states[i] = CELL.DONE;
        }
        return Promise.resolve(BARE_REPORT);
      },
    };
    const search = {
      suspect: null,
      deathsOf: () => Promise.resolve(0),
      alone: <T>(_: string, run: () => Promise<T>) => run(),
    };
    const result = await runIsolating({
      pool,
      batch,
      spec,
      cancel: new AbortController().signal,
      search,
    });
    t.equal(result.kind, 'result');
    t.strictSame(ran, [2, 0, 1, 3], 'positions 0, 1, 2, 3');
  },
);

t.test(
  'an innocent whose entry has the same id in the stream of another type is not charged with the suspect',
  async (t) => {
    const batch = createBatch(FN, 0, ['a', 'b'], [], [entry(0, [0]), entry(1, [1])]);
    const marked: string[] = [];
    const pool = {
      run({ cells }: PreparedBatch) {
        for (let i = 0; i < batch.events; i++)
          if (cells.states[i] === CELL.TODO) cells.states[i] = CELL.DONE;
        return Promise.resolve(BARE_REPORT);
      },
    };
    const alone = <T>(address: string, run: () => Promise<T>): Promise<T> => {
      marked.push(address);
      return run();
    };
    const first = { suspect: null, deathsOf: () => Promise.resolve(0), alone };
    await runIsolating({ pool, batch, spec, cancel: new AbortController().signal, search: first });
    t.equal(new Set(marked).size, 2, marked.join(', '));
    const culprit = marked[0] as string;
    const search = {
      suspect: { address: culprit, deaths: 5 },
      deathsOf: (address: string) => Promise.resolve(address === culprit ? 5 : 0),
      alone,
    };
    const result = await runIsolating({
      pool,
      batch,
      spec,
      cancel: new AbortController().signal,
      search,
    });
    if (result.kind !== 'result') throw new Error(result.kind);
    t.strictSame(
      result.failures.map(({ ref }) => ref.id),
      ['e0'],
      'the other one is not',
    );
  },
);
