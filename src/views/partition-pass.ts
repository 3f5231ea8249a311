/** The pass over one partition: folds its histories up to its boundary. See history-pass.ts. */
import { counterFields } from '../redis/counters.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { monotonicMs, sleep } from '../core/clock.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import { compareEntryIds, formatPosition } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { COUNTS } from '../redis/lua/shared.ts';
import { IncompleteHistoriesError, ViewFoldError } from './view-errors.ts';
import type { FoldEvent, ViewFold } from '../core/view-fold.ts';
import { walkHistories, type HistoryEvent, type WalkPlace } from './history-walk.ts';
import { readCursor, type PassCursor } from './pass-cursor.ts';

const finishScript = defineScript({
  url: new URL('./finish-pass.lua', import.meta.url),
  with: COUNTS,
  keys: 3,
});

/** Time between two looks at the pass of another rebuild, ms. */
const LOOK_MS = 200;
/** Aims of a batch, as for a lane's turn: its time, ms, and the bytes of rows that it touches. */
const BATCH_MS = 100;
const ROW_BYTES = 4 * 1024 * 1024;
const FIRST_BATCH = 256;

/** The build of a generation from histories. Each pass is a part of it. */
export interface Build {
  readonly source: RedisSource;
  readonly fold: ViewFold;
  readonly categories: readonly string[];
  /** See PassOptions. */
  readonly incomplete: boolean;
  /** Ends the passes between two commits. */
  readonly signal: AbortSignal;
  /** Called after each commit. */
  readonly progressed: () => void;
}

/** A pass that has begun. */
export interface Begun {
  readonly partition: number;
  /** The boundary: the last entry of the pass, per type. */
  readonly to: ReadonlyMap<string, string>;
  /** Events folded, per type. */
  readonly folded: Readonly<Record<string, number>>;
}

/** `stale`: another rebuild has taken over the lease, or has committed in between. */
type Outcome = 'done' | 'stale';

export class PartitionPass {
  readonly partition: number;
  readonly #build: Build;
  readonly #to: ReadonlyMap<string, string>;
  #folded: Readonly<Record<string, number>>;

  constructor(build: Build, { partition, to, folded }: Begun) {
    this.partition = partition;
    this.#build = build;
    this.#to = to;
    this.#folded = folded;
  }

