/**
 * The lanes that are this dispatcher's share, computed from the members of each function. Members
 * say who should hold a lane; the lease says who may.
 *
 * Owned here: the last known members, and since when lanes of the share are missing.
 */
import { monotonicMs } from '../../core/clock.ts';
import { OWNER } from '../../core/function-spec.ts';
import { placeOf } from './lane-address.ts';
import { assignLanes } from './members.ts';

/** The share, for health. */
export interface ShareReport {
  /** Lanes of the share. */
  readonly lanes: number;
  /** Lanes of the share that this dispatcher does not hold. */
  readonly missing: number;
  /** Missing lanes that no other holder had at the last look. */
  readonly unheld: number;
  /**
   * Time for which some lanes have been missing, ms. A lane does not count here while Redis says
   * that another holder has it: another dispatcher, or a pass over the histories.
   */
  readonly missingMs: number;
}

interface Assignment {
  /** Names in order, one a line. */
  readonly members: string;
  /** The owner of each partition's lane. */
  readonly owners: readonly string[];
}

export class LaneShare {
  readonly #dispatcher: string;
  readonly #partitions: number;
  readonly #byFunction = new Map<string, Assignment>();
  /** Places of lanes that another holder had at the last look. */
  readonly #elsewhere = new Set<string>();
  #missingSinceMs: number | null = null;

  constructor(dispatcher: string, partitions: number) {
    this.#dispatcher = dispatcher;
    this.#partitions = partitions;
  }

  /**
   * Learns the function's members.
   * @returns number of the function's lanes in the share; null: the members are as before
   */
  learn(fn: string, dispatchers: readonly string[]): number | null {
    const members = [...dispatchers].sort().join('\n');
    if (this.#byFunction.get(fn)?.members === members) return null;
    const owners = assignLanes(fn, this.#partitions, dispatchers);
    this.#byFunction.set(fn, { members, owners });
    return owners.filter((owner) => owner === this.#dispatcher).length;
  }

  isOurs(fn: string, partition: number): boolean {
    return this.#byFunction.get(fn)?.owners[partition] === this.#dispatcher;
  }

  /** Dispatchers that serve the function. */
  membersOf(fn: string): ReadonlySet<string> {
    return new Set(this.#byFunction.get(fn)?.members.split('\n'));
  }

  /** Begins a new look, which asks again for the holders of the missing lanes. */
  lookAnew(): void {
    this.#elsewhere.clear();
  }

  /** Notes that another holder has the lane. @param place see placeOf() */
  heldElsewhere(place: string): void {
    this.#elsewhere.add(place);
  }

  /**
   * Reports the share. Also notes since when lanes are missing, so call it regularly.
   * @param holds says whether this dispatcher holds the lane at a place
   */
  report(holds: (place: string) => boolean): ShareReport {
    let lanes = 0;
    let missing = 0;
    let unheld = 0;
    for (const [fn, { owners }] of this.#byFunction) {
      owners.forEach((owner, partition) => {
        if (owner !== this.#dispatcher) return;
        lanes++;
        const place = placeOf({ fn, partition, consumer: OWNER });
        if (holds(place)) return;
        missing++;
        if (!this.#elsewhere.has(place)) unheld++;
      });
    }
    if (unheld === 0) this.#missingSinceMs = null;
    else this.#missingSinceMs ??= monotonicMs();
    const missingMs = this.#missingSinceMs === null ? 0 : monotonicMs() - this.#missingSinceMs;
    return { lanes, missing, unheld, missingMs };
  }
}
