/** Place of a list. `fn`: the function or store that it belongs to; absent: none. */
interface Where {
  readonly fn?: string;
  readonly partition: number;
}

/** Lists not read to their ends, and unreadable records. Each of them may hold the event. */
export class Unseen {
  readonly #parts: string[] = [];
  /** Unreadable records by place and kind. */
  readonly #unreadable = new Map<string, number>();

  /** One text for each list that was left, and for each kind of unreadable record in a place. */
  get parts(): readonly string[] {
    const unreadable = [...this.#unreadable].map(
      ([what, count]) => `${what}${count === 1 ? '' : 's'}: ${count}`,
    );
    return [...this.#parts, ...unreadable];
  }

  /**
   * Notes that a list was left behind `seen` of its items, with at least one more behind them.
   * `counted` is the number of all items, and may be too low.
   */
  leave(where: Where, seen: number, counted: number, what: string): void {
    this.note(where, seen, Math.max(counted, seen + 1), what);
  }

  /** Notes that `seen` of `all` items of a list were looked at, where there are more. */
  note(where: Where, seen: number, all: number, what: string): void {
    if (all > seen) this.#parts.push(`${placeText(where)}: ${seen} of ${all} ${what}`);
  }

  /** Notes a record that cannot be read. @param what its kind, in the singular */
  unreadable(where: Where, what: string): void {
    const key = `${placeText(where)}: unreadable ${what}`;
    this.#unreadable.set(key, (this.#unreadable.get(key) ?? 0) + 1);
  }
}

function placeText({ fn, partition }: Where): string {
  return `${fn === undefined ? '' : `${fn} in `}partition ${partition}`;
}
