/** Place of a list. `fn`: the function or store that it belongs to; absent: none. */
interface Where {
  readonly fn?: string;
  readonly partition: number;
}

/** Unreadable records of one kind in one place. `kind` is in the singular. */
interface Unreadable {
  readonly place: string;
  readonly kind: string;
  readonly count: number;
}

/** Lists not read to their ends, and unreadable records. Each of them may hold the event. */
export class Unseen {
  readonly #left: string[] = [];
  /** Unreadable records by place and kind. */
  readonly #unreadable = new Map<string, Unreadable>();

  /** One text for each list that was left, and for each kind of unreadable record in a place. */
  get parts(): readonly string[] {
    const unreadable = [...this.#unreadable.values()].map(
      ({ place, kind, count }) => `${place}: unreadable ${plural(kind, count)}: ${count}`,
    );
    return [...this.#left, ...unreadable];
  }

  /** Places that may hold the event, as the end of a sentence. Null: none. */
  get hidden(): string | null {
    const unreadable = [...this.#unreadable.values()].map(
      ({ place, kind, count }) => `${count} ${plural(kind, count)} of ${place}`,
    );
    const places: string[] = [];
    if (this.#left.length > 0)
      places.push(`in a record that was not read: ${this.#left.join('; ')}`);
    if (unreadable.length > 0)
      places.push(`in a record that could not be read: ${unreadable.join('; ')}`);
    return places.length > 0 ? places.join('; or ') : null;
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
    if (all > seen) this.#left.push(`${placeText(where)}: ${seen} of ${all} ${what}`);
  }

  /** Notes a record that cannot be read. @param what its kind, in the singular */
  unreadable(where: Where, what: string): void {
    const place = placeText(where);
    const key = `${place}: ${what}`;
    const count = (this.#unreadable.get(key)?.count ?? 0) + 1;
    this.#unreadable.set(key, { place, kind: what, count });
  }
}

function placeText({ fn, partition }: Where): string {
  return `${fn === undefined ? '' : `${fn} in `}partition ${partition}`;
}

function plural(kind: string, count: number): string {
  return count === 1 ? kind : `${kind}s`;
}
