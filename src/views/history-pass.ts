/**
 * Builds a generation of a view from the histories, where retention has trimmed the streams:
 * histories are never trimmed.
 *
 * The story, partition by partition. Decided each by itself: where the streams are whole, its lane
 * does it.
 *  1. begin-pass.lua fixes a boundary: per type the last entry of its stream. The generation's
 *     consumer groups are made behind it, so events up to there are the pass's, events behind it
 *     the lane's; each is folded by one of them. No lane of the generation can be acquired while
 *     the pass is not finished (acquire-lease.lua): it would fold later events onto rows that are
 *     not there yet.
 *  2. The pass owns the lane's lease. It walks over all histories, folds the events up to the
 *     boundary in a pool thread, as a lane does, and writes the rows with how far it is
 *     (`mr:{p}:pass:<view>@<version>`) in one commit. Killed at any moment, it goes on from there.
 *  3. finish-pass.lua: as many were folded as had been appended, or something was published that is
 *     in no history: then it is not finished, and the generation lacks events. It moves them from
 *     `base` to `done`: conservation holds all the while.
 *
 * An event that cannot be folded ends the pass (ViewFoldError): parked or dead-lettered it would
 * let its subject go on without it, and there is no entry it could be acknowledged with. What is
 * written stays; the next run goes on at that event.
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
/** Time between two reports of progress, in ms. */
const LOOK_MS = 200;
/** A foreign producer that appends all the time: its events are in no history anyway. */
const TRIES = 20;
export interface PassOptions {
  /**
   * Accept what is in no history. A pass is then begun nowhere (the lanes take what the streams
   * have), one begun before is finished.
   */
  readonly incomplete: boolean;
  /** Told once, before the work, if there is any. */
  readonly begun: (partitions: number, events: number) => void;
  readonly progress: (now: RebuildProgress) => void;
  /** Ends it between two commits: rejects with its reason. */
  readonly signal: AbortSignal;
}

/**
 * Events appended before the generation's lanes began, and folded by no pass: its rows lack them.
 */
export async function lackingEvents(
  source: RedisSource,
  { name, types }: Generation,
): Promise<MissingEvents[]> {
  return (await readPartitions(source)).flatMap((state) => missingOf(state, baseOf(name), types));
}

/** Field of the events of a type before the generation's start. */
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
 * Resolves when in every partition the lanes can take over. Before any lane of the generation is
 * registered here.
 * @throws IncompleteHistoriesError: the generation would lack events · ViewFoldError: one cannot be
 *   folded · the signal's reason · CorruptDataError, UnknownOutcomeError, RedisReplyError
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
  /** In one of them a pass was begun before. */
  readonly someBegun: boolean;
  /** Events that retention has trimmed. */
  readonly trimmed: readonly MissingEvents[];
}

/** Partitions in need of a pass. @throws IncompleteHistoriesError */
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

/** Events of the passes of these partitions. */
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
 * Runs the passes, so many at the same time. The first failure stops all: they have ended before it
 * is thrown, so that nothing commits behind the caller's back.
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

/** Null: its lane does it. @throws IncompleteHistoriesError */
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

/** Rate and time left, a few times a second. */
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
