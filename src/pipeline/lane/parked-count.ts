/**
 * Counts the parked events of a lane per unit. A unit is a subject; with ordering 'none' an event.
 * The lists in Redis are counted at the start and after a doubt. Each commit moves the counts on.
 */
export class ParkedCount {
  readonly #limit: number;
  readonly #fullChanged: (full: boolean) => void;
  readonly #byUnit = new Map<string, number>();
  #events = 0;
  /** Units in which nothing has failed: their events were only not started. */
  readonly #left = new Set<string>();
  #full = false;

  /**
   * @param limit number of events from which on the lane is full: it reads nothing new
   * @param fullChanged told by check() when the lane became full, and when it is full no more
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

  /** Replaces the counts by the lengths of the lists in Redis. */
  recount(found: ReadonlyMap<string, number>): void {
    this.#byUnit.clear();
    this.#events = 0;
    for (const [unit, events] of found) this.add(unit, events);
    for (const unit of this.#left) if (!this.has(unit)) this.#left.delete(unit);
    this.check();
  }

  /** Checks the limit. A full lane reads nothing new, so that no more is parked. Retries go on. */
  check(): void {
    const full = this.#events >= this.#limit;
    if (full === this.#full) return;
    this.#full = full;
    this.#fullChanged(full);
  }

  /** Whether the unit's events were only not started. */
  isLeft(unit: string): boolean {
    return this.#left.has(unit);
  }
  leave(unit: string): void {
    this.#left.add(unit);
  }
  /** An event of the unit has failed, or the unit is empty. */
  unleave(unit: string): void {
    this.#left.delete(unit);
  }
  /** Whether there are units whose events were only not started. */
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
