/**
 * Stands between a lane and its stages. Writes each commit down before it is sent and when Redis
 * has answered.
 */
import { epochOf } from '../../src/core/lease-value.ts';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';
import type { CommitPlan } from '../../src/pipeline/commit/commit-plan.ts';
import type { CommitOp } from '../../src/torture/run-record.ts';
import type { Sink } from './sink.ts';

export interface LaneName {
  readonly fn: string;
  readonly partition: number;
  readonly leaseValue: string;
}

/** Indices of the arguments of commit.lua: see its header. */
export const COMMIT_ARGS = {
  leaseValue: 0,
  turnId: 3,
  types: 4,
  units: 5,
  entries: 6,
  emittedTypes: 11,
  emittedBlocks: 12,
  first: 16,
} as const;

/** Entries among the arguments of a plan. */
export interface PlannedEntries {
  /** Index of their first argument, and of the one behind their last. */
  readonly from: number;
  readonly to: number;
  /** Number of the stream, from 1; entry id; events done. */
  readonly entries: readonly (readonly [number, string, number])[];
}

/** Reads the runs of entries: see the header of commit.lua. */
export function plannedEntries({ args }: Pick<CommitPlan, 'args'>): PlannedEntries {
  const number = (at: number): number => Number(args[at]);
  const { types, units, emittedTypes, emittedBlocks, first } = COMMIT_ARGS;
  const from = first + number(types) + number(units) + number(emittedTypes) + number(emittedBlocks);
  const entries: [number, string, number][] = [];
  let at = from;
  while (entries.length < number(COMMIT_ARGS.entries)) {
    const end = at + 3 + number(at + 2);
    for (let i = at + 3; i < end; i++) entries.push([number(at), String(args[i]), number(at + 1)]);
    at = end;
  }
  return { from, to: at, entries };
}

function entriesOf(plan: CommitPlan): [string, string, number][] {
  const skipped = skippedOf(plan);
  return plannedEntries(plan).entries.map(([stream, id, done], i) => [
    String(plan.args[COMMIT_ARGS.first + stream - 1]),
    id,
    done - (skipped.get(i + 1) ?? 0),
  ]);
}

/**
 * Returns, for a function with `dedupe`: entry (from 1) -> number of its events that count as done
 * and were not handled.
 */
function skippedOf({ args }: CommitPlan): Map<number, number> {
  const skipped = new Map<number, number>();
  const inbox = args.lastIndexOf('inbox');
  if (inbox < 0) return skipped;
  let at = inbox + 4;
  for (let groups = Number(args[inbox + 3]); groups > 0; groups--) {
    skipped.set(Number(args[at]), Number(args[at + 1]));
    at += 3 + Number(args[at + 2]);
  }
  return skipped;
}

let serial = 0;

export function recordCommits(stages: LaneStages, lane: LaneName, sink: Sink): LaneStages {
  const { fn, partition, leaseValue } = lane;
  const epoch = Number(epochOf(leaseValue));
  return {
    ...stages,
    async commit(plan, signal) {
      const op = {
        fn,
        partition,
        lease: String(plan.keys[0]),
        epoch,
        serial: ++serial,
        pid: process.pid,
      };
      await sink.push({ what: 'commit', ...op, entries: entriesOf(plan) } satisfies CommitOp);
      const reply = await stages.commit(plan, signal);
      await sink.push({ what: reply.kind === 'ok' ? 'committed' : 'refused', ...op });
      return reply;
    },
  };
}
