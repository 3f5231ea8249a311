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

/** Returns the index of the first triple of entries in the plan's arguments. */
export function entriesAt({ args }: Pick<CommitPlan, 'args'>): number {
  return (
    COMMIT_ARGS.first +
    [
      COMMIT_ARGS.types,
      COMMIT_ARGS.units,
      COMMIT_ARGS.emittedTypes,
      COMMIT_ARGS.emittedBlocks,
    ].reduce((sum, at) => sum + Number(args[at]), 0)
  );
}

function entriesOf(plan: CommitPlan): [string, string, number][] {
  const { args } = plan;
  const out: [string, string, number][] = [];
  const skipped = skippedOf(plan);
  let at = entriesAt(plan);
  const entries = Number(args[COMMIT_ARGS.entries]);
  for (let entry = 1; entry <= entries; entry++, at += 3) {
    out.push([
      String(args[COMMIT_ARGS.first + Number(args[at]) - 1]),
      String(args[at + 1]),
      Number(args[at + 2]) - (skipped.get(entry) ?? 0),
    ]);
  }
  return out;
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
