/**
 * Builds a generation of a view from the histories, where retention has trimmed the streams.
 * Histories are never trimmed.
 *
 * Each partition is decided and built by itself. If its streams are whole, its lane builds the
 * rows, and there is no pass. Else:
 *
 * 1. begin-pass.lua fixes a boundary: the last entry of each type's stream. The generation's
 *    consumer groups start behind the boundary. So the pass folds the events up to it, and the lane
 *    folds those behind it. No lane of the generation can be acquired until the pass is finished
 *    (acquire-lease.lua). It would fold later events onto rows that are not there yet.
 * 2. The pass owns the lane's lease. It walks over all histories and folds the events up to the
 *    boundary in a pool thread, as a lane does. One commit writes the rows and the pass's place
 *    (`mr:{p}:pass:<view>@<version>`). A pass that is killed goes on from its last commit.
 * 3. finish-pass.lua compares the number of folded events with the number of appended ones. If they
 *    differ, some events were published without a history: the generation would lack them, and the
 *    pass is not finished. If they are equal, the script moves the events from `base` to `done`.
 *    Conservation holds all the while.
 *
 * An event that cannot be folded ends the pass (ViewFoldError). If it were parked or dead-lettered,
 * later events of its subject would be folded without it. There is also no entry that could be
 * acknowledged for it. The written rows stay, and the next run goes on at that event.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import type { RedisSource } from '../redis/source.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { counterFields, countOf, readPartitions, type PartitionState } from '../redis/counters.ts';
import { defineScript } from '../redis/script.ts';
import { COUNTS } from '../redis/lua/shared.ts';
import { IncompleteHistoriesError, type MissingEvents } from './view-errors.ts';
import type { ViewFold } from '../core/view-fold.ts';
import type { Generation } from './generations.ts';
import { findCategories } from './history-walk.ts';
import { Pace, type RebuildProgress } from './pace.ts';
import { PartitionPass, type Begun, type Build } from './partition-pass.ts';
import { readCursor, readProgress } from './pass-cursor.ts';

export type { FoldEvent, Folded, PassTurn, ViewFold } from '../core/view-fold.ts';

const beginScript = defineScript({
  url: new URL('./begin-pass.lua', import.meta.url),
  with: COUNTS,
  keys: 'variable',
});
/** Time between two reports of progress, ms. */
const LOOK_MS = 200;
/**
 * Attempts to begin a pass while a foreign producer appends. Its events are in no history anyway.
 */
