/**
 * Which rows a generation of a view may have: a Bloom filter (Bloom 1970; positions by double
 * hashing, Kirsch and Mitzenmacher 2006). It may take a row that is not there for one that is,
 * never the other way round.
 */
const BITS = 1 << 21;
const HASHES = 3;
/** Beyond that about every fourth answer is wrong: asking Redis costs less than keeping it. */
const MOST_ROWS = 700_000;

/** 256 KB. */
export class RowFilter {
  readonly #bits = new Uint32Array(BITS / 32);
  #rows = 0;

  get full(): boolean {
    return this.#rows >= MOST_ROWS;
  }

  /** @returns whether it may have been added before */
  add(id: string): boolean {
    // FNV-1a, and a second hash made of it
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