  /** Events folded so far. */
  get events(): number {
    return Object.values(this.#folded).reduce((sum, events) => sum + events, 0);
  }

  /**
   * Runs the pass. Resolves when the partition's lane can take over. @throws see buildFromHistories
   */
  async run(): Promise<void> {
    const { fold, signal } = this.#build;
    for (;;) {
      signal.throwIfAborted();
      const lease = await fold.acquire(this.partition);
      if (lease === null) {
        // Another rebuild runs this pass, and may finish it.
        if (await this.#isFinishedElsewhere()) return;
        await sleep(LOOK_MS, signal);
        continue;
      }
      try {
        if ((await this.#walk(lease.leaseValue)) === 'stale') continue;
        if ((await this.#finish(lease.leaseValue)) === 'done') return;
      } finally {
        await lease.release();
      }
    }
  }

  async #isFinishedElsewhere(): Promise<boolean> {
    const { source, fold, progressed } = this.#build;
    const { name } = fold.spec;
    this.#folded = (await readCursor(source, name, this.partition)).folded;
    progressed();
    const counters = source.keys.counters(this.partition);
    return (
      Number(await source.connection.command('HEXISTS', counters, counterFields.pass(name))) === 0
    );
  }

  /** Folds the histories from the cursor to their end. */
  async #walk(leaseValue: string): Promise<Outcome> {
    const { source, fold, categories } = this.#build;
    const cursor = await readCursor(source, fold.spec.name, this.partition);
    this.#folded = { ...cursor.folded };
    const turns = new Turns(this.#build, this.partition, leaseValue, this.#folded);
    const commit = async (place: WalkPlace): Promise<Outcome> => {
      const outcome = await turns.commit(place);
      if (outcome === 'stale') return 'stale';
      this.#folded = turns.folded;
      this.#build.progressed();
      return 'done';
    };
    /** Place behind the last page. */
    let end: WalkPlace | null = null;
    const histories = walkHistories(source, this.partition, categories, cursor.place);
    for await (const { event, place } of histories) {
      if (event === null) {
        end = place();
        // No event is gathered. The place alone is committed, so that the page is not read again.
        if (turns.isEmpty && (await commit(end)) === 'stale') return 'stale';
        continue;
      }
      if (!this.#isWithin(event)) continue;
      turns.add(event);
      if (turns.isFull && (await commit(place())) === 'stale') return 'stale';
    }
    // A walk ends with a place, so `end` is behind all gathered events.
    return end === null || turns.isEmpty ? 'done' : commit(end);
  }

  /** Whether the event is within the boundary. The lane folds the events behind it. */
  #isWithin({ type, entryId }: HistoryEvent): boolean {
    const boundary = this.#to.get(type);
    return boundary !== undefined && compareEntryIds(entryId, boundary) <= 0;
  }

  /** @throws IncompleteHistoriesError */
  async #finish(leaseValue: string): Promise<Outcome> {
    const { source, fold, incomplete } = this.#build;
    const { connection, keys } = source;
    const { name, on } = fold.spec;
    const { partition } = this;
    const reply = (await withRetry(
      () =>
        finishScript.run(
          connection,
          [keys.lease(partition, name), keys.counters(partition), keys.viewPass(partition, name)],
          [
            leaseValue,
            name,
            incomplete ? '1' : '0',
            ...on.flatMap((type) => [type, this.#folded[type] ?? 0]),
          ],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as [string, ...string[]];
    if (reply[0] === 'missing') {
      throw new IncompleteHistoriesError(
        name,
        'unstored',
        on
          .map((type, i) => ({ partition, type, events: Number(reply[i + 1]) }))
          .filter(({ events }) => events !== 0),
      );
    }
    return reply[0] === 'ok' ? 'done' : 'stale';
  }
}

/**
 * The turns under one lease. A turn gathers events, folds them, and commits the rows with the
 * cursor.
 */
class Turns {
  /** Events folded by all commits, per type. */
  folded: Readonly<Record<string, number>>;
  readonly #build: Build;
  readonly #partition: number;
  readonly #leaseValue: string;
  /** Index of each type in the view's types. */
  readonly #types: ReadonlyMap<string, number>;
  #events: HistoryEvent[] = [];
  #bytes = 0;
  /** Events of a full batch. */
  #most: number;
  /** Number of the last committed turn; 0: none. */
  #turn = 0;

  constructor(
    build: Build,
    partition: number,
    leaseValue: string,
    folded: Readonly<Record<string, number>>,
  ) {
    this.#build = build;
    this.#partition = partition;
    this.#leaseValue = leaseValue;
    this.folded = folded;
    this.#types = new Map(build.fold.spec.on.map((type, i) => [type, i]));
    this.#most = Math.min(FIRST_BATCH, build.fold.maxEvents);
  }

  get isEmpty(): boolean {
    return this.#events.length === 0;
  }

  get isFull(): boolean {
    return this.#events.length >= this.#most || this.#bytes >= this.#build.fold.maxBytes;
  }

  add(event: HistoryEvent): void {
    this.#events.push(event);
    this.#bytes += event.bytes.length;
  }

  /**
   * Folds and commits the gathered events. @param place place behind the last event
   * @throws ViewFoldError, the signal's reason
   */
  async commit(place: WalkPlace): Promise<Outcome> {
    const { fold, signal } = this.#build;
    signal.throwIfAborted();
    const events = this.#events;
    const startedMs = monotonicMs();
    const result = await fold.fold(
      this.#partition,
      events.map((event) => this.#foldEvent(event)),
      'stored',
    );
    if (result.kind === 'stopped') {
      signal.throwIfAborted();
      return 'stale';
    }
    if (result.kind === 'failed')
      throw failure(fold.spec, this.#partition, events[result.event] as HistoryEvent, result);
    const folded = { ...this.folded };
    for (const { type } of events) folded[type] = (folded[type] ?? 0) + 1;
    const cursor: PassCursor = { place, folded };
    const reply = await result.commit({
      leaseValue: this.#leaseValue,
      turn: this.#turn + 1,
      cursor: JSON.stringify(cursor),
    });
    if (reply === 'stale') return 'stale';
    this.#turn++;
    this.folded = folded;
    if (events.length > 0) {
      const tookMs = monotonicMs() - startedMs;
      this.#most = nextBatch(fold.maxEvents, events.length, tookMs, result.rowBytes);
    }
    this.#events = [];
    this.#bytes = 0;
    return 'done';
  }

  #foldEvent({ entryId, type, bytes }: HistoryEvent): FoldEvent {
    return { entryId, type: this.#types.get(type) as number, bytes };
  }
}

/**
 * Returns the size of the next batch: the number of events that take BATCH_MS and touch ROW_BYTES.
 * It is at most four times the last one.
 */
function nextBatch(maxEvents: number, events: number, ms: number, rowBytes: number): number {
  const byTime = (events * BATCH_MS) / Math.max(1, ms);
  const byRows = (events * ROW_BYTES) / Math.max(1, rowBytes);
  return Math.max(1, Math.floor(Math.min(maxEvents, events * 4, byTime, byRows)));
}

function failure(
  spec: FunctionSpec,
  partition: number,
  event: HistoryEvent,
  cause: { readonly name: string; readonly message: string },
): ViewFoldError {
  const { category, id, revision, type, eventId, entryId, position } = event;
  return new ViewFoldError(
    spec.name,
    {
      category,
      id,
      revision,
      type,
      eventId,
      position: formatPosition({ partition, entryId, position }),
    },
    cause,
  );
}
