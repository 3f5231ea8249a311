/** The lists that explain did not read to their ends. The event may be there all the same. */
export class Unseen {
  readonly #parts: string[] = [];

  /** One text for each list. */
  get parts(): readonly string[] {
    return this.#parts;
  }

  /**
   * Notes that a list was left behind `seen` of its items, with at least one more behind them.
   * `counted` is the number of all items, and may be too low.
   */
  leave(
    where: { fn?: string; partition: number },
    seen: number,
    counted: number,
    what: string,
  ): void {
    this.note(where, seen, Math.max(counted, seen + 1), what);
  }

  /** Notes that `seen` of `all` items of a list were looked at, where there are more. */
  note(where: { fn?: string; partition: number }, seen: number, all: number, what: string): void {
    if (all <= seen) return;
    const place = `${where.fn === undefined ? '' : `${where.fn} in `}partition ${where.partition}`;
    this.#parts.push(`${place}: ${seen} of ${all} ${what}`);
  }
}
