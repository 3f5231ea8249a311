/** Names of lanes. */
import { laneName } from '../../core/function-spec.ts';

/** Names of one consumer's lane, for all that asks for it, holds it or gives it back. */
export interface LaneAddress {
  /** Name of the function. */
  readonly fn: string;
  readonly partition: number;
  /** OWNER, or the dispatcher id of a helper. */
  readonly consumer: string;
}

/** A lane under its lease: `leaseValue` fences every write of its holder. */
export interface HeldLane extends LaneAddress {
  /** `<dispatcher>:<epoch>`. */
  readonly leaseValue: string;
}

/** The fencing epoch in a lease value, as text: it is handed on as it is. */
export function epochOf(leaseValue: string): string {
  return leaseValue.slice(leaseValue.lastIndexOf(':') + 1);
}

/** The lane among those of all partitions, as text. */
export function placeOf({ fn, partition, consumer }: LaneAddress): string {
  return `${laneName(fn, consumer)}/${partition}`;
}
