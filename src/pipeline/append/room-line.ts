/**
 * The line of calls that found the buffer full. The first call waits for room, the others for their
 * turn. So a small event never overtakes a large one that waits.
 */
export class RoomLine {
  readonly #line = new Set<() => void>();
  readonly #waiting: (() => void)[] = [];

  get empty(): boolean {
    return this.#line.size === 0;
  }

  /** Calls in the line. */
  get length(): number {
    return this.#line.size;
  }

  /** Resolves at the head of the line, with the function that leaves it. */
  async join(): Promise<() => void> {
    let place!: () => void;
    await new Promise<void>((resolve) => {
      place = resolve;
      this.#line.add(place);
      if (this.#line.size === 1) resolve();
    });
    return () => {
      this.#line.delete(place);
      for (const next of this.#line) return next();
    };
  }

  /** Resolves with the next wake(). */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Tells the head of the line that there may be room, or that the publisher closes. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
