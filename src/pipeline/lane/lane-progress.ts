/**
 * The progress of a lane, for health: its present step, and when it last got something done. The
 * lane only writes its step down. A judgement costs time only when health is asked for.
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

/** Time that a handler has to end after its timeout, before its thread is ended, ms. */
const RUN_GRACE_MS = 5000;

export class LaneProgress {
  doing: Doing = 'idle';
  readonly #timeoutMs: number;
  #failures = 0;
  /** The last failure. Null: no turn has failed since one passed. */
  #failure: { readonly error: Error; readonly atMs: number } | null = null;
  #lastMs = monotonicMs();
  #cells: { readonly cells: ProgressCells; readonly events: number } | null = null;
  #settled = 0;

  /** @param timeoutMs timeout of the function's handlers, ms */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Turns that failed in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** Error of the last turn. Null: it has not failed. */
  get failure(): Error | null {
    return this.#failure?.error ?? null;
  }

  failed(error: Error): void {
    this.doing = 'failing';
    this.#failures++;
    this.#failure = { error, atMs: monotonicMs() };
  }

  /** A turn has not failed. */
  passed(): void {
    this.#failures = 0;
    this.#failure = null;
  }

  /** A turn has ended, or there is nothing to do. */
  made(): void {
    this.#lastMs = monotonicMs();
  }

  /**
   * A step of a turn has ended. It is no progress while turns fail: the same step may be repeated
   * for ever.
   */
  gotOn(): void {
    if (this.#failure === null) this.made();
  }

  running(): void {
    this.doing = 'running';
    this.#settled = 0;
  }

  /**
   * @param cells states of the batch in a thread. Null: they are no longer shared with a thread
   * @param events number of the batch's events
   */
  observe(cells: ProgressCells | null, events: number): void {
    this.#cells = cells === null ? null : { cells, events };
  }

  /** Time when it last got something done, or had nothing to do, by monotonicMs(). */
  last(): number {
    if (this.doing === 'idle') this.made();
    const { settled } = this.#count();
    if (settled !== this.#settled) this.made();
    this.#settled = settled;
    return this.#lastMs;
  }

  /**
   * Says whether the lane has work and gets nothing done: no event settled and no turn ended for
   * `quietMs`. While handlers run, their timeout is added: a slow downstream alone is no stall.
   * While the lane waits for a slot or a thread, the progress of other lanes counts as its own. A
   * lane that was stalled when its turn failed stays so during the next turn.
   * @param quietMs longest time without progress, ms
   * @param others the last progress of lanes that are not idle, and the longest timeoutMs of their
   *   functions
   * @returns the step it hangs at, with the time. Null: it gets on
   */
  stalled(
    quietMs: number,
    others: { readonly progressMs: number; readonly timeoutMs: number },
  ): string | null {
    const lastMs = this.last();
    const failure = this.#failure;
    const stayed = failure !== null && failure.atMs - lastMs > quietMs;
    const queued = this.doing === 'running' && this.#count().started === 0;
    const waits = failure === null && (queued || this.doing === 'waiting for a free slot');
    const allowedMs = stayed
      ? quietMs
      : quietMs +
        (waits
          ? others.timeoutMs + RUN_GRACE_MS
          : this.doing === 'running'
            ? this.#timeoutMs + RUN_GRACE_MS
            : 0);
    const now = monotonicMs();
    if (now - (waits ? Math.max(lastMs, others.progressMs) : lastMs) <= allowedMs) return null;
    const doing = failure ? 'failing' : queued ? 'waiting for a thread' : this.doing;
    return `${doing} for ${Math.round((now - lastMs) / 1000)} s${failure ? `: ${failure.error.message}` : ''}`;
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
