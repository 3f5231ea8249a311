/**
 * Brings a lane's memory in line with Redis before a turn. One of these steps is due:
 *
 * - take over: the lane has just begun. It asks whether earlier owners have died here.
 * - release: the lane makes the slow events of earlier owners due.
 * - go back: Redis has gone back in time (power loss, failover), or somebody deleted a parked list.
 *   The lane's memory belongs to a history that Redis no longer has. So the lane forgets it, and
 *   reads its own pending list first.
 * - reread: a turn failed, and its reads and its commit have an unknown outcome. The lane counts
 *   the parked events again.
 * - nothing.
 *
 * "Take over" leads to "release". "Release" and "go back" lead to "reread", and that leads to
 * "nothing". A step that throws stays due.
 *
 * Owned here: the step that is due, the search and its end, and whether cached rows may be used.
 */
import type { CrashSearch } from '../ownership/crash-search.ts';
import type { LaneContext } from './lane-context.ts';

type Due = 'take over' | 'release' | 'go back' | 'reread' | 'nothing';

export class Recovery {
  readonly #lane: LaneContext;
  #due: Due = 'take over';
  /** Null: no earlier owner has died here, or all has run since. */
  #deaths: CrashSearch | null = null;
  #passed = false;
  #rows: 'current' | 'void' = 'current';

  constructor(lane: LaneContext) {
    this.#lane = lane;
  }

  /** The search for an event that kills dispatchers. Null: none is under way. */
  get search(): CrashSearch | null {
    return this.#deaths?.underWay ? this.#deaths : null;
  }

  /** Whether all that was pending or due at the lane's start has run. */
  get passed(): boolean {
    return this.#passed;
  }

  /** Whether cached rows are to be ignored, because Redis went back in time. */
  get rowsVoid(): boolean {
    return this.#rows === 'void';
  }
  rowsLost(): void {
    this.#rows = 'void';
  }
  rowsLoaded(): void {
    this.#rows = 'current';
  }

  /** A turn failed: its entries are taken again, beginning with the lane's own pending list. */
  rereadPending(): void {
    this.#lane.stages.reader.reset();
    if (this.#due === 'nothing') this.#due = 'reread';
    this.#lane.bell.ring();
  }

  /** Redis no longer has the last commit, or a parked record. */
  goBack(): void {
    if (this.#due !== 'nothing' && this.#due !== 'reread') return;
    this.#due = 'go back';
    this.#lane.log(
      'error',
      'LOSS: Redis no longer has the last commit or a record of a lane (power loss, failover, deleted list). The lane starts over from the data in Redis',
      {},
    );
    this.#lane.stages.lost({ kind: 'commit', entryIds: [] });
    this.#lane.bell.ring();
  }

  /** Does the due step, and those that follow. */
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

  /** All that was pending or due at the lane's start has run. Forgets earlier owners' deaths. */
  async pass(): Promise<void> {
    this.#passed = true;
    const deaths = this.#deaths;
    this.#deaths = null;
    await deaths?.end();
  }

  #leave(from: Due, to: Due): void {
    if (this.#due !== from) throw new Error(`a lane's recovery left "${from}" in "${this.#due}"`);
    this.#due = to;
  }

  /** Another step may have become due during the count: Redis was found to have gone back. */
  #recovered(): void {
    if (this.#due === 'reread') this.#due = 'nothing';
  }

  async #takeOver(): Promise<'done' | 'lease lost'> {
    const deaths = await this.#lane.stages.beginSearch();
    if (deaths === 'stale') return 'lease lost';
    this.#deaths = deaths;
    const { search } = this;
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
    // Redis may have forgotten that the slow events are parked. They are pending then, and must not
    // run twice at a time.
    await inFlight.drop();
    turnIds.committed = '';
    stages.reader.reset();
    // Slow events that are still parked become due at once.
    return this.#releaseRunning();
  }

  /** @returns false: the lease is lost */
  async #releaseRunning(): Promise<boolean> {
    return !this.#lane.isOwner || (await this.#lane.stages.releaseRunning()) !== null;
  }
}
