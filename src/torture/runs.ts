/** The calls of handlers in a record, and the lanes that their processes lost. */
import type { HandlerOp, RunRecord } from './run-record.ts';

/** One call of a handler for one event. Times are indices into `RunRecord.ops`. */
export interface Run {
  readonly op: HandlerOp;
  readonly startedAt: number;
  /** Index of the end; Infinity if the call never ended. */
  endedAt: number;
  outcome: 'end' | 'fail' | 'died';
}

export function runsOf({ ops }: Pick<RunRecord, 'ops'>): Run[] {
  const runs: Run[] = [];
  // A key may have several open runs. Without order, an event that comes again after its group was
  // lost may overlap its own retry.
  const open = new Map<string, Run[]>();
  ops.forEach((op, at) => {
    if (op.what !== 'start' && op.what !== 'end' && op.what !== 'fail') return;
    const key = `${op.pid}/${op.thread}/${op.fn}/${op.id}/${op.attempt}`;
    const here = open.get(key) ?? [];
    if (op.what === 'start') {
      const run: Run = { op, startedAt: at, endedAt: Infinity, outcome: 'died' };
      runs.push(run);
      open.set(key, [...here, run]);
      return;
    }
    const run = here[0];
    if (!run)
      throw new Error(`op ${at} of the record ends a run without a start: ${JSON.stringify(op)}`);
    run.endedAt = at;
    run.outcome = op.what;
    open.set(key, here.slice(1));
  });
  return runs;
}

/**
 * Returns `pid fn partition` of each lost lane: the owner was told of the loss, or Redis refused
 * its commit. The events that the owner held run again.
 */
export function lostLeases(ops: RunRecord['ops']): Set<string> {
  return new Set(
    ops.flatMap((op) =>
      op.what === 'lease-lost' || op.what === 'refused'
        ? [`${op.pid} ${op.fn} ${op.partition}`]
        : [],
    ),
  );
}

export const laneOf = ({ op }: Run): string =>
  `${op.pid} ${op.fn} ${op.position.split('/')[0] as string}`;
