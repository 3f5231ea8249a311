/** The checker's rules on the order within a subject. */
import type { FunctionRules, RunRecord, Letter, Violation } from './run-record.ts';
import { laneOf, lostLeases, type Run } from './runs.ts';

/**
 * Checks the order within each subject. When an event begins, all earlier events of its subject are
 * settled: handled or dead. Two calls for one subject do not overlap, unless one of the two
 * processes had lost its lease.
 */
export function orderProblems(
  { ops, end, allowed, events }: RunRecord,
  fn: FunctionRules,
  runs: readonly Run[],
): Violation[] {
  const out: Violation[] = [];
  const letters = new Map(
    end.letters.filter((letter) => letter.fn === fn.name).map((letter) => [letter.id, letter]),
  );
  const suspended = new Set(
    ops.flatMap((op) => (op.what === 'fault' && op.pid > 0 ? [op.pid] : [])),
  );
  const lost = lostLeases(ops);
  // The events that the process had begun run beside its heir's work until the batch ends, also
  // after the process has noticed the loss.
  const hasLost = (run: Run): boolean => suspended.has(run.op.pid) || lost.has(laneOf(run));
  const bySubject = new Map<string, Run[]>();
  const counted = new Set(events.map((event) => event.id));
  for (const run of runs) {
    if (!counted.has(run.op.id)) continue;
    const list = bySubject.get(run.op.subject);
    if (list) list.push(run);
    else bySubject.set(run.op.subject, [run]);
  }
  for (const [subject, list] of bySubject) {
    const settledAt = settleTimes(
      list,
      letters,
      (id) => allowed.replayed.has(`${fn.name} ${id}`) || allowed.missing.has(id),
    );
    const numbers = [...settledAt.keys()].sort((a, b) => a - b);
    // Number -> the latest settlement of any lower number.
    const below = new Map<number, { readonly at: number; readonly number: number }>();
    let latest = { at: -1, number: -1 };
    for (const number of numbers) {
      below.set(number, latest);
      const at = settledAt.get(number) as number;
      if (at > latest.at) latest = { at, number };
    }
    for (const run of list) {
      const begins = fn.batch ? run.endedAt : run.startedAt;
      const before = below.get(run.op.number) as { at: number; number: number };
      // A failed call of handleBatch says nothing of its single events.
      if (run.outcome !== 'end' && fn.batch) continue;
      if (before.at > begins)
        out.push({
          rule: 'order',
          what: `${fn.name}: ${run.op.id} (number ${run.op.number} of ${subject}) ran before number ${before.number} was settled`,
        });
    }
    let open: Run | null = null;
    for (const run of list) {
      if (open && open.endedAt > run.startedAt && open.outcome !== 'died') {
        const sameCall = fn.batch && open.op.pid === run.op.pid && open.op.thread === run.op.thread;
        const excused = open.op.pid !== run.op.pid && (hasLost(open) || hasLost(run));
        if (!sameCall && !excused) {
          out.push({
            rule: 'overlap',
            what: `${fn.name}: ${run.op.id} of ${subject} began in process ${run.op.pid} while ${open.op.id} was running in ${open.op.pid}`,
          });
        }
      }
      if (open === null || run.outcome !== 'died') open = run;
    }
  }
  return out;
}

/**
 * Returns for each number the time from which it no longer holds up later ones.
 * @param excused whether nobody waits for the event: it may be missing, or was dead and has been
 *   replayed
 */
function settleTimes(
  runs: readonly Run[],
  letters: ReadonlyMap<string, Letter>,
  excused: (id: string) => boolean,
): Map<number, number> {
  const out = new Map<number, number>();
  for (const run of runs) {
    const letter = letters.get(run.op.id);
    let at = Infinity;
    if (excused(run.op.id)) at = -1;
    else if (run.outcome === 'end') at = run.endedAt;
    else if (letter && run.op.attempt >= letter.attempts) at = run.startedAt;
    out.set(run.op.number, Math.min(out.get(run.op.number) ?? Infinity, at));
  }
  return out;
}
