/** The history that the test functions write, and the checks of it. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

export interface HistoryLine {
  /**
   * `start`: the handler was called. `end`: it succeeded. `fail`: it failed. A run with a start
   * alone died with its thread or process.
   */
  readonly what: 'start' | 'end' | 'fail';
  readonly fn: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly number: number;
  readonly order: string;
  readonly attempt: number;
  readonly position: string;
  readonly pid: number;
  readonly thread: number;
}

/**
 * One call of a handler for one event. Times are line numbers: one writer at a time appends to the
 * file.
 */
export interface Run extends Omit<HistoryLine, 'what'> {
  readonly startedAt: number;
  /** Line number of the end; Infinity if the run never ended. */
  endedAt: number;
  outcome: 'end' | 'fail' | 'died';
}

/**
 * Opens the gate of an event with the order `gate`: its handler then follows `order`. The gate
 * stays open for later attempts, until it is shut.
 */
export function openGate(history: string, id: string, order: string): void {
  writeFileSync(`${history}.gate-${id}.new`, order);
  renameSync(`${history}.gate-${id}.new`, `${history}.gate-${id}`);
}

export function shutGate(history: string, id: string): void {
  rmSync(`${history}.gate-${id}`);
}

/**
 * Returns the lines of the history. The list is empty when nothing has run yet. An incomplete last
 * line is left out.
 */
export function readHistory(file: string): HistoryLine[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryLine);
}

export function runsOf(lines: readonly HistoryLine[]): Run[] {
  const runs: Run[] = [];
  const open = new Map<string, Run>();
  lines.forEach((line, at) => {
    const { what, ...rest } = line;
    const key = `${line.pid}/${line.thread}/${line.fn}/${line.id}`;
    if (what === 'start') {
      const run: Run = { ...rest, startedAt: at, endedAt: Infinity, outcome: 'died' };
      runs.push(run);
      open.set(key, run);
      return;
    }
    const run = open.get(key);
    if (!run)
      throw new Error(
        `line ${at + 1} of the history ends a run without a start: ${JSON.stringify(line)}`,
      );
    run.endedAt = at;
    run.outcome = what;
    open.delete(key);
  });
  return runs;
}

/** Returns how often each event's handler succeeded. */
export function completions(runs: readonly Run[]): Map<string, number> {
  const out = new Map<string, number>();
  for (const run of runs) if (run.outcome === 'end') out.set(run.id, (out.get(run.id) ?? 0) + 1);
  return out;
}

/**
 * @returns a problem for each published event that is neither done nor dead, and for each run of an
 *   event that was not published
 */
export function lost(
  runs: readonly Run[],
  published: Iterable<string>,
  dead: Iterable<string> = [],
): string[] {
  const done = completions(runs);
  const deadIds = new Set(dead);
  const known = new Set(published);
  const problems: string[] = [];
  for (const id of known)
    if (!done.has(id) && !deadIds.has(id))
      problems.push(`${id} was published but is neither done nor dead`);
  for (const run of runs)
    if (!known.has(run.id)) problems.push(`${run.id} ran but was not published`);
  return problems;
}

/**
 * Checks the order per subject, by the payload's `number`. When an event starts, all lower numbers
 * have succeeded, or are in `dead` and have started before. No two runs of one subject overlap.
 */
export function disorder(
  runs: readonly Run[],
  options: { readonly dead?: Iterable<string> } = {},
): string[] {
  const dead = new Set(options.dead ?? []);
  const problems: string[] = [];
  const bySubject = new Map<string, Run[]>();
  for (const run of runs) {
    const key = `${run.fn} ${run.subject}`;
    const list = bySubject.get(key);
    if (list) list.push(run);
    else bySubject.set(key, [run]);
  }
  for (const [subject, list] of bySubject) {
    const settledAt = new Map<number, number>();
    for (const run of list) {
      const at = run.outcome === 'end' ? run.endedAt : dead.has(run.id) ? run.startedAt : Infinity;
      settledAt.set(run.number, Math.min(settledAt.get(run.number) ?? Infinity, at));
    }
    const numbers = [...settledAt.keys()].sort((a, b) => a - b);
    for (const run of list) {
      for (const number of numbers) {
        if (number >= run.number) break;
        if ((settledAt.get(number) as number) > run.startedAt)
          problems.push(
            `${subject}: number ${run.number} (${run.id}) started before ${number} was settled`,
          );
      }
    }
    let before: Run | null = null;
    for (const run of list) {
      if (before && before.outcome !== 'died' && before.endedAt > run.startedAt) {
        problems.push(
          `${subject}: number ${run.number} (${run.id}) started while ${before.number} (${before.id}) was running`,
        );
      }
      if (before === null || run.outcome !== 'died') before = run;
    }
  }
  return problems;
}

/**
 * Checks the order for handleBatch, whose calls hold several events of one subject. The last
 * success of an event comes after the last success of all lower numbers. For a dead event its last
 * attempt counts.
 */
export function batchDisorder(runs: readonly Run[], dead: Iterable<string> = []): string[] {
  const deadIds = new Set(dead);
  const problems: string[] = [];
  const last = new Map<string, Map<number, number>>();
  for (const run of runs) {
    const at = deadIds.has(run.id) ? run.startedAt : run.outcome === 'end' ? run.endedAt : -1;
    const numbers = last.get(run.subject) ?? new Map<number, number>();
    last.set(run.subject, numbers.set(run.number, Math.max(numbers.get(run.number) ?? -1, at)));
  }
  for (const [subject, numbers] of last) {
    let before = -1;
    for (const [number, at] of [...numbers].sort((a, b) => a[0] - b[0])) {
      if (at < before)
        problems.push(
          `${subject}: number ${number} succeeded for the last time before a lower one did`,
        );
      before = Math.max(before, at);
    }
  }
  return problems;
}

/** Returns the attempt numbers of an event's runs, in order, without repeats. */
export function attemptsOf(runs: readonly Run[], id: string): number[] {
  const out: number[] = [];
  for (const run of runs) if (run.id === id && out.at(-1) !== run.attempt) out.push(run.attempt);
  return out;
}
