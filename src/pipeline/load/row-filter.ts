/**
 * A Bloom filter of the rows that a generation of a view may have. It may claim a row that does not
 * exist, and never misses one that does. (Bloom 1970; positions by double hashing, Kirsch and
 * Mitzenmacher 2006.)
 */
const BITS = 1 << 21;
const HASHES = 3;
/** With more rows about every fourth answer is wrong: asking Redis costs less than the filter. */
const MOST_ROWS = 700_000;

/** Takes 256 KB. */
export class RowFilter {
  readonly #bits = new Uint32Array(BITS / 32);
  #rows = 0;

  get full(): boolean {
    return this.#rows >= MOST_ROWS;
  }

  /** Adds a row. @returns whether the row may have been added before */
  add(id: string): boolean {
    // The first hash is FNV-1a. The second one is derived from it.
    let hash = 0x811c9dc5;
    for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
    const step = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) | 1;
    let there = true;
    for (let i = 0; i < HASHES; i++) {
      const bit = (hash >>> 7) % BITS;
      const mask = 1 << (bit & 31);
      if (((this.#bits[bit >>> 5] as number) & mask) === 0) {
        there = false;
        this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] as number) | mask;
      }
      hash = (hash + step) | 0;
    }
    if (!there) this.#rows++;
    return there;
  }
}
