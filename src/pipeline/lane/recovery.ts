/**
 * Brings a lane's memory in line with Redis before a turn. Due is one of:
 *
 * - take over: the lane has just begun. Have owners before it died here? Whatever ran beside their
 *   turns becomes due.
 * - release: the same, once the first question is answered.
 * - go back: Redis has gone back in time (power loss, failover). The lane's memory belongs to a
 *   time that never was; the lane goes by what Redis holds, beginning with its own pending list.
 * - reread: a turn failed, and nobody knows what was taken or committed.
 * - nothing.
 *
 * Each step leads to the next one below it, but release to reread. A step that throws stays due.
 *
 * Owned here: the step that is due, the search, and whether cached rows may be used.
 */
import type { CrashSearch } from '../ownership/crash-search.ts';
import type { LaneContext } from './lane-context.ts';

type Due = 'take over' | 'release' | 'go back' | 'reread' | 'nothing';

export class Recovery {
  readonly #lane: LaneContext;
  #due: Due = 'take over';
  #search: CrashSearch | null = null;
  #rows: 'current' | 'void' = 'current';

  constructor(lane: LaneContext) {
    this.#lane = lane;
  }

  /** Null: no dispatcher has died of a pending event. */
  get search(): CrashSearch | null {
    return this.#search;
  }

  /** Rows that were cached before Redis went back in time are to be ignored. */
  get rowsVoid(): boolean {
    return this.#rows === 'void';
  }
  rowsLost(): void {
    this.#rows = 'void';
  }
  rowsLoaded(): void {
    this.#rows = 'current';
  }

  /** A turn failed: its entries are taken again, from the lane's own pending list on. */
  rereadPending(): void {
    this.#lane.stages.reader.reset();
    if (this.#due === 'nothing') this.#due = 'reread';
    this.#lane.bell.ring();
  }

  /** Redis has forgotten the last commit. */
  goBack(): void {
    if (this.#due !== 'nothing' && this.#due !== 'reread') return;
    this.#due = 'go back';
    this.#lane.log(
      'error',
      'LOSS: Redis has forgotten the last commit of a lane (power loss, failover): starting over from what it holds',
      {},
    );
    this.#lane.bell.ring();
  }

  /** Does all that is due. */
  async recover(): Promise<'ready' | 'lease lost'> {
    if (this.#due === 'take over') {
      if ((await this.#takeOver()) === 'lease lost') return 'lease lost';
      this.#leave('take over', 'release');
    }
    if (this.#due === 'release') {
      if (!(await this.#releaseRunning())) return 'lease lost';
      this.#leave('release', 'reread');
    }
    if (this.#due === 'go back') {
      if (!(await this.#goBack())) return 'lease lost';
      this.#leave('go back', 'reread');
    }
    if (this.#due === 'reread') {
      await this.#lane.countParked();
      this.#recovered();
    }
    return 'ready';
  }

  /** All that was pending at the start has run. */
  async endSearch(): Promise<void> {
    const search = this.#search;
    this.#search = null;
    await search?.end();
  }

  #leave(from: Due, to: Due): void {
    if (this.#due !== from) throw new Error(`a lane's recovery left "${from}" in "${this.#due}"`);
    this.#due = to;
  }

  /** While the parked events were counted, Redis may have been found to have gone back. */
  #recovered(): void {
    if (this.#due === 'reread') this.#due = 'nothing';
  }

  async #takeOver(): Promise<'done' | 'lease lost'> {
    const search = await this.#lane.stages.beginSearch();
    if (search === 'stale') return 'lease lost';
    this.#search = search;
    if (search)
      this.#lane.log(
        'error',
        'several dispatchers have died at this place: the pending events run one by one',
        { suspect: search.suspect },
      );
    return 'done';
  }

  async #goBack(): Promise<boolean> {
    const { inFlight, turnIds, stages } = this.#lane;
    this.#rows = 'void';
    // Redis may have forgotten that these events are parked. Then they are pending, and must not
    // run twice at a time.
    await inFlight.drop();
    turnIds.committed = '';
    stages.reader.reset();
    // Where they still are parked, they are due at once.
    return this.#releaseRunning();
  }

  /** @returns false: the lease is lost */
  async #releaseRunning(): Promise<boolean> {
    return !this.#lane.isOwner || (await this.#lane.stages.releaseRunning()) !== null;
  }
}
