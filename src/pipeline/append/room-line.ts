/**
 * Calls that found the buffer full, in order: the first one waits for room, the others for their
 * turn. So a small event never overtakes a large one that waits.
 */
export class RoomLine {
  readonly #line = new Set<() => void>();
  readonly #waiting: (() => void)[] = [];

  get empty(): boolean {
    return this.#line.size === 0;
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

  /** There may be room, or there is no more point in waiting. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
