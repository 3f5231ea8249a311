/** An event that was emitted, and the emissions of one causing event. */
import type { DeliveryTime } from '../core/delivery-time.ts';

/** An emitted event. `start` to `end` in the arena is its Event message, without its position. */
export interface Emission {
  readonly id: string;
  readonly type: string;
  readonly partition: number;
  readonly when: DeliveryTime | null;
  readonly start: number;
  readonly end: number;
}

/** Emissions of one causing event so far. */
export interface EmittedBy {
  readonly emissions: Emission[];
  bytes: number;
  /** Prefix of the emissions' ids. */
  readonly idPrefix: string;
  readonly depth: number;
  readonly extensions: Readonly<Record<string, string>>;
}
