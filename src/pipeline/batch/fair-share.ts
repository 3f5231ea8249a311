/**
 * Shares the pool among the functions. A bounded number of turns is under way at once: the slots.
 * When a turn ends, the waiting function that has used the pool least gets the slot. This is
 * start-time fair queueing over busy milliseconds (Goyal, Vin, Cheng, "Start-time Fair Queuing",
 * SIGCOMM 1996). A function that was idle starts at the present virtual time, so it cannot save up
 * credit.
 *
 * A function whose turns are long (a slow downstream) may hold at most `slowLimit` slots while
 * others are registered. A thread cannot be taken away in the middle of a handler, so one must stay
 * free for the other functions.
 */
export interface Slot {
  /** Gives the slot back. @param busyMs time of the turn's batch in a pool thread, ms */
  release(busyMs: number): void;
}

interface Share {
  /** Busy time that the function was charged with, ms, on the scale of all functions. */
  virtualMs: number;
  /** Slots that it holds. */
  running: number;
  meanTurnMs: number;
  /** Turns that wait for a slot, in order. */
  waiting: ((slot: Slot) => void)[];
}

export interface FairShareOptions {
  /** Most turns under way at once. */
  readonly slots: number;
  /** Most slots of a slow function. At least 1. */
  readonly slowLimit: number;
  /** Mean length of a turn from which on a function is slow, ms. Default 250. */
  readonly slowTurnMs?: number;
}

export class FairShare {
  readonly #shares = new Map<string, Share>();
  readonly #slots: number;
  readonly #slowLimit: number;
  readonly #slowTurnMs: number;
  #free: number;
  #virtualNow = 0;

  constructor(options: FairShareOptions) {
    this.#slots = options.slots;
    this.#free = options.slots;
    this.#slowLimit = Math.max(1, options.slowLimit);
    this.#slowTurnMs = options.slowTurnMs ?? 250;
  }

  register(fn: string): void {
    if (!this.#shares.has(fn)) {
      this.#shares.set(fn, { virtualMs: this.#virtualNow, running: 0, meanTurnMs: 0, waiting: [] });
    }
  }

  /** Turns under way. */
  get underWay(): number {
    return this.#slots - this.#free;
  }

  /** Resolves when the function may take a turn. Release the slot when the turn has ended. */
  acquire(fn: string): Promise<Slot> {
    return new Promise((resolve) => {
      const share = this.#shares.get(fn);
      if (!share) throw new Error(`function ${fn} has no share`);
      if (share.waiting.length === 0 && share.running === 0)
        share.virtualMs = Math.max(share.virtualMs, this.#virtualNow);
      share.waiting.push(resolve);
      this.#grant();
    });
  }

  #grant(): void {
    while (this.#free > 0) {
      let next: Share | null = null;
      for (const share of this.#shares.values()) {
        if (share.waiting.length === 0) continue;
        const slow = share.meanTurnMs > this.#slowTurnMs && this.#shares.size > 1;
        if (slow && share.running >= this.#slowLimit) continue;
        if (next === null || share.virtualMs < next.virtualMs) next = share;
      }
      if (next === null) return;
      this.#free--;
      next.running++;
      this.#virtualNow = Math.max(this.#virtualNow, next.virtualMs);
      // The function is charged at once with its mean turn, so that it does not win all free slots.
      const charged = next.meanTurnMs + 0.01;
      next.virtualMs += charged;
      const resolve = next.waiting.shift() as (slot: Slot) => void;
      resolve(this.#slot(next, charged));
    }
  }

  #slot(share: Share, charged: number): Slot {
    let released = false;
    return {
      release: (busyMs) => {
        if (released) return;
        released = true;
        share.running--;
        share.virtualMs += busyMs - charged + 0.01;
        share.meanTurnMs += (busyMs - share.meanTurnMs) * 0.2;
        this.#free++;
        this.#grant();
      },
    };
  }
}
