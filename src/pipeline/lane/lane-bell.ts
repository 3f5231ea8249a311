/**
 * Wakes a lane. It rings when there may be work: the doorbell has heard of an entry, a retry is
 * due, or the lane wants to look again. Rings are counted, so that none during a turn is missed.
 */
export class LaneBell {
  #rings = 1;
  #seenRings = 0;
  #wake: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** Whether the lane waits. */
  get waiting(): boolean {
    return this.#wake !== null;
  }

  /** Whether the bell rang since the last look. */
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

  /** The lane looks for work now: this answers all rings so far. */
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

  /** Sets the timer that rings once after this time. Null: only clears the timer. */
  ringIn(delayMs: number | null): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (delayMs === null || this.#closed) return;
    this.#timer = setTimeout(() => this.ring(), delayMs);
  }

  /** Ends a wait. The timer rings no more. */
  close(): void {
    this.#closed = true;
    this.ringIn(null);
    this.wake();
  }
}
