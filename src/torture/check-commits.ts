/** The checker's rules on acknowledgement and fencing. */
import type { CommitOp, RunRecord, Violation } from './run-record.ts';

/**
 * Checks that entries are acknowledged after the outcomes of their events, and only by the lane's
 * owner.
 */
export function commitProblems({ ops, allowed, functions }: RunRecord): Violation[] {
  const out: Violation[] = [];
  const observed = new Set(functions.map((fn) => fn.name));
  const ended = new Map<string, Set<string>>();
  const begun = new Map<
    string,
    { readonly op: CommitOp; readonly at: number; readonly early: string | null }
  >();
  const newest = new Map<string, { epoch: number; at: number }>();
  ops.forEach((op, at) => {
    if (op.what === 'end') {
      const key = `${op.fn} ${op.type} ${op.position.slice(0, op.position.lastIndexOf('/'))}`;
      const ids = ended.get(key);
      if (ids) ids.add(op.id);
      else ended.set(key, new Set([op.id]));
    } else if (op.what === 'commit') {
      let early: string | null = null;
      for (const [type, entryId, done] of op.entries ?? []) {
        const handled = ended.get(`${op.fn} ${type} ${op.partition}/${entryId}`)?.size ?? 0;
        if (handled < done && observed.has(op.fn))
          early ??= `${op.fn}: ${done} events of ${type} ${op.partition}/${entryId} were acknowledged as done when ${handled} had been handled`;
      }
      begun.set(`${op.pid}/${op.serial}`, { op, at, early });
    } else if (op.what === 'committed') {
      const begin = begun.get(`${op.pid}/${op.serial}`);
      if (!begin)
        throw new Error(
          `op ${at} of the record ends a commit that never began: ${JSON.stringify(op)}`,
        );
      if (begin.early !== null) out.push({ rule: 'acknowledged early', what: begin.early });
      const newer = newest.get(op.lease);
      if (newer && newer.epoch > op.epoch && newer.at < begin.at && !allowed.stateGoesBack) {
        out.push({
          rule: 'fencing',
          what: `${op.lease}: epoch ${op.epoch} committed after epoch ${newer.epoch} had`,
        });
      }
      if (!newer || op.epoch > newer.epoch) newest.set(op.lease, { epoch: op.epoch, at });
    }
  });
  return out;
}
