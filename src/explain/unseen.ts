/** The lists that explain did not read to their ends. The event may be there all the same. */
export class Unseen {
  readonly #parts: string[] = [];

  /** One text for each list. */
  get parts(): readonly string[] {
    return this.#parts;
  }

  /** Notes that `seen` of `all` items of a list were looked at, where there are more. */
  note(where: { fn?: string; partition: number }, seen: number, all: number, what: string): void {
    if (all <= seen) return;
    const place = `${where.fn === undefined ? '' : `${where.fn} in `}partition ${where.partition}`;
    this.#parts.push(`${place}: ${seen} of ${all} ${what}`);
  }
}
