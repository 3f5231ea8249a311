/**
 * Handlers that run beside a lane's turns are bounded, in number and in the bytes that they keep:
 * beyond that the turn waits for them.
 */
import { crc32 } from 'node:zlib';
import t from 'tap';
import type { EventRef } from '../../../src/core/thread-protocol.ts';
import { CELL } from '../../../src/core/progress-cells.ts';
import type { Batch, StreamEntry } from '../../../src/pipeline/batch/batch.ts';
import { planCommit } from '../../../src/pipeline/commit/plan-commit.ts';
import type { CommitPlan } from '../../../src/pipeline/commit/commit-plan.ts';
import { IN_FLIGHT, readRunning, type SettledBatch } from '../../../src/pipeline/lane/in-flight.ts';
import type { FailedTurn } from '../../../src/pipeline/lane/failure-log.ts';
import { Lane } from '../../../src/pipeline/lane/lane.ts';
import type { LaneStages } from '../../../src/pipeline/lane/lane-stages.ts';
import type { Ended, Running } from '../../../src/pipeline/run/batch-result.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { walkBatch } from '../../../src/wire/batch-reader.ts';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import { specOf } from '../bare-lane.ts';
import { type TestLike } from '../../../scripts/lab/redis-server.ts';
import { until, is } from '../../../scripts/lab/until.ts';

const DONE: Ended = { kind: 'done', emitted: null, ages: [] };
const SPEC = specOf('f', ['a.b'], { timeoutMs: 60_000 });
const LANE_OPTIONS = {
  spec: SPEC,
  partition: 0,
  leaseValue: 'd:1',
  streamKeys: [],
  leaseTtlMs: 60_000,
  batchBytes: 1e9,
  batchEvents: 1000,
  batchMs: 1000,
  pollMs: 60_000,
};

interface Commit {
  readonly plan: CommitPlan;
  /** Units that run beside the turns from this commit on. Null: as before. */
  readonly running: readonly string[] | null;
}

/** Handlers of the events of a lane. Each one runs until the test ends it. */
class OpenHandlers {
  readonly #ends = new Map<string, (end: Ended) => void>();

