/** Requests of a lane to Redis: at its start, after a failed turn, after Redis went back. */
import t from 'tap';
import type { CrashSearch } from '../../../src/pipeline/ownership/crash-search.ts';
import type { InFlight } from '../../../src/pipeline/lane/in-flight.ts';
import { LaneContext } from '../../../src/pipeline/lane/lane-context.ts';
import type { LaneLoss, LaneStages } from '../../../src/pipeline/lane/lane-stages.ts';
import { Recovery } from '../../../src/pipeline/lane/recovery.ts';
import { specOf } from '../bare-lane.ts';

type Step = 'search' | 'release' | 'count' | 'reset';

interface Bed {
  readonly recovery: Recovery;
  readonly lane: LaneContext;
  /** Steps since the last look, in order. */
  readonly taken: () => Step[];
  readonly logged: string[];
  /** Kinds of losses that were noted. */
  readonly lost: string[];
}

interface Answers {
  readonly consumer?: string;
  readonly beginSearch?: () => CrashSearch | null | 'stale';
  readonly releaseRunning?: () => number | null;
  readonly listParked?: () => ReadonlyMap<string, number>;
}

const openBed = (answers: Answers = {}): Bed => {
  const steps: Step[] = [];
  const logged: string[] = [];
  const lost: string[] = [];
  const step = <T>(name: Step, answer: () => T): Promise<T> => {
    steps.push(name);
    return new Promise((resolve) => resolve(answer()));
  };
  const stages = {
    reader: { reset: () => void steps.push('reset') },
    beginSearch: () => step('search', answers.beginSearch ?? (() => null)),
    releaseRunning: () => step('release', answers.releaseRunning ?? (() => 0)),
    listParked: () => step('count', answers.listParked ?? (() => new Map<string, number>())),
    lost: ({ kind }: LaneLoss) => void lost.push(kind),
    log: (_level: string, message: string) => void logged.push(message),
  } as unknown as LaneStages;
  const lane = new LaneContext(
    {
      spec: specOf('f', ['a.b']),
      partition: 0,
      leaseValue: 'one:7',
      ...(answers.consumer === undefined ? {} : { consumer: answers.consumer }),
      streamKeys: [],
      batchBytes: 1,
      batchEvents: 1,
      leaseTtlMs: 1000,
      batchMs: 100,
      pollMs: 1000,
    },
    stages,
  );
  return { recovery: new Recovery(lane), lane, taken: () => steps.splice(0), logged, lost };
};

const openRecovered = async (answers: Answers = {}): Promise<Bed> => {
  const bed = openBed(answers);
  await bed.recovery.recover();
  bed.taken();
  return bed;
};

/** A search that is only ended. */
const searchOf = (end: () => Promise<boolean>): CrashSearch => {
  const search: Pick<CrashSearch, 'suspect' | 'underWay' | 'end'> = {
    suspect: null,
    underWay: true,
    end,
  };
  return search as CrashSearch;
};

t.test('a lane that begins takes over, releases, counts; then nothing is due', async (t) => {
  const { recovery, lane, taken, logged } = openBed({ listParked: () => new Map([['s', 3]]) });
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), ['search', 'release', 'count']);
  t.equal(lane.parked.events, 3);
  t.equal(recovery.search, null);
  t.strictSame(logged, []);
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), []);
});

t.test("a helper releases nothing: the running handlers are the owner's", async (t) => {
  const { recovery, taken } = openBed({ consumer: 'two' });
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), ['search', 'count']);
});

t.test('a lost lease ends it where it is found, and the step stays due', async (t) => {
  let lost = true;
  const search = openBed({ beginSearch: () => (lost ? 'stale' : null) });
  t.equal(await search.recovery.recover(), 'lease lost');
  t.strictSame(search.taken(), ['search']);
  const release = openBed({ releaseRunning: () => (lost ? null : 0) });
  t.equal(await release.recovery.recover(), 'lease lost');
  t.strictSame(release.taken(), ['search', 'release']);
  lost = false;
  t.equal(await search.recovery.recover(), 'ready');
  t.strictSame(search.taken(), ['search', 'release', 'count']);
  t.equal(await release.recovery.recover(), 'ready');
  t.strictSame(release.taken(), ['release', 'count'], 'the first question is answered');
});

