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
 *
 * Slots bound the memory and the queue of the threads. A turn that reads little costs little of
 * both, and takes a part of a slot. So the turns of many functions on one type go together.
 */

/** Number of small turns that have room in one slot. */
const SMALL_PER_SLOT = 8;

export interface Slot {
  /** Gives the slot back. @param busyMs time of the turn's batch in a pool thread, ms */
  release(busyMs: number): void;
}

interface Waiting {
  /** Parts of a slot that the turn takes. */
  readonly parts: number;
  readonly resolve: (slot: Slot) => void;
}

interface Share {
  /** Busy time that the function was charged with, ms, on the scale of all functions. */
  virtualMs: number;
  /** Slots that it holds. */
  running: number;
  meanTurnMs: number;
  /** Turns that wait for a slot, in order. */
  waiting: Waiting[];
}

export interface FairShareOptions {
  /** Most turns under way at once; of small turns, eight times as many. */
  readonly slots: number;
  /** Most slots of a slow function. At least 1. */
  readonly slowLimit: number;
  /** Mean length of a turn from which on a function is slow, ms. Default 250. */
  readonly slowTurnMs?: number;
}

export class FairShare {
  readonly #shares = new Map<string, Share>();
  readonly #slowLimit: number;
  readonly #slowTurnMs: number;
  /** Parts of slots. */
  #free: number;
  #underWay = 0;
  #virtualNow = 0;

  constructor(options: FairShareOptions) {
    this.#free = options.slots * SMALL_PER_SLOT;
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
    return this.#underWay;
  }

  /**
   * Resolves when the function may take a turn. Release the slot when the turn has ended.
   * @param small whether the turn will read little
   */
  acquire(fn: string, small = false): Promise<Slot> {
    return new Promise((resolve) => {
      const share = this.#shares.get(fn);
      if (!share) throw new Error(`function ${fn} has no share`);
      if (share.waiting.length === 0 && share.running === 0)
        share.virtualMs = Math.max(share.virtualMs, this.#virtualNow);
      share.waiting.push({ parts: small ? 1 : SMALL_PER_SLOT, resolve });
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
      const { parts, resolve } = next.waiting[0] as Waiting;
      // Nobody goes first, or a large turn would wait behind small ones for ever.
      if (parts > this.#free) return;
      next.waiting.shift();
      this.#free -= parts;
      this.#underWay++;
      next.running++;
      this.#virtualNow = Math.max(this.#virtualNow, next.virtualMs);
      // The function is charged at once with its mean turn, so that it does not win all free slots.
      const charged = next.meanTurnMs + 0.01;
      next.virtualMs += charged;
      resolve(this.#slot(next, charged, parts));
    }
  }

  #slot(share: Share, charged: number, parts: number): Slot {
    let released = false;
    return {
      release: (busyMs) => {
        if (released) return;
        released = true;
        share.running--;
        share.virtualMs += busyMs - charged + 0.01;
        share.meanTurnMs += (busyMs - share.meanTurnMs) * 0.2;
        this.#free += parts;
        this.#underWay--;
        this.#grant();
      },
    };
  }
}
