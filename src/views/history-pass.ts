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
import { sharedAbort } from '../core/shared-signal.ts';
import { monotonicMs, sleep } from '../core/clock.ts';
import { compareEntryIds, formatPosition } from '../core/position.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import type { Deployment } from '../deployment.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { readPartitions, type PartitionState } from '../pipeline/dead/registered-functions.ts';
import { withRetry } from '../redis/connection.ts';
import { defineScript } from '../redis/script.ts';
import { COUNTS } from '../wire/entries-lua.ts';
import {
  IncompleteHistoriesError,
  ViewFoldError,
  ViewGenerationError,
  type MissingEvents,
} from './errors.ts';
import type { Generation } from './generations.ts';
import {
  findCategories,
  walkHistories,
  type HistoryEvent,
  type WalkPlace,
} from './history-walk.ts';
import { Pace } from './pace.ts';
import type { RebuildProgress } from './rebuild.ts';

const beginScript = defineScript({
  url: new URL('./begin-pass.lua', import.meta.url),
  with: COUNTS,
  keys: 'variable',
});
const finishScript = defineScript({
  url: new URL('./finish-pass.lua', import.meta.url),
  with: COUNTS,
  keys: 3,
});

const DEADLINE_MS = 15_000;
const LOOK_MS = 200;
/** A foreign producer that appends all the time: its events are in no history anyway. */
const TRIES = 20;
/** A batch should take about this long, and touch so many bytes of rows, as a lane's turn. */
const BATCH_MS = 100;
const ROW_BYTES = 4 * 1024 * 1024;
const FIRST_BATCH = 256;

/** An event to fold. */
export interface FoldEvent {
  readonly entryId: string;
  /** Index into the view's types. */
  readonly type: number;
  /** An EventBatch of one. */
  readonly bytes: Buffer;
}

export type Folded =
  | {
      readonly kind: 'folded';
      /** Bytes of rows, read and written. */
      readonly rowBytes: number;
      /**
       * Writes the rows and, in the same step, the text under the cursor's key. Once: sent again it
       * changes nothing.
       */
      readonly commit: (turn: PassTurn) => Promise<'ok' | 'stale'>;
      /** id -> the row as it would be stored; absent: there is none. */
      readonly rows: () => ReadonlyMap<string, string>;
    }
  | {
      readonly kind: 'failed';
      /** Index of the event. */ readonly event: number;
      readonly name: string;
      readonly message: string;
    }
  | { readonly kind: 'stopped' };

export interface PassTurn {
  readonly leaseValue: string;
  /** `<turn>` of this lease, and the one committed before: '' where there is none. */
  readonly turn: string;
  readonly before: string;
  readonly cursor: string;
}

/**
 * A generation's code in the pool, with what it needs of the lanes' machinery. Handed in by the
 * dispatcher.
 */
export interface ViewFold {
  readonly spec: FunctionSpec;
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Partitions at the same time. */
  readonly parallel: number;
  /** @param fresh onto no rows at all, and nothing is to be committed */
  fold(partition: number, events: readonly FoldEvent[], fresh: boolean): Promise<Folded>;
  /** The lane's lease, renewed until it is released. Null: somebody else has it. */
  acquire(
    partition: number,
  ): Promise<{ readonly leaseValue: string; release(): Promise<void> } | null>;
}

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

interface Cursor {
  readonly place: WalkPlace | null;
  /** Events folded, per type. */
  readonly folded: Record<string, number>;
}

type Source = Pick<Deployment, 'connection' | 'keys' | 'partitions'>;

const countOf = ({ counters }: PartitionState, field: string): number =>
  Number(counters.get(field) ?? 0);

/**
 * Events appended before the generation's lanes began, and folded by no pass: its rows lack them.
 */
export async function lackingEvents(
  source: Source,
  { name, types }: Generation,
): Promise<MissingEvents[]> {
  return (await readPartitions(source)).flatMap((state) => missingOf(state, `base:${name}`, types));
}

