/**
 * Whose turn it is. A bounded number of turns is under way at once (slots); when one ends, the
 * waiting function that has used the pool least goes next: start-time fair queueing over busy
 * milliseconds (Goyal, Vin, Cheng, "Start-time Fair Queuing", SIGCOMM 1996). A function that was
 * idle starts at the present virtual time, so it cannot save up credit.
 *
 * A function whose turns are long (a slow downstream) may hold at most `slowLimit` slots while
 * others are registered: threads cannot be taken away in the middle of a handler, so one must be
 * kept free for the rest.
 */
export interface Slot {
  /** @param busyMs time its batch spent in a pool thread */
  release(busyMs: number): void;
}

interface Share {
  virtualMs: number;
  running: number;
  meanTurnMs: number;
  waiting: ((slot: Slot) => void)[];
}

export interface FairShareOptions {
  readonly slots: number;
  readonly slowLimit: number;
  /** A mean turn above this makes a function slow, in ms. Default 250. */
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

  get underWay(): number {
    return this.#slots - this.#free;
  }

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
      // Charged up front with what a turn usually takes, so that one function does not win all free
      // slots at once.
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
