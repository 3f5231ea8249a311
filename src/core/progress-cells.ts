/**
 * State of each event of a running batch, in shared memory. The memory outlives the thread. When a
 * thread dies, the dispatcher reads here which events were running and which were completed.
 *
 * Layout, with room for n events:
 *
 * - Float64 × n: start times (ms of monotonicMs(), which is the same in all threads)
 * - Float64 × 1: the thread's last sign of life, written while its timers run
 * - Float64 × 2: control: the time until which events may start (monotonicMs()), and an ORDER
 * - Uint8 × n: states
 *
 * Writers of states: the dispatcher before the batch is posted (TODO -> SKIP), afterwards only the
 * thread (TODO -> RUNNING -> DONE, CAUSED, FAILED or BLOCKED). An event that is not started stays
 * TODO. Writer of control: only the dispatcher, at any time. Reader: the dispatcher, at any time. A
 * state that is read while the thread lives may be a moment old.
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
  /**
   * the handler succeeded, and its effects are in the thread until the report. If the thread dies,
   * the effects are lost and the event runs again.
   */
  CAUSED: 6,
} as const;
export type CellState = (typeof CELL)[keyof typeof CELL];

/**
 * States that may follow a state, as the dispatcher sees an event over all rounds of its run. A
 * thread may have passed further states in between, because it reports only the last one.
 */
const FOLLOWING: Readonly<Record<CellState, readonly CellState[]>> = {
  [CELL.TODO]: [
    CELL.TODO,
    CELL.RUNNING,
    CELL.DONE,
    CELL.CAUSED,
    CELL.FAILED,
    CELL.BLOCKED,
    CELL.SKIP,
  ],
  [CELL.RUNNING]: [CELL.RUNNING, CELL.DONE, CELL.FAILED],
  // An event that ran alone may have been done and then have killed its thread before the report.
  [CELL.DONE]: [CELL.FAILED],
  [CELL.FAILED]: [],
  [CELL.BLOCKED]: [],
  // A copy of an event, in a function with an inbox: it follows the first event with its id.
  [CELL.SKIP]: [CELL.TODO, CELL.BLOCKED],
  [CELL.CAUSED]: [CELL.DONE],
};
/** Bit set of the states that may follow, by state. */
const FOLLOWS = Uint8Array.from(Object.values(FOLLOWING), (states) =>
  states.reduce<number>((bits, state) => bits | (1 << state), 0),
);
const NAMES = Object.keys(CELL);

/**
 * Sets an event's state.
 * @throws Error where the state cannot follow: a bug, and nothing of the batch is committed
 */
export function moveTo(states: Uint8Array, index: number, to: CellState): void {
  const from = states[index] as CellState;
  if (((FOLLOWS[from] as number) & (1 << to)) === 0)
    throw new Error(`event ${index} cannot become ${NAMES[to]}: it is ${NAMES[from]}`);
  states[index] = to;
}

/** Orders of the dispatcher to a thread that runs a batch. */
export const ORDER = {
  NONE: 0,
  /**
   * Another dispatcher owns the lane. The signals of running handlers abort, and their outcomes are
   * discarded.
   */
  LEASE_LOST: 1,
} as const;

export interface ProgressCells {
  readonly shared: SharedArrayBuffer;
  /** Number of events that the cells have room for. */
  readonly capacity: number;
  /** `starts[capacity]` is the thread's last sign of life. */
  readonly starts: Float64Array;
  /** Time until which events may start (monotonicMs()), and an ORDER. */
  readonly control: Float64Array;
  readonly states: Uint8Array;
}

/**
 * Pool of cells. Allocating shared memory costs more than running a dozen events. There are few
 * sizes, and few cells of each size are kept.
 */
const SMALLEST = 64;
const KEPT = 64;
const free = new Map<number, ProgressCells[]>();

/** Bytes of sign of life and control, which lie between start times and states. */
const EXTRA = 24;

/**
 * Returns cells with all events TODO and no bound for starts. Give the cells back with
 * recycleCells.
 */
export function createCells(events: number): ProgressCells {
  let capacity = SMALLEST;
  while (capacity < events) capacity *= 4;
  const used = free.get(capacity)?.pop();
  const cells = used ?? openCells(new SharedArrayBuffer(capacity * 9 + EXTRA));
  cells.control[0] = Infinity;
  cells.control[1] = ORDER.NONE;
  if (!used) return cells;
  used.states.fill(CELL.TODO, 0, events);
  used.starts[capacity] = 0;
  return used;
}

/**
 * Gives cells back to the pool. Allowed only when the thread has answered: after a thread's death
 * somebody may still read its cells.
 */
export function recycleCells(cells: ProgressCells): void {
  const kept = free.get(cells.capacity);
  if (!kept) free.set(cells.capacity, [cells]);
  else if (kept.length < KEPT) kept.push(cells);
}

export function openCells(shared: SharedArrayBuffer): ProgressCells {
  const capacity = (shared.byteLength - EXTRA) / 9;
  return {
    shared,
    capacity,
    starts: new Float64Array(shared, 0, capacity + 1),
    control: new Float64Array(shared, capacity * 8 + 8, 2),
    states: new Uint8Array(shared, capacity * 8 + EXTRA, capacity),
  };
}
