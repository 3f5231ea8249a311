/**
 * What a lane is at and when it last got something done: for health. Reading it is for whoever
 * asks; the lane itself only writes down where it is.
 */
import { monotonicMs } from '../../core/clock.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';

export type Doing =
  | 'idle'
  | 'waiting for room in the outbox'
  | 'waiting for a free slot'
  | 'reading'
  | 'running'
  | 'committing'
  | 'failing';

/** A handler that overruns is given this long to end before its thread is. */
const RUN_GRACE_MS = 5000;

export class LaneProgress {
  doing: Doing = 'idle';
  /** Turns that failed in a row, and why the last one did. */
  failures = 0;
  lastError = '';
  readonly #timeoutMs: number;
  #lastMs = monotonicMs();
  #cells: { readonly cells: ProgressCells; readonly events: number } | null = null;
  #settled = 0;

  /** @param timeoutMs of its function */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** A turn has ended, or there is nothing to do. */
  made(): void {
    this.#lastMs = monotonicMs();
  }

  /**
   * A step of a turn has ended. While turns fail that says nothing: the same may be done again and
   * again.
   */
  gotOn(): void {
    if (this.failures === 0) this.made();
  }

  running(): void {
    this.doing = 'running';
    this.#settled = 0;
  }

  /** @param events that the cells are of; null when they are no longer shared with a thread */
  observe(cells: ProgressCells | null, events: number): void {
    this.#cells = cells === null ? null : { cells, events };
  }

  /** When it last got something done, or had nothing to do, by monotonicMs(). */
  last(): number {
    if (this.doing === 'idle') this.made();
    const { settled } = this.#count();
    if (settled !== this.#settled) this.made();
    this.#settled = settled;
    return this.#lastMs;
  }

  /**
   * Whether it has work and nothing gets done: no event settled and no turn ended for `quietMs`
   * (and, while handlers run, for the time they are allowed on top: a slow downstream alone is no
   * stall). While it waits for its turn, or for a thread, what the others get done counts too.
   * @param others when the lanes that are not idle last got something done, and the longest
   *   timeoutMs of their functions
   * @returns what it hangs at, or null
   */
  stalled(
    quietMs: number,
    others: { readonly progressMs: number; readonly timeoutMs: number },
  ): string | null {
    const lastMs = this.last();
    const queued = this.doing === 'running' && this.#count().started === 0;
    const waits = this.failures === 0 && (queued || this.doing === 'waiting for a free slot');
    const allowedMs =
      quietMs +
      (waits
        ? others.timeoutMs + RUN_GRACE_MS
        : this.doing === 'running'
          ? this.#timeoutMs + RUN_GRACE_MS
          : 0);
    const now = monotonicMs();
    if (now - (waits ? Math.max(lastMs, others.progressMs) : lastMs) <= allowedMs) return null;
    const doing = this.failures > 0 ? 'failing' : queued ? 'waiting for a thread' : this.doing;
    return `${doing} for ${Math.round((now - lastMs) / 1000)} s${this.failures > 0 ? `: ${this.lastError}` : ''}`;
  }

  #count(): { started: number; settled: number } {
    const count = { started: 0, settled: 0 };
    if (this.doing !== 'running' || this.#cells === null)
      return { started: 0, settled: this.#settled };
    const { cells, events } = this.#cells;
    for (let i = 0; i < events; i++) {
      const state = cells.states[i] as number;
      if (state === CELL.TODO || state === CELL.SKIP) continue;
      count.started++;
      if (state !== CELL.RUNNING) count.settled++;
    }
    return count;
  }
}
