/**
 * Wakes a lane: a doorbell rings it, a retry is due, or the lane itself wants to look again. Rings
 * are counted, so that one during a turn is not overlooked.
 */
export class LaneBell {
  #rings = 1;
  #seenRings = 0;
  #wake: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** The lane waits. */
  get waiting(): boolean {
    return this.#wake !== null;
  }

  /** The bell rang since the last look. */
  get rang(): boolean {
    return this.#rings !== this.#seenRings;
  }

  ring(): void {
    this.#rings++;
    this.wake();
  }

  /** Ends a wait without a ring. */
  wake(): void {
    this.#wake?.();
  }

  /** The lane looks for work now: rings until here are answered. */
  look(): void {
    this.#seenRings = this.#rings;
  }

  /** Resolves at the next ring, or wake(). */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = null;
        resolve();
      };
    });
  }

  /** Rings once after this time, in place of what was set before. Null: not at all. */
  ringIn(delayMs: number | null): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (delayMs === null || this.#closed) return;
    this.#timer = setTimeout(() => this.ring(), delayMs);
  }

  /** Ends a wait; no timer rings from now on. */
  close(): void {
    this.#closed = true;
    this.ringIn(null);
    this.wake();
  }
}
