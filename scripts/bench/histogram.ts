/** Exact counts per value. The values are ages in ms, of which there are few different ones. */
export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;

  add(value: number, count = 1): void {
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + count);
    this.#total += count;
  }
  /** @param pairs value, count, value, count, … */
  addPairs(pairs: readonly number[]): void {
    for (let i = 0; i + 1 < pairs.length; i += 2)
      this.add(pairs[i] as number, pairs[i + 1] as number);
  }
  toPairs(): number[] {
    return [...this.#counts].flat();
  }
  get total(): number {
    return this.#total;
  }
  /**
   * Returns the smallest value that at least `share` (0 to 1) of all values do not exceed.
   * Null when empty.
   */
  quantile(share: number): number | null {
    const rank = Math.max(1, Math.ceil(share * this.#total));
    let below = 0;
    for (const [value, count] of [...this.#counts].sort((a, b) => a[0] - b[0])) {
      below += count;
      if (below >= rank) return value;
    }
    return null;
  }
}
