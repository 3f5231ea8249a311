/** The handlers that go on behind their batch's report, and the judgement on their end. */
import { monotonicMs } from '../../core/clock.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';
import type { Ended, Running } from './batch-result.ts';
import { threadDeath } from './death-failures.ts';
import { TIMEOUT_GRACE_MS, type Straggler, type ThreadDeath } from './thread-run.ts';

/** Whether a handler was over its time when its thread died. */
export function isLate(
  cells: ProgressCells,
  index: number,
  nowMs: number,
  { timeoutMs }: FunctionSpec,
  { stoodStillMs }: Pick<ThreadDeath, 'stoodStillMs'>,
): boolean {
  const ranMs = nowMs - (cells.starts[index] as number);
  return ranMs >= timeoutMs + TIMEOUT_GRACE_MS / 2 + stoodStillMs;
}

export function follow(
  { ref, ended }: Straggler,
  cells: ProgressCells,
  spec: FunctionSpec,
): Running {
  return {
    ref,
    startedMs: cells.starts[ref.index] as number,
    ended: ended.then((end): Ended => {
      if (end.kind === 'death') return judge({ ref, cells, spec }, end);
      const [failure] = end.failures;
      return failure
        ? { kind: 'failed', failure }
        : { kind: 'done', emitted: end.emitted ?? null, ages: end.ages };
    }),
  };
}

/** Judges a handler whose thread has died. */
function judge(
  { ref, cells, spec }: Pick<Straggler, 'ref'> & { cells: ProgressCells; spec: FunctionSpec },
  death: ThreadDeath,
): Ended {
  const state = cells.states[ref.index];
  if (state === CELL.DONE) return { kind: 'done', emitted: null, ages: [] };
  if (death.cause === 'stopped') return { kind: 'stopped' };
  // The handler had settled, and its effects died with the thread.
  if (state !== CELL.RUNNING) return { kind: 'again', isolate: false };
  const late = isLate(cells, ref.index, monotonicMs(), spec, death);
  const toBlame = death.timeout && death.alive ? late : death.sole;
  return toBlame
    ? { kind: 'failed', failure: threadDeath(ref, spec, death.cause, death.timeout) }
    : { kind: 'again', isolate: !death.innocent };
}
