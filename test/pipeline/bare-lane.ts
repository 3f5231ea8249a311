/**
 * A lane without a dispatcher: append, register, lease, take and commit are the real ones. The test
 * chooses the outcomes.
 */
import { crc32 } from 'node:zlib';
import { CELL } from '../../src/core/progress-cells.ts';
import type { Emitted } from '../../src/core/emitted.ts';
import { DEFAULT_RETRY } from '../../src/core/retry-policy.ts';
import type { EventRef, Failure } from '../../src/core/thread-protocol.ts';
import { OWNER, type FunctionSpec } from '../../src/core/function-spec.ts';
import { turnIdOf } from '../../src/core/turn-id.ts';
import { appendFlush, type Appended } from '../../src/pipeline/append/append.ts';
import { createBatch, type StreamEntry } from '../../src/pipeline/batch/batch.ts';
import { listDeadLetters, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { planCommit } from '../../src/pipeline/commit/plan-commit.ts';
import { sendCommit } from '../../src/pipeline/commit/commit.ts';
import type { CommitPlan } from '../../src/pipeline/commit/commit-plan.ts';
import { lookUp, withRepeats } from '../../src/pipeline/inbox/inbox.ts';
import { acquireLease } from '../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { LaneReader } from '../../src/pipeline/read/lane-reader.ts';
import { PartitionTakes } from '../../src/pipeline/read/partition-takes.ts';
import { fetchParked, listParked } from '../../src/pipeline/retry/parked-lists.ts';
import { setKeyAside, type ParkedPlace } from '../../src/pipeline/retry/set-aside.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { createKeys, type Keys } from '../../src/redis/keys.ts';
import { readEvent, walkBatch } from '../../src/wire/batch-reader.ts';
import { decodeParked } from '../../src/wire/parked.ts';
import { millrace } from '../../src/wire/generated/millrace.js';
import { startRedis, type TestLike, type TestRedis } from '../../scripts/lab/redis-server.ts';

export interface Bed {
  readonly redis: TestRedis;
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
}

export async function makeBed(t: TestLike, partitions = 2): Promise<Bed> {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  return { redis, connection, keys: createKeys('mr'), partitions };
}

/** Lists all dead letters. */
export async function letters(bed: Bed): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(bed)) out.push(letter);
  return out;
}

export interface TestEvent {
  readonly id: string;
  readonly subject: string;
  /** Source of the event. Default: that of its batch. */
  readonly source?: string;
}

export function encodeEvents(events: readonly TestEvent[], source = ''): Buffer {
  return Buffer.from(
    millrace.v1.EventBatch.encode(
      millrace.v1.EventBatch.fromObject({
        source,
        events: events.map((event, position) => ({
          ...event,
          position,
          data: Buffer.from('payload'),
        })),
      }),
    ).finish(),
  );
}

let producers = 0;

/**
 * Sends one flush of a new producer.
 * @returns its entry id
 */
export async function publish(
  bed: Bed,
  partition: number,
  parts: Readonly<Record<string, readonly TestEvent[]>>,
): Promise<string> {
  const { entryId } = (await appendFlush(
    {
      partition,
      producer: `test-${producers++}`,
      sequence: 1,
      parts: Object.entries(parts).map(([type, events]) => {
        const bytes = encodeEvents(events);
        return { type, count: events.length, crc: crc32(bytes), bytes };
      }),
    },
    {
      connection: bed.connection,
      keys: bed.keys,
      confirm: { kind: 'none' },
      signal: new AbortController().signal,
      deadlineMs: 5000,
    },
  )) as Appended;
  return entryId;
}

/**
 * Appends as a producer in another language may.
 * @returns the entry id
 */
export async function foreign(
  bed: Bed,
  partition: number,
  type: string,
  events: readonly TestEvent[],
  withCount = false,
): Promise<string> {
  return (await bed.connection.command(
    'XADD',
    bed.keys.events(partition, type),
    '*',
    'b',
    encodeEvents(events),
    ...(withCount ? ['n', events.length] : []),
  )) as string;
}

let made = 0;
export function events(count: number, subject?: string): TestEvent[] {
  return Array.from({ length: count }, () => ({
    id: `e${made++}`,
    subject: subject ?? `s${made % 5}`,
  }));
}

