/**
 * Shared-memory state of each event of a running batch. It outlives the thread: when a thread dies, the dispatcher
 * reads here which events were running and which had been completed.
 *
 * Layout, n events: Float64 × n start times (ms, monotonicMs(), the same in all threads), one Float64 with the thread's
 * last sign of life (its timers run), then Uint8 × n states.
 * Writers: the dispatcher before the batch is posted (TODO -> SKIP), afterwards only the thread (TODO -> RUNNING -> DONE,
 * FAILED or BLOCKED). Readers: the dispatcher, at any time; a state read while the thread lives may be a moment old.
 */
export const CELL = {
  /** to be run */
  TODO: 0,
  /** the handler was called and has not settled */
  RUNNING: 1,
  /** the handler succeeded */
  DONE: 2,
  /** the attempt failed; details are in the report */
  FAILED: 3,
  /** not run: an earlier event of its subject failed or is parked */
  BLOCKED: 4,
  /** not to be run in this task (settled before, or another task's turn) */
  SKIP: 5,
} as const;
export type CellState = (typeof CELL)[keyof typeof CELL];

export interface ProgressCells {
  readonly shared: SharedArrayBuffer;
  /** `starts[n]` is the thread's last sign of life. */
  readonly starts: Float64Array;
  readonly states: Uint8Array;
}

export function createCells(events: number): ProgressCells {
  return openCells(new SharedArrayBuffer(events * 9 + 8), events);
}

export function openCells(shared: SharedArrayBuffer, events: number): ProgressCells {
  return {
    shared,
    starts: new Float64Array(shared, 0, events + 1),
    states: new Uint8Array(shared, events * 8 + 8, events),
  };
}
