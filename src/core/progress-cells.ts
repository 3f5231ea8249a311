/**
 * Shared-memory state of each event of a running batch. It outlives the thread: when a thread dies,
 * the dispatcher reads here which events were running and which had been completed.
 *
 * Layout, room for n events: Float64 × n start times (ms, monotonicMs(), the same in all threads),
 * one Float64 with the thread's last sign of life (its timers run), two Float64 of control (until
 * when events may start, by monotonicMs(); an ORDER), then Uint8 × n states. Writers: the
 * dispatcher before the batch is posted (TODO -> SKIP), afterwards only the thread (TODO -> RUNNING
 * -> DONE, CAUSED, FAILED or BLOCKED; TODO stays what is not started). Control: only the
 * dispatcher, at any time. Readers: the dispatcher, at any time; a state read while the thread
 * lives may be a moment old.
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
   * the handler succeeded, and has effects that are in the thread until it reports: lost with it,
   * the event runs again
   */
  CAUSED: 6,
} as const;
export type CellState = (typeof CELL)[keyof typeof CELL];

/**
 * States that may follow a state, as the dispatcher sees an event over all rounds of its run. A
 * thread may have passed others meanwhile: it reports the last one.
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
  // Run alone, it was done and then killed its thread, which could not report it.
  [CELL.DONE]: [CELL.FAILED],
  [CELL.FAILED]: [],
  [CELL.BLOCKED]: [],
  // A copy in a function with an inbox: it follows the first event of its identity.
  [CELL.SKIP]: [CELL.TODO, CELL.BLOCKED],
  [CELL.CAUSED]: [CELL.DONE],
};
/** By state, a bit for each state that may follow. */
const FOLLOWS = Uint8Array.from(Object.values(FOLLOWING), (states) =>
  states.reduce<number>((bits, state) => bits | (1 << state), 0),
);
const NAMES = Object.keys(CELL);

/** @throws Error where the state cannot follow: a bug, and nothing of the batch is committed */
export function moveTo(states: Uint8Array, index: number, to: CellState): void {
  const from = states[index] as CellState;
  if (((FOLLOWS[from] as number) & (1 << to)) === 0)
    throw new Error(`event ${index} cannot become ${NAMES[to]}: it is ${NAMES[from]}`);
  states[index] = to;
}

/** What the dispatcher tells a thread that runs a batch. */
export const ORDER = {
  NONE: 0,
  /**
   * The lane is somebody else's: the signals of running handlers abort, and what comes of them is
   * thrown away.
   */
  LEASE_LOST: 1,
} as const;

export interface ProgressCells {
  readonly shared: SharedArrayBuffer;
  /** Events it has room for. */
  readonly capacity: number;
  /** `starts[capacity]` is the thread's last sign of life. */
  readonly starts: Float64Array;
  /** Until when events may start, and an ORDER. */
  readonly control: Float64Array;
  readonly states: Uint8Array;
}

/**
 * Making shared memory costs more than running a dozen events, so it is used again: few sizes, few
 * of each kept.
 */
const SMALLEST = 64;
const KEPT = 64;
const free = new Map<number, ProgressCells[]>();

/** Bytes before the states, beside the start times. */
const EXTRA = 24;

/** All TODO, may start at any time. Give them back with recycleCells. */
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

/** Only when the thread has answered: a dead one's cells stay with whoever still reads them. */
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