t.test('a step that throws stays due', async (t) => {
  let failures = 3;
  const failing =
    <T>(value: T) =>
    (): T => {
      if (failures-- % 2 === 1) throw new Error('Redis is away');
      return value;
    };
  const { recovery, taken } = openBed({
    beginSearch: failing(null),
    listParked: failing(new Map<string, number>()),
  });
  await t.rejects(recovery.recover(), /away/);
  t.strictSame(taken(), ['search']);
  await t.rejects(recovery.recover(), /away/);
  t.strictSame(taken(), ['search', 'release', 'count']);
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), ['count']);
});

t.test('a search that was begun is kept until it ends', async (t) => {
  let ended = 0;
  const search = searchOf(() => Promise.resolve(++ended > 0));
  const { recovery, logged } = openBed({ beginSearch: () => search });
  t.equal(await recovery.recover(), 'ready');
  t.equal(recovery.search, search);
  t.match(logged, [/one by one/]);
  t.equal(recovery.passed, false);
  await recovery.pass();
  t.equal(recovery.passed, true);
  t.equal(recovery.search, null);
  t.equal(ended, 1);
  await recovery.pass();
  t.equal(ended, 1);
});

t.test('after a failed turn the parked events are counted again, once', async (t) => {
  const { recovery, lane, taken } = await openRecovered();
  lane.bell.look();
  recovery.rereadPending();
  recovery.rereadPending();
  t.strictSame(taken(), ['reset', 'reset']);
  t.ok(lane.bell.rang);
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), ['count']);
});

t.test('Redis went back: handlers are waited for, rows are void, all is asked anew', async (t) => {
  const { recovery, lane, taken, logged, lost } = await openRecovered();
  lane.turnIds.committed = '7.3';
  let end = (): void => {};
  const ended = new Promise<never>((resolve) => (end = resolve as () => void));
  lane.inFlight.add({ unit: 's', ended, batch: { bytes: 0 }, end: null } as unknown as InFlight);
  recovery.goBack();
  recovery.goBack();
  t.match(logged, [/^LOSS: /], 'told once');
  t.strictSame(lost, ['commit'], 'and in the ledger');
  const recovered = recovery.recover();
  await new Promise(setImmediate);
  t.strictSame(taken(), [], 'not before the handler has ended');
  end();
  t.equal(await recovered, 'ready');
  t.strictSame(taken(), ['reset', 'release', 'count']);
  t.equal(lane.inFlight.size, 0);
  t.equal(lane.turnIds.committed, '');
  t.equal(recovery.rowsVoid, true);
  recovery.rowsLoaded();
  t.equal(recovery.rowsVoid, false);
  recovery.rowsLost();
  t.equal(recovery.rowsVoid, true);
});

t.test('Redis went back after a failed turn, or while the parked events are counted', async (t) => {
  const failed = await openRecovered();
  failed.recovery.rereadPending();
  failed.recovery.goBack();
  failed.taken();
  t.equal(await failed.recovery.recover(), 'ready');
  t.strictSame(failed.taken(), ['reset', 'release', 'count']);

  let back = true;
  const counting = openBed({
    listParked() {
      if (back) counting.recovery.goBack();
      back = false;
      return new Map();
    },
  });
  t.equal(await counting.recovery.recover(), 'ready');
  t.strictSame(counting.taken(), ['search', 'release', 'count']);
  t.equal(await counting.recovery.recover(), 'ready');
  t.strictSame(counting.taken(), ['reset', 'release', 'count'], 'it is still due');
});

t.test('a lane that has not begun yet has nothing to forget', async (t) => {
  const { recovery, taken, logged } = openBed();
  recovery.goBack();
  recovery.rereadPending();
  t.strictSame(logged, []);
  t.equal(await recovery.recover(), 'ready');
  t.strictSame(taken(), ['reset', 'search', 'release', 'count']);
});
