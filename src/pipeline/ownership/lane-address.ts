/** Names of lanes. */
import { laneName } from '../../core/function-spec.ts';

/** The address of one consumer's lane. */
export interface LaneAddress {
  /** Name of the function. */
  readonly fn: string;
  readonly partition: number;
  /** OWNER, or the dispatcher id of a helper. */
  readonly consumer: string;
}

/** A lane with its lease. The lease value fences every write of the holder. */
export interface HeldLane extends LaneAddress {
  /** `<dispatcher>:<epoch>`. */
  readonly leaseValue: string;
}

/** Returns the address as text, unique among all lanes of the dispatcher. */
export function placeOf({ fn, partition, consumer }: LaneAddress): string {
  return `${laneName(fn, consumer)}/${partition}`;
}
