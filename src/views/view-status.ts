/** The views of a deployment for people: versions, rows, progress of builds; and their switch. */
import type { ViewFold } from '../core/view-fold.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import { counterFields, countOf, readPartitions, type PartitionState } from '../redis/counters.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import {
  indexSize,
  listViews,
  requireView,
  switchLive,
  type Generation,
  type KnownView,
} from './generations.ts';
import { readCursor } from './pass-cursor.ts';
import { countGeneration, type GenerationCounts } from './rebuild.ts';
import { UnfitGenerationError, ViewGenerationError } from './view-errors.ts';
import { verifyGeneration, type Verification } from './verify.ts';

export interface GenerationStatus {
  readonly version: number;
  readonly name: string;
  readonly live: boolean;
  /** Whether a rollback makes it live. */
  readonly previous: boolean;
  readonly types: readonly string[];
  readonly indexes: readonly string[];
  readonly rows: number;
  /** Partitions whose index of all rows is a key of another type: their rows are not counted. */
  readonly uncounted: readonly number[];
  /** Whether a dispatcher has registered its function in every partition. */
  readonly registered: boolean;
  readonly counts: GenerationCounts;
  /** Events that are not folded yet: the lag of queries, where the version is live. */
  readonly left: number;
  /** Build from histories that is under way, or was interrupted. Null: there is none. */
  readonly build: {
    /** Partitions whose build has not ended. */
    readonly partitions: number;
    readonly folded: number;
    /** Events to fold in these partitions. */
    readonly events: number;
    /** Damage of the record of a build. Null: none. */
    readonly damaged: string | null;
  } | null;
}

export interface ViewStatus {
  readonly view: string;
  readonly live: number;
  readonly previous: number | null;
  /** By version. */
  readonly generations: readonly GenerationStatus[];
}

/**
 * Reads all views. The cost follows the number of versions and partitions, not of rows or events.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readViewStatus(source: RedisSource): Promise<ViewStatus[]> {
  const [views, states] = await Promise.all([listViews(source), readPartitions(source)]);
  return Promise.all(
    views.map(async (known) => ({
      view: known.view,
      live: known.live,
      previous: known.previous,
      generations: await Promise.all(
        known.generations.map((generation) => statusOf(source, states, known, generation)),
      ),
    })),
  );
}

async function statusOf(
  source: RedisSource,
  states: readonly PartitionState[],
  known: KnownView,
  generation: Generation,
): Promise<GenerationStatus> {
  const { version, name, types, indexes } = generation;
  const { connection, keys } = source;
  const sizes = await Promise.all(
    partitionsOf(source).map(async (partition) => ({
      partition,
      size: await indexSize(connection, keys.viewIndex(partition, name, ALL_ROWS)),
    })),
  );
  const counts = countGeneration(states, generation);
  return {
    version,
    name,
    live: version === known.live,
    previous: version === known.previous,
    types,
    indexes,
    rows: sizes.reduce((sum, { size }) => sum + (size ?? 0), 0),
    uncounted: sizes.filter(({ size }) => size === null).map(({ partition }) => partition),
    registered: states.every(({ functions }) => functions.some((fn) => fn.name === name)),
    counts,
    left: Math.max(0, counts.appended - counts.settled - counts.parked),
    build: await buildOf(source, states, generation),
  };
}

async function buildOf(
  source: RedisSource,
  states: readonly PartitionState[],
  { name, types }: Generation,
): Promise<GenerationStatus['build']> {
  const open = states.filter(({ counters }) => counters.has(counterFields.pass(name)));
  if (open.length === 0) return null;
  let folded = 0;
  let events = 0;
  let damaged: string | null = null;
  for (const state of open) {
    for (const type of types) events += countOf(state, counterFields.base(name, type));
    try {
      const cursor = await readCursor(source, name, state.partition);
      folded += Object.values(cursor.folded).reduce((sum, count) => sum + count, 0);
    } catch (error) {
      if (!(error instanceof ViewGenerationError)) throw error;
      damaged = error.message;
    }
  }
  return { partitions: open.length, folded, events, damaged };
}

export interface SwitchOptions {
  /** Folds some rows again, to verify the version. Null: they are not compared. */
  readonly fold?: ViewFold | null;
  /** Whether to switch although the verification has problems. Default: false. */
  readonly force?: boolean;
}

export interface Switched {
  readonly from: number;
  readonly to: number;
  readonly verified: Verification;
}

/**
 * Makes another version live, after it was verified. The version before is kept, for a rollback.
 * @throws UnknownViewError, ViewGenerationError; UnfitGenerationError where it has problems
 */
export async function switchView(
  source: RedisSource,
  view: string,
  to: number,
  { fold = null, force = false }: SwitchOptions = {},
): Promise<Switched> {
  const known = await requireView(source, view);
  const generation = known.generations.find(({ version }) => version === to);
  if (!generation) throw new ViewGenerationError(view, `version ${to} is not there`);
  if (known.live === to) throw new ViewGenerationError(view, `version ${to} is live already`);
  const verified = await verifyGeneration(source, generation, fold);
  if (verified.problems.length > 0 && !force)
    throw new UnfitGenerationError(view, to, verified.problems);
  await switchLive(source, view, known.live, to);
  return { from: known.live, to, verified };
}