const TRIES = 20;
export interface PassOptions {
  /**
   * Whether to accept events that no history holds. If so, no new pass begins: the lanes take the
   * events that the streams have. A pass begun before is finished.
   */
  readonly incomplete: boolean;
  /** Called once, before the work, if there is any. */
  readonly begun: (partitions: number, events: number) => void;
  readonly progress: (now: RebuildProgress) => void;
  /** Ends the passes between two commits. The build rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/**
 * Returns the events that the generation's rows lack. They were appended before its lanes began,
 * and no pass has folded them.
 */
export async function lackingEvents(
  source: RedisSource,
  { name, types }: Generation,
): Promise<MissingEvents[]> {
  return (await readPartitions(source)).flatMap((state) => missingOf(state, baseOf(name), types));
}

/** Returns the counter of the events before the generation's start, per type. */
const baseOf =
  (name: string) =>
  (type: string): string =>
    counterFields.base(name, type);

function missingOf(
  state: PartitionState,
  fieldOf: (type: string) => string,
  types: readonly string[],
): MissingEvents[] {
  return types
    .map((type) => ({
      partition: state.partition,
      type,
      events: countOf(state, fieldOf(type)),
    }))
    .filter(({ events }) => events > 0);
}

/**
 * Builds the rows. Resolves when the lanes can take over in every partition. Must run before any
 * lane of the generation is registered here.
 * @throws IncompleteHistoriesError: the generation would lack events · ViewFoldError: an event
 *   cannot be folded · the signal's reason · CorruptDataError, UnknownOutcomeError, RedisReplyError
 */
export async function buildFromHistories(
  source: RedisSource,
  fold: ViewFold,
  options: PassOptions,
): Promise<void> {
  const { spec } = fold;
  const wanted = await wantedPartitions(source, fold, options.incomplete);
  if (wanted.partitions.length === 0) return;
  const categories = await findCategories(source);
  if (categories.length === 0 && !wanted.someBegun)
    throw new IncompleteHistoriesError(spec.name, 'no-histories', wanted.trimmed);
  const begun: Begun[] = [];
  for (const partition of wanted.partitions) {
    const pass = await begin(source, fold, partition);
    if (pass) begun.push(pass);
  }
  if (begun.length === 0) return;

  const partitions = new Set(begun.map(({ partition }) => partition));
  const total = await eventsOf(source, fold, partitions);
  options.begun(begun.length, total);
  const stop = sharedAbort();
  const build: Build = {
    source,
    fold,
    categories,
    incomplete: options.incomplete,
    signal: AbortSignal.any([options.signal, stop.signal]),
    progressed: () => watch.look(false),
  };
  const passes = begun.map((pass) => new PartitionPass(build, pass));
  const watch = new Watch(passes, total, options.progress);
  await runAll(passes, fold.parallel, stop, options.signal);
  watch.look(true);
}

interface Wanted {
  readonly partitions: readonly number[];
  /** Whether a pass was begun in one of the partitions before. */
  readonly someBegun: boolean;
  /** Events that retention has trimmed. */
  readonly trimmed: readonly MissingEvents[];
}

/** Finds the partitions in need of a pass. @throws IncompleteHistoriesError */
async function wantedPartitions(
  source: RedisSource,
  { spec }: ViewFold,
  incomplete: boolean,
): Promise<Wanted> {
  const partitions: number[] = [];
  const late: MissingEvents[] = [];
  const foreign: MissingEvents[] = [];
  const trimmed: MissingEvents[] = [];
  let someBegun = false;
  const base = baseOf(spec.name);
  for (const state of await readPartitions(source)) {
    const { partition } = state;
    if (state.counters.has(counterFields.pass(spec.name))) {
      partitions.push(partition);
      someBegun = true;
      continue;
    }
    const registered = spec.on.some((type) => state.counters.has(base(type)));
    const gone = missingOf(state, counterFields.trimmed, spec.on);
    if (registered) late.push(...missingOf(state, base, spec.on));
    else if (gone.length > 0 && !incomplete) {
      partitions.push(partition);
      trimmed.push(...gone);
      foreign.push(...missingOf(state, counterFields.foreign, spec.on));
    }
  }
  if (late.length > 0 && !incomplete) throw new IncompleteHistoriesError(spec.name, 'late', late);
  if (partitions.length > 0 && foreign.length > 0)
    throw new IncompleteHistoriesError(spec.name, 'unstored', foreign);
  return { partitions, someBegun, trimmed };
}

/** Returns the number of events of these partitions' passes. */
async function eventsOf(
  source: RedisSource,
  { spec }: ViewFold,
  partitions: ReadonlySet<number>,
): Promise<number> {
  let total = 0;
  for (const state of await readPartitions(source)) {
    if (!partitions.has(state.partition)) continue;
    for (const type of spec.on) total += countOf(state, counterFields.base(spec.name, type));
  }
  return total;
}

/**
 * Runs the passes, `parallel` at a time. The first failure stops all passes. It is thrown after
 * they have ended, so that no pass commits later.
 */
async function runAll(
  passes: readonly PartitionPass[],
  parallel: number,
  stop: ReturnType<typeof sharedAbort>,
  signal: AbortSignal,
): Promise<void> {
  const left = [...passes];
  const runner = async (): Promise<void> => {
    for (let pass = left.shift(); pass !== undefined; pass = left.shift()) await pass.run();
  };
  const ended = await Promise.allSettled(
    Array.from({ length: Math.min(parallel, passes.length) }, () =>
      runner().catch((error: unknown) => {
        stop.abort(error);
        throw error;
      }),
    ),
  );
  signal.throwIfAborted();
  const failed =
    ended.find((one) => one.status === 'rejected' && one.reason === stop.signal.reason) ??
    ended.find((one) => one.status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

/** Begins a pass; null: the partition's lane builds the rows. @throws IncompleteHistoriesError */
async function begin(
  source: RedisSource,
  { spec }: ViewFold,
  partition: number,
): Promise<Begun | null> {
  const { connection, keys } = source;
  for (let attempt = 1; ; attempt++) {
    const [kind, detail, events] = (await withRetry(
      () =>
        beginScript.run(
          connection,
          [keys.counters(partition), ...spec.on.map((type) => keys.events(partition, type))],
          [spec.name, spec.startFrom, spec.ordering, ...spec.on],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as [string, string, string?];
    if (kind === 'lanes') return null;
    if (kind === 'pass') {
      const { to } = readProgress<{ to: Record<string, string> }>(
        spec.name,
        detail,
        ['to'],
        `field ${counterFields.pass(spec.name)} of ${keys.counters(partition)}`,
      );
      return {
        partition,
        to: new Map(Object.entries(to)),
        folded: (await readCursor(source, spec.name, partition)).folded,
      };
    }
    if (kind === 'foreign' || attempt >= TRIES)
      throw new IncompleteHistoriesError(spec.name, 'unstored', [
        { partition, type: detail, events: Number(events ?? 1) },
      ]);
    await adoptForeign(connection, keys, partition, detail);
  }
}

/** Reports the rate and the time left, a few times a second. */
class Watch {
  readonly #passes: readonly PartitionPass[];
  readonly #total: number;
  readonly #tell: (now: RebuildProgress) => void;
  readonly #pace: Pace;

  constructor(
    passes: readonly PartitionPass[],
    total: number,
    tell: (now: RebuildProgress) => void,
  ) {
    this.#passes = passes;
    this.#total = total;
    this.#tell = tell;
    this.#pace = new Pace(this.#settled());
  }

  look(always: boolean): void {
    if (!always && this.#pace.sinceMs < LOOK_MS) return;
    const settled = this.#settled();
    this.#tell({
      from: 'histories',
      appended: this.#total,
      settled,
      parked: 0,
      dead: 0,
      ...this.#pace.look(settled, this.#total - settled),
    });
  }

  #settled(): number {
    return this.#passes.reduce((sum, { events }) => sum + events, 0);
  }
}