  start(batch: Batch): Running[] {
    return batch.entries.flatMap((entry, at) => {
      const running: Running[] = [];
      walkBatch(entry.bytes, ({ index, offset, length, position, id, subject }) => {
        const ref: EventRef = {
          index: (batch.firsts[at] as number) + index,
          entry: at,
          indexInEntry: index,
          offset,
          length,
          position,
          id,
          subject,
        };
        running.push({
          ref,
          startedMs: performance.now(),
          ended: new Promise((resolve) => this.#ends.set(id, resolve)),
        });
      });
      return running;
    });
  }

  allRun(ids: readonly string[]): boolean {
    return ids.every((id) => this.#ends.has(id));
  }

  end(id: string): void {
    this.#ends.get(id)?.(DONE);
  }

  stop(): void {
    for (const end of this.#ends.values()) end({ kind: 'stopped' });
  }
}

/** Plans the commits of a lane. Keeps the plans, and the records of the events that they park. */
class CommitLog {
  readonly commits: Commit[] = [];
  readonly #parked = new Map<string, Buffer>();

  plan(batch: Batch, result: SettledBatch, context: Parameters<LaneStages['plan']>[2]): CommitPlan {
    const plan = planCommit(batch, result, {
      ...context,
      keys: createKeys('mr'),
      spec: SPEC,
      partition: 0,
      leaseTtlMs: 60_000,
      dispatcher: 'd',
      version: 'v',
      schemaWaitMs: 1000,
    });
    for (const { ref } of result.unsettled ?? [])
      this.#parked.set(ref.subject, plan.unsettled.get(ref.index) as Buffer);
    this.commits.push({
      plan,
      running:
        context.running === undefined
          ? null
          : readRunning(context.running).units.map(({ unit }) => unit),
    });
    return plan;
  }

  fetchParked(units: readonly string[]) {
    return units.map((unit) => ({ unit, records: [this.#parked.get(unit)], isolate: false }));
  }
}

/** A reader that takes the batches one by one. */
const readerOf = (batches: StreamEntry[]) => ({
  take: () =>
    Promise.resolve({
      kind: 'ok',
      entries: batches.splice(0, 1),
      units: [],
      more: batches.length > 0,
      nextDueMs: null,
      serverNowMs: Date.now(),
    }),
  reset: () => undefined,
  pendingLeft: false,
  drained: true,
});

/** The result of a pool that starts each event of a batch and waits for none. */
const allRunning = (batch: Batch, handlers: OpenHandlers) => ({
  kind: 'result',
  states: new Uint8Array(batch.events).fill(CELL.RUNNING),
  failures: [],
  blocked: [],
  deadEntries: [],
  effects: [],
  emitted: [],
  ages: [],
  busyMs: 1,
  deaths: 0,
  running: handlers.start(batch),
});

/** The answer of Redis to a commit that it has taken. */
const committedAs = (plan: CommitPlan) => ({
  kind: 'ok',
  repeated: false,
  nextDueMs: null,
  missing: [],
  emptied: [...plan.parked].filter(([, growth]) => growth < 0).map(([unit]) => unit),
  outbox: null,
  noIndexes: [],
});

/** Stages of a lane without Redis and without a pool. */
function stagesOf(
  batches: StreamEntry[],
  handlers: OpenHandlers,
  log: CommitLog,
  failures: string[],
): LaneStages {
  return {
    reader: readerOf(batches),
    share: { acquire: () => Promise.resolve({ release: () => undefined }) },
    fetchParked: (units: readonly string[]) => Promise.resolve(log.fetchParked(units)),
    listParked: () => Promise.resolve(new Map()),
    load: (batch: Batch) => Promise.resolve(batch),
    beginSearch: () => Promise.resolve(null),
    releaseRunning: () => Promise.resolve(0),
    run: (batch: Batch) => Promise.resolve(allRunning(batch, handlers)),
    plan: (...args: Parameters<CommitLog['plan']>) => log.plan(...args),
    commit: (plan: CommitPlan) => Promise.resolve(committedAs(plan)),
    outboxFull: () => false,
    relay: () => undefined,
    idle: () => undefined,
    turnDone: () => undefined,
    repeats: () => undefined,
    failed: () => undefined,
    lost: () => undefined,
    setupFailing: () => undefined,
    turnFailed: ({ error }: FailedTurn) => void failures.push(`turn failed ${String(error)}`),
    log: (_level: string, message: string, fields: Record<string, unknown>) =>
      void failures.push(`${message} ${String(fields['err'])}`),
  } as unknown as LaneStages;
}

/** A stream entry with an event per name, each of its own subject. */
function entryOf(entryId: string, names: readonly string[], dataBytes: number): StreamEntry {
  const builder = new BatchBuilder();
  const dataBuffer = Buffer.alloc(dataBytes);
  for (const [position, id] of names.entries()) {
    builder.add({
      id,
      subject: `s-${id}`,
      dataBuffer,
      dataStart: 0,
      dataEnd: dataBytes,
      timeMs: 1,
      source: '',
      schema: 0,
      position,
      extensions: null,
    });
  }
  const { bytes, count } = builder.finish();
  return { id: entryId, type: 0, bytes, n: count, crc: crc32(bytes), count, gone: false };
}

/** A lane whose pool never waits: each event runs until the test ends it. */
function openLane(t: TestLike) {
  const batches: StreamEntry[] = [];
  const failures: string[] = [];
  const handlers = new OpenHandlers();
  const log = new CommitLog();
  const { commits } = log;
  let entries = 0;
  const lane = new Lane(LANE_OPTIONS, stagesOf(batches, handlers, log, failures));
  lane.leaseHeld(Infinity);
  lane.start();
  t.teardown(async () => {
    lane.abandon();
    handlers.stop();
    await lane.stop();
  });
  return {
    commits,
    failures,
    /** Adds a batch with an event per name. Resolves when all run. */
    async send(names: readonly string[], bytes = 10): Promise<void> {
      batches.push(entryOf(`${++entries}-0`, names, bytes));
      lane.ring();
      await until('they run', () => handlers.allRun(names));
    },
    end: (id: string): void => handlers.end(id),
    async committed(count: number): Promise<Commit> {
      await until(`${count} turns are committed`, () => is(commits.length, count));
      return commits[count - 1] as Commit;
    },
  };
}

t.test(
  'in number: the turn waits for those beyond, and there is room again when one has ended',
  async (t) => {
    const lane = openLane(t);
    const most = IN_FLIGHT.events;
    const names = Array.from({ length: most + 6 }, (_, i) => `e${i}`);
    await lane.send(names);
    for (const id of names.slice(most + 1)) lane.end(id);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(lane.commits.length, 0, 'one that is too many still runs');
    lane.end(names[most] as string);
    const first = await lane.committed(1);
    t.strictSame(
      first.running,
      names.slice(0, most).map((id) => `s-${id}`),
    );
    t.match(first.plan, { done: 6, retried: 0, dead: 0 });

    await lane.send(['extra']);
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(lane.commits.length, 1, 'no room: it is waited for');
    lane.end('extra');
    const second = await lane.committed(2);
    t.match(second, { running: null, plan: { done: 1 } });

    lane.end('e3');
    const third = await lane.committed(3);
    t.equal(third.plan.done, 1);
    t.equal(third.running?.length, most - 1);
    await lane.send(['another']);
    const fourth = await lane.committed(4);
    t.equal(fourth.plan.done, 0);
    t.equal(fourth.running?.at(-1), 's-another');
    t.equal(fourth.running?.length, most);
    t.strictSame(lane.failures, []);
  },
);

t.test('in bytes: a batch is kept as long as one of its handlers runs', async (t) => {
  const lane = openLane(t);
  const large = Math.ceil(IN_FLIGHT.bytes * 0.6);
  await lane.send(['a', 'a-small'], large / 2);
  t.strictSame((await lane.committed(1)).running, ['s-a', 's-a-small']);
  await lane.send(['b'], large);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(lane.commits.length, 1, 'the two batches are too much');
  lane.end('b');
  t.match(await lane.committed(2), { running: null, plan: { done: 1 } });
  await lane.send(['small']);
  t.strictSame(
    (await lane.committed(3)).running,
    ['s-a', 's-a-small', 's-small'],
    'a small one still fits',
  );
  lane.end('a');
  await lane.committed(4);
  await lane.send(['c'], large);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(lane.commits.length, 4, 'half of the first batch still runs: all of its bytes are kept');
  lane.end('c');
  await lane.committed(5);
  lane.end('a-small');
  await lane.committed(6);
  await lane.send(['d'], large);
  t.strictSame((await lane.committed(7)).running, ['s-small', 's-d'], 'now there is room');
  t.strictSame(lane.failures, []);
});
