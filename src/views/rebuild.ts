/**
 * Rebuilds of views. A new generation is built by its own lanes, from the beginning of the streams,
 * beside the live generation. Trimmed streams are first made up for from the histories:
 * history-pass.ts.
 *
 * This file reports the progress, finds out when the generation has caught up, and verifies it. It
 * keeps no progress of its own: the lanes have it. So a rebuild that was killed goes on after the
 * last commit, and no event is folded twice.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import type { RedisSource } from '../redis/source.ts';
import { counterFields, countOf, readPartitions, type PartitionState } from '../redis/counters.ts';
import { IncompleteHistoriesError } from './view-errors.ts';
import type { ViewFold } from '../core/view-fold.ts';
import { requireView, switchLive, type Generation } from './generations.ts';
import { lackingEvents } from './history-pass.ts';
import { Pace, type RebuildProgress } from './pace.ts';
import { verifyGeneration, type Verification } from './verify.ts';

/** Time between two looks at the lanes, ms. */
const LOOK_MS = 200;
/**
 * Limit for having caught up, ms: the backlog at the start of a phase was folded within this time.
 */
const CLOSE_MS = 2000;

/** Chooses the version of the view to build. Default: the highest. @throws ConfigError */
export function chooseVersion<T extends { readonly spec: FunctionSpec }>(
  found: readonly T[],
  wanted: { readonly view: string; readonly version: number | undefined; readonly folder: string },
): T {
  const { view, version, folder } = wanted;
  const chosen = found
    .filter(
      ({ spec }) =>
        spec.view?.view === view && (version === undefined || spec.view.version === version),
    )
    .sort((a, b) => (a.spec.view?.version ?? 0) - (b.spec.view?.version ?? 0))
    .at(-1);
  if (chosen) return chosen;
  const which = version === undefined ? '' : ` of version ${version}`;
  throw new ConfigError([`${folder} holds no view "${view}"${which}`]);
}

export interface RebuildOptions {
  readonly view: string;
  readonly version: number;
  /** Whether to accept events that no history holds: see PassOptions. */
  readonly incomplete: boolean;
  /** Whether to make the version live once it is verified. */
  readonly makeLive: boolean;
  /** Folds some rows again, to verify them; null: they are not compared. */
  readonly fold: ViewFold | null;
  readonly progress: (now: RebuildProgress) => void;
  /** Ends the rebuild early: it rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

export interface Rebuilt {
  readonly generation: Generation;
  /** Result of the verification. If it has problems, the version has not become live. */
  readonly verified: Verification;
  /** The live version before the rebuild, and after it. */
  readonly before: number;
  readonly live: number;
}

/**
 * Follows a rebuild to its end. The generation, whose lanes run, catches up, is verified and
 * becomes live.
 * @throws IncompleteHistoriesError · the signal's reason
 */
export async function completeRebuild(
  source: RedisSource,
  options: RebuildOptions,
): Promise<Rebuilt> {
  const { view, version, progress, signal } = options;
  const known = await requireView(source, view);
  const generation = known.generations.find((one) => one.version === version) as Generation;
  // Retention may have trimmed the streams after the look at them, and before the lanes were
  // registered.
  const lacking = options.incomplete ? [] : await lackingEvents(source, generation);
  if (lacking.length > 0) throw new IncompleteHistoriesError(generation.name, 'late', lacking);
  await followRebuild(source, generation, progress, signal);
  const verified = await verifyGeneration(source, generation, options.fold);
  const { live: before } = known;
  if (verified.problems.length > 0 || !options.makeLive)
    return { generation, verified, before, live: before };
  if (before !== version) await switchLive(source, view, before, version);
  return { generation, verified, before, live: version };
}

/**
 * Resolves when the generation has caught up with the appended events. Its lanes must run
 * somewhere.
 * @param signal ends the wait early: it rejects with the signal's reason
 */
async function followRebuild(
  source: RedisSource,
  generation: Generation,
  progress: (now: RebuildProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  let goal: { readonly appended: number; readonly sinceMs: number } | null = null;
  let pace: Pace | null = null;
  for (;;) {
    signal.throwIfAborted();
    const { appended, settled, parked, dead } = await countEvents(source, generation);
    const now = monotonicMs();
    const left = appended - settled - parked;
    pace ??= new Pace(settled);
    progress({ from: 'streams', appended, settled, parked, dead, ...pace.look(settled, left) });
    if (left <= 0) return;
    goal ??= { appended, sinceMs: now };
    if (settled + parked >= goal.appended) {
      if (now - goal.sinceMs <= CLOSE_MS) return;
      goal = { appended, sinceMs: now };
    }
    await sleep(LOOK_MS, signal);
  }
}

/** Events of a generation, by what became of them. */
export interface GenerationCounts {
  readonly appended: number;
  /** Events folded, dead-lettered or purged. */
  readonly settled: number;
  readonly parked: number;
  readonly dead: number;
}

async function countEvents(source: RedisSource, of: Generation): Promise<GenerationCounts> {
  return countGeneration(await readPartitions(source), of);
}

/** Counts the events of a generation in the partitions' counters. */
export function countGeneration(
  states: readonly PartitionState[],
  { name, types }: Pick<Generation, 'name' | 'types'>,
): GenerationCounts {
  const sum = { appended: 0, settled: 0, parked: 0, dead: 0 };
  for (const state of states) {
    const count = (field: string): number => countOf(state, field);
    for (const type of types) {
      const { appended, base, done, dead, purged, parked } = counterFields;
      sum.appended += count(appended(type)) - count(base(name, type));
      const died = count(dead(name, type));
      sum.settled += count(done(name, type)) + died + count(purged(name, type));
      sum.dead += died;
      sum.parked += count(parked(name, type));
    }
  }
  return sum;
}
