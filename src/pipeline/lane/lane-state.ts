/**
 * The states of a lane:
 *
 *   new → idle ⇄ in a turn
 *           ↖       ↓ (a step throws)
 *             failing
 *   each of them → ended, as stopped | lease lost | retired
 *
 * The verdict comes first, from outside or from a turn. The lane has ended once its loop and all
 * its handlers have ended.
 */
export type LanePhase = 'new' | 'idle' | 'in a turn' | 'failing' | 'ended';
/**
 * - stopped: the dispatcher drains, or the lane goes to another dispatcher
 * - lease lost: another dispatcher may have the lane, and commits are refused
 * - retired: the lane was an heir, and has given up its consumer and its lease
 */
export type LaneEnd = 'stopped' | 'lease lost' | 'retired';

const MAY_FOLLOW: { readonly [from in LanePhase]: readonly LanePhase[] } = {
  new: ['idle', 'ended'],
  idle: ['in a turn', 'failing', 'ended'],
  'in a turn': ['idle', 'failing', 'ended'],
  failing: ['idle', 'ended'],
  ended: [],
};

export class LaneState {
  #phase: LanePhase = 'new';
  #verdict: LaneEnd | null = null;

  get phase(): LanePhase {
    return this.#phase;
  }

  /** The reason why the lane ends. Null: the lane goes on. */
  get verdict(): LaneEnd | null {
    return this.#verdict;
  }

  get lost(): boolean {
    return this.#verdict === 'lease lost';
  }

  /** @throws Error where this phase may not follow the present one */
  enter(phase: LanePhase): void {
    if (!MAY_FOLLOW[this.#phase].includes(phase))
      throw new Error(`a lane went from "${this.#phase}" to "${phase}"`);
    this.#phase = phase;
  }

  /** A stopped lane may still lose its lease. The other verdicts are final. */
  endAs(verdict: LaneEnd): void {
    if (this.#verdict === null || this.#verdict === 'stopped') this.#verdict = verdict;
  }
}
