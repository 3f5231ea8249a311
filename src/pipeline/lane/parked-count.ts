/**
 * Counts the parked events of a lane per unit (a subject; without order an event). Counted from
 * Redis at the start and after doubts, and moved on by each commit.
 */
export class ParkedCount {
  readonly #limit: number;
  readonly #fullChanged: (full: boolean) => void;
  readonly #byUnit = new Map<string, number>();
  #events = 0;
  /** Units in which nothing has failed: their events were only not started in their turn. */
  readonly #left = new Set<string>();
  #full = false;

  /**
   * @param limit events from which on the lane is full: it reads nothing new
   * @param fullChanged told by check() when the lane became full, or is so no more
   */
  constructor(limit: number, fullChanged: (full: boolean) => void) {
    this.#limit = limit;
    this.#fullChanged = fullChanged;
  }

  get full(): boolean {
    return this.#full;
  }
  get events(): number {
    return this.#events;
  }
  get size(): number {
    return this.#byUnit.size;
  }
  has(unit: string): boolean {
    return this.#byUnit.has(unit);
  }
  /** Events parked in a unit. */
  of(unit: string): number {
    return this.#byUnit.get(unit) ?? 0;
  }
  units(): string[] {
    return [...this.#byUnit.keys()];
  }

  add(unit: string, growth: number): void {
    const before = this.of(unit);
    const events = Math.max(0, before + growth);
    this.#events += events - before;
    this.#byUnit.set(unit, events);
  }

  remove(unit: string): void {
    this.#events -= this.of(unit);
    this.#byUnit.delete(unit);
  }

  /** Goes by the lists in Redis from now on. */
  recount(found: ReadonlyMap<string, number>): void {
    this.#byUnit.clear();
    this.#events = 0;
    for (const [unit, events] of found) this.add(unit, events);
    for (const unit of this.#left) if (!this.has(unit)) this.#left.delete(unit);
    this.check();
  }

  /** At the bound nothing new is read, so that nothing more is parked; retries go on. */
  check(): void {
    const full = this.#events >= this.#limit;
    if (full === this.#full) return;
    this.#full = full;
    this.#fullChanged(full);
  }

  isLeft(unit: string): boolean {
    return this.#left.has(unit);
  }
  leave(unit: string): void {
    this.#left.add(unit);
  }
  /** Something of the unit has failed, or nothing of it is left. */
  unleave(unit: string): void {
    this.#left.delete(unit);
  }
  /** Whether there are units of which events were only not started. */
  get anyLeft(): boolean {
    return this.#left.size > 0;
  }
  /** Events of such units. */
  get leftEvents(): number {
    let events = 0;
    for (const unit of this.#left) events += this.of(unit);
    return events;
  }
}