export function specOf(
  name: string,
  on: readonly string[],
  more: Partial<FunctionSpec> = {},
): FunctionSpec {
  return {
    name,
    on,
    ordering: 'key',
    concurrency: 1,
    timeoutMs: 1000,
    retry: { ...DEFAULT_RETRY, attempts: 3, minDelayMs: 0, maxDelayMs: 0, jitter: false },
    startFrom: 'start',
    onDead: 'continue',
    maxParkedPerSubject: 10_000,
    maxParkedPerPartition: 100_000,
    maxConcurrency: null,
    dedupe: null,
    batch: false,
    batchSize: 100,
    upcasts: [],
    replaySafe: true,
    view: null,
    ...more,
  };
}

export type Choose = (event: {
  readonly id: string;
  readonly subject: string;
  readonly source: string;
  readonly attempts: number;
}) => 'done' | 'retry' | 'dead';

/** Effects of a turn besides its outcomes. */
export interface Caused {
  readonly keys: readonly string[];
  readonly blocks: readonly Uint8Array[];
  readonly emitted?: readonly Emitted[];
}

/** Outcomes of a batch's events, as the test chooses them. */
class ChosenOutcomes {
  states = new Uint8Array();
  readonly failures: Failure[] = [];
  readonly blocked: EventRef[] = [];
  readonly #ordered: boolean;
  /** Subjects with parked events, and those that fail in this batch. */
  readonly #parked: Set<string>;
  readonly #choose: Choose;
  /** Number of the batch's events before the unit or the entry under way. */
  #index = 0;

  constructor(ordered: boolean, parked: Iterable<string>, choose: Choose) {
    this.#ordered = ordered;
    this.#parked = new Set(parked);
    this.#choose = choose;
  }

  /** Retries a parked subject, up to the first event that fails again. */
  retryUnit(records: readonly Uint8Array[]): void {
    let stopped = false;
    for (const bytes of records) {
      const index = this.#index++;
      if (this.states[index] === CELL.SKIP) continue;
      if (stopped) this.states[index] = CELL.BLOCKED;
      else stopped = this.#retry(decodeParked(bytes), index) === 'retry';
    }
  }

  #retry(record: ReturnType<typeof decodeParked>, index: number): ReturnType<Choose> {
    const { eventId: id, subject, position, attempts } = record;
    const { source } = readEvent(record.event, record.batchSource);
    const choice = this.#choose({ id, subject, source, attempts });
    if (choice !== 'done') {
      const place = { entry: -1, indexInEntry: record.index, offset: 0, length: 0 };
      this.#fail({ index, ...place, position, id, subject }, choice);
    }
    return choice;
  }

  /** Runs the events of the entry, which is number `at` of its batch. */
  runEntry(entry: StreamEntry, at: number): void {
    walkBatch(entry.bytes, (header) => {
      const { index: indexInEntry, offset, length, position, id, subject } = header;
      const index = this.#index + indexInEntry;
      this.#run({ index, entry: at, indexInEntry, offset, length, position, id, subject }, header);
    });
    this.#index += entry.count;
  }

  #run(ref: EventRef, { source }: { readonly source: string }): void {
    if (this.states[ref.index] === CELL.SKIP) return;
    const { id, subject } = ref;
    if (this.#parked.has(subject)) {
      this.states[ref.index] = CELL.BLOCKED;
      this.blocked.push(ref);
      return;
    }
    const choice = this.#choose({ id, subject, source, attempts: 0 });
    if (choice === 'done') return;
    if (choice === 'retry' && this.#ordered) this.#parked.add(subject);
    this.#fail(ref, choice);
  }

  #fail(ref: EventRef, choice: 'retry' | 'dead'): void {
    this.states[ref.index] = CELL.FAILED;
    this.failures.push({
      ref,
      error: { name: 'TestError', message: `no \u001b[31m${ref.id}`, stack: '' },
      retryable: choice === 'retry',
      reason: choice === 'retry' ? 'attempts' : 'non-retryable',
    });
  }
}

export class BareLane {
  readonly spec: FunctionSpec;
  readonly partition: number;
  readonly #bed: Bed;
  #lease = '';
  #turn = 0;
  #reader: LaneReader;

  constructor(bed: Bed, spec: FunctionSpec, partition: number) {
    this.#bed = bed;
    this.spec = spec;
    this.partition = partition;
    this.#reader = this.#newReader();
  }