function missingOf(
  state: PartitionState,
  field: string,
  types: readonly string[],
): MissingEvents[] {
  return types
    .map((type) => ({
      partition: state.partition,
      type,
      events: countOf(state, `${field}:${type}`),
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
  source: Source,
  fold: ViewFold,
  options: PassOptions,
): Promise<void> {
  const { spec } = fold;
  const { incomplete, signal } = options;
  const wanted: number[] = [];
  const late: MissingEvents[] = [];
  const foreign: MissingEvents[] = [];
  const trimmed: MissingEvents[] = [];
  let started = 0;
  for (const state of await readPartitions(source)) {
    const { partition } = state;
    if (state.counters.has(`pass:${spec.name}`)) {
      wanted.push(partition);
      started++;
      continue;
    }
    const registered = spec.on.some((type) => state.counters.has(`base:${spec.name}:${type}`));
    const gone = missingOf(state, 'trimmed', spec.on);
    if (registered) late.push(...missingOf(state, `base:${spec.name}`, spec.on));
    else if (gone.length > 0 && !incomplete) {
      wanted.push(partition);
      trimmed.push(...gone);
      foreign.push(...missingOf(state, 'foreign', spec.on));
    }
  }
  if (late.length > 0 && !incomplete) throw new IncompleteHistoriesError(spec.name, 'late', late);
  if (wanted.length === 0) return;
  if (foreign.length > 0) throw new IncompleteHistoriesError(spec.name, 'unstored', foreign);
  const categories = await findCategories(source);
  if (categories.length === 0 && started === 0)
    throw new IncompleteHistoriesError(spec.name, 'no-histories', trimmed);
  const passes: Pass[] = [];
  for (const partition of wanted) {
    const pass = await begin(source, fold, partition);
    if (pass) passes.push(pass);
  }
  if (passes.length === 0) return;

  let total = 0;
  for (const state of await readPartitions(source))
    if (passes.some(({ partition }) => partition === state.partition))
      for (const type of spec.on) total += countOf(state, `base:${spec.name}:${type}`);
  options.begun(passes.length, total);
  const watch = new Watch(passes, total, options.progress);
  const stop = sharedAbort();
  const both = AbortSignal.any([signal, stop.signal]);
  const left = [...passes];
  const runner = async (): Promise<void> => {
    for (let pass = left.shift(); pass !== undefined; pass = left.shift())
      await buildPartition(source, fold, pass, categories, incomplete, both, () =>
        watch.look(false),
      );
  };
  // All have ended before it is told that one has failed: nothing commits behind its back.
  const ended = await Promise.allSettled(
    Array.from({ length: Math.min(fold.parallel, passes.length) }, () =>
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
  watch.look(true);
}

interface Pass {
  readonly partition: number;
  /** Per type: the last entry that is the pass's. */
  readonly to: ReadonlyMap<string, string>;
  folded: Record<string, number>;
}

/** Null: its lane does it. @throws IncompleteHistoriesError */
async function begin(source: Source, { spec }: ViewFold, partition: number): Promise<Pass | null> {
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
        `field pass:${spec.name} of ${keys.counters(partition)}`,
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

async function readCursor(
  { connection, keys }: Source,
  name: string,
  partition: number,
): Promise<Cursor> {
  const text = (await withRetry(() => connection.command('GET', keys.viewPass(partition, name)), {
    deadlineMs: DEADLINE_MS,
  })) as string | null;
  if (text === null) return { place: null, folded: {} };
  return readProgress<Cursor>(name, text, ['place', 'folded'], keys.viewPass(partition, name));
}

/**
 * How far a pass is. A guess would fold events twice, or leave some out. @throws
 * ViewGenerationError
 */
function readProgress<T extends object>(
  name: string,
  text: string,
  fields: readonly (keyof T & string)[],
  where: string,
): T {
  const [view = '', version = ''] = name.split('@');
  try {
    const found: unknown = JSON.parse(text);
    if (
      typeof found === 'object' &&
      found !== null &&
      fields.every((field) => typeof (found as Record<string, unknown>)[field] === 'object')
    )
      return found as T;
  } catch {
    // the same as any other that is none
  }
  throw new ViewGenerationError(
    view,
    `how far version ${version} is built from histories cannot be read (${where}). To begin anew: millrace view drop ${view} ${version}, then millrace view rebuild ${view}`,
  );
}

async function buildPartition(
  source: Source,
  fold: ViewFold,
  pass: Pass,
  categories: readonly string[],
  incomplete: boolean,
  signal: AbortSignal,
  progressed: () => void,
): Promise<void> {
  const { connection, keys } = source;
  const { spec } = fold;
  const { partition } = pass;
  for (;;) {
    signal.throwIfAborted();
    const lease = await fold.acquire(partition);
    if (lease === null) {
      // Another rebuild is at it: what it does need not be done.
      pass.folded = (await readCursor(source, spec.name, partition)).folded;
      progressed();
      if (
        Number(
          await connection.command('HEXISTS', keys.counters(partition), `pass:${spec.name}`),
        ) === 0
      )
        return;
      await sleep(LOOK_MS, signal);
      continue;
    }
    try {
      if (
        (await walk(source, fold, pass, lease.leaseValue, categories, signal, progressed)) ===
        'stale'
      )
        continue;
      const reply = (await withRetry(
        () =>
          finishScript.run(
            connection,
            [
              keys.lease(partition, spec.name),
              keys.counters(partition),
              keys.viewPass(partition, spec.name),
            ],
            [
              lease.leaseValue,
              spec.name,
              incomplete ? '1' : '0',
              ...spec.on.flatMap((type) => [type, pass.folded[type] ?? 0]),
            ],
          ),
        { deadlineMs: DEADLINE_MS },
      )) as [string, ...string[]];
      if (reply[0] === 'ok') return;
      if (reply[0] === 'missing') {
        throw new IncompleteHistoriesError(
          spec.name,
          'unstored',
          spec.on
            .map((type, i) => ({ partition, type, events: Number(reply[i + 1]) }))
            .filter(({ events }) => events !== 0),
        );
      }
    } finally {
      await lease.release();
    }
  }
}

/** From the cursor to the end. */
async function walk(
  source: Source,
  fold: ViewFold,
  pass: Pass,
  leaseValue: string,
  categories: readonly string[],
  signal: AbortSignal,
  progressed: () => void,
): Promise<'end' | 'stale'> {
  const { spec } = fold;
  const { partition, to } = pass;
  const types = new Map(spec.on.map((type, i) => [type, i]));
  const cursor = await readCursor(source, spec.name, partition);
  pass.folded = { ...cursor.folded };
  let most = Math.min(FIRST_BATCH, fold.maxEvents);
  let events: HistoryEvent[] = [];
  let bytes = 0;
  let turn = 0;
  const commit = async (place: WalkPlace): Promise<'ok' | 'stale'> => {
    signal.throwIfAborted();
    const startedMs = monotonicMs();
    const result = await fold.fold(
      partition,
      events.map(({ entryId, type, bytes: element }) => ({
        entryId,
        type: types.get(type) as number,
        bytes: element,
      })),
      false,
    );
    if (result.kind === 'stopped') {
      signal.throwIfAborted();
      return 'stale';
    }
    if (result.kind === 'failed')
      throw failure(spec, partition, events[result.event] as HistoryEvent, result);
    const folded = { ...pass.folded };
    for (const { type } of events) folded[type] = (folded[type] ?? 0) + 1;
    const next: Cursor = { place, folded };
    const reply = await result.commit({
      leaseValue,
      turn: String(turn + 1),
      before: turn === 0 ? '' : String(turn),
      cursor: JSON.stringify(next),
    });
    if (reply === 'stale') return 'stale';
    turn++;
    pass.folded = folded;
    if (events.length > 0)
      most = nextBatch(fold.maxEvents, events.length, monotonicMs() - startedMs, result.rowBytes);
    events = [];
    bytes = 0;
    progressed();
    return 'ok';
  };
  let last: WalkPlace | null = null;
  for await (const { event, place } of walkHistories(source, partition, categories, cursor.place)) {
    if (event === null) {
      // Nothing for this view in a whole page: so that it need not be read again.
      if (events.length === 0 && (await commit(place())) === 'stale') return 'stale';
      last = events.length === 0 ? null : place();
      continue;
    }
    const boundary = to.get(event.type);
    if (boundary === undefined || compareEntryIds(event.entryId, boundary) > 0) continue;
    events.push(event);
    bytes += event.bytes.length;
    if (events.length < most && bytes < fold.maxBytes) continue;
    if ((await commit(place())) === 'stale') return 'stale';
  }
  if (last !== null && events.length > 0 && (await commit(last)) === 'stale') return 'stale';
  return 'end';
}

/** As many as take BATCH_MS and touch ROW_BYTES; at most four times as many as the last time. */
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

/** Rate and time left, a few times a second. */
class Watch {
  readonly #passes: readonly Pass[];
  readonly #total: number;
  readonly #tell: (now: RebuildProgress) => void;
  readonly #pace: Pace;

  constructor(passes: readonly Pass[], total: number, tell: (now: RebuildProgress) => void) {
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
    return this.#passes.reduce(
      (sum, { folded }) => sum + Object.values(folded).reduce((inner, events) => inner + events, 0),
      0,
    );
  }
}
