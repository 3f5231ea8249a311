/**
 * Counts of values by size, between fixed bounds. The parts of a process count with it in plain
 * numbers. Only src/metrics knows the form in which the counts are told.
 */
export class Distribution {
  /** Upper bounds of the buckets, ascending. A last bucket has none. */
  readonly bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Adds up distributions that have these bounds. */
  static sum(bounds: readonly number[], all: readonly Distribution[]): Distribution {
    const total = new Distribution(bounds);
    for (const one of all) {
      one.#counts.forEach((count, i) => (total.#counts[i] = (total.#counts[i] as number) + count));
      total.#sum += one.#sum;
      total.#count += one.#count;
    }
    return total;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  /** Counts a value that stands for `weight` equal ones. Below 0 counts as 0, NaN not at all. */
  observe(value: number, weight = 1): void {
    if (Number.isNaN(value)) return;
    const counted = Math.max(0, value);
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && counted > (bounds[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + weight;
    this.#sum += counted * weight;
    this.#count += weight;
  }

  /** Returns, for each bound, the number of values up to it. */
  upTo(): number[] {
    let total = 0;
    return this.bounds.map((_, i) => (total += this.#counts[i] as number));
  }
}

/** Distributions with the same bounds, by the value of one label. */
export class Distributions {
  readonly #bounds: readonly number[];
  readonly #by = new Map<string, Distribution>();

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
  }

  of(key: string): Distribution {
    let found = this.#by.get(key);
    if (!found) this.#by.set(key, (found = new Distribution(this.#bounds)));
    return found;
  }

  [Symbol.iterator](): IterableIterator<[string, Distribution]> {
    return this.#by.entries();
  }
}

/** Bounds of durations that a server or a thread answers in, seconds. */
export const ANSWER_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
] as const;
/** Bounds of the waits and ages of events, seconds: from a ms to a day. */
export const AGE_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200,
  86_400,
] as const;
/** Bounds of numbers of events that travel together. */
export const BATCH_EVENTS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000] as const;
/** Bounds of bytes that travel together. */
export const BATCH_BYTES = [
  256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216,
] as const;