  async register(): Promise<void> {
    await registerFunction(this.#bed.connection, this.#bed.keys, this.partition, this.spec);
  }

  /** Takes the lease, as a dispatcher that has just started, or that got the lost lane back. */
  async acquire(): Promise<void> {
    const got = await acquireLease(
      this.#bed.connection,
      this.#bed.keys,
      { fn: this.spec.name, partition: this.partition, consumer: OWNER },
      { dispatcher: 'test', ttlMs: 60_000 },
    );
    if (!('value' in got)) throw new Error('somebody else has the lease');
    this.#lease = got.value;
    this.#reader = this.#newReader();
  }

  /**
   * Takes, and does not send the plan. Null: there is nothing to do. 'stale': the lease is gone.
   */
  async turn(
    choose: Choose,
    budgetEvents = 1000,
    caused: Caused = { keys: [], blocks: [] },
  ): Promise<CommitPlan | null | 'stale'> {
    const { connection, keys } = this.#bed;
    const { spec, partition } = this;
    const taken = await this.#reader.take(this.#lease, {
      events: budgetEvents,
      bytes: 1e6,
      retryUnits: 64,
    });
    if (taken.kind === 'stale') return 'stale';
    if (taken.kind === 'nogroup') throw new Error(taken.message);
    if (taken.entries.length === 0 && taken.units.length === 0) return null;
    const retries = await fetchParked(this.#place(), taken.units);
    const batch = createBatch(spec.name, partition, spec.on, retries, taken.entries);
    const parked = new Set(
      spec.ordering === 'key'
        ? (await listParked(connection, keys, partition, spec.name)).keys()
        : [],
    );
    const seen = spec.dedupe
      ? await lookUp(batch, { connection, keys, fn: spec.name, partition, ordering: spec.ordering })
      : null;
    const outcomes = new ChosenOutcomes(spec.ordering === 'key', parked, choose);
    outcomes.states =
      seen?.states.map((state) => (state === CELL.SKIP ? state : CELL.DONE)) ??
      new Uint8Array(batch.events).fill(CELL.DONE);
    for (const unit of retries) outcomes.retryUnit(unit.records);
    batch.entries.forEach((entry, at) => outcomes.runEntry(entry, at));
    const result = {
      states: outcomes.states,
      failures: outcomes.failures,
      blocked: outcomes.blocked,
      deadEntries: [],
      effects: caused.blocks,
      emitted: caused.emitted ?? [],
    };
    return planCommit(
      { ...batch, effectKeys: caused.keys },
      seen ? withRepeats(result, seen) : result,
      {
        keys,
        spec,
        partition,
        leaseValue: this.#lease,
        leaseTtlMs: 60_000,
        turnId: turnIdOf(this.#lease, ++this.#turn),
        nowMs: Date.now(),
        dispatcher: 'test',
        version: 'v1',
        parkedOf: () => 0,
        schemaWaitMs: 600_000,
      },
    );
  }

  async send(plan: CommitPlan | null | 'stale'): Promise<string> {
    if (plan === null || plan === 'stale') throw new Error('there is no plan');
    return (
      await sendCommit(this.#bed.connection, plan, (unit) => setKeyAside(this.#place(), unit))
    ).kind;
  }

  #place(): ParkedPlace {
    const { connection, keys } = this.#bed;
    const { spec, partition } = this;
    return {
      connection,
      keys,
      partition,
      fn: spec.name,
      types: spec.on,
      ordering: spec.ordering,
      holds: spec.onDead === 'hold',
      leaseValue: this.#lease,
      dispatcher: 'test',
      version: 'v1',
      log: () => {},
    };
  }

  /** Takes and commits once. */
  async work(
    choose: Choose,
    budgetEvents = 1000,
  ): Promise<'ok' | 'idle' | 'stale' | 'refused' | 'back'> {
    const plan = await this.turn(choose, budgetEvents);
    if (plan === null) return 'idle';
    if (plan === 'stale') return 'stale';
    return (
      await sendCommit(this.#bed.connection, plan, (unit) => setKeyAside(this.#place(), unit))
    ).kind;
  }

  /** Works until there is nothing to do. */
  async drain(choose: Choose = () => 'done'): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      const result = await this.work(choose);
      if (result === 'idle') return;
      if (result === 'stale') throw new Error('stale');
    }
    throw new Error('no end');
  }

  #newReader(): LaneReader {
    const { connection, keys } = this.#bed;
    return new LaneReader({
      takes: new PartitionTakes(connection, 60_000),
      fn: this.spec.name,
      leaseKey: keys.lease(this.partition, this.spec.name),
      dueKey: keys.due(this.partition, this.spec.name),
      streamKeys: this.spec.on.map((type) => keys.events(this.partition, type)),
      observed: () => {},
    });
  }
}

export async function startLane(
  bed: Bed,
  spec: FunctionSpec,
  partition: number,
): Promise<BareLane> {
  const lane = new BareLane(bed, spec, partition);
  await lane.register();
  await lane.acquire();
  return lane;
}
