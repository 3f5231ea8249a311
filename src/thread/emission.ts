/** An event that was emitted, and the emissions of one causing event. */
import type { When } from '../core/delivery-time.ts';

/** One emitted event: these bytes of the arena, an Event message without its position. */
export interface Emission {
  readonly id: string;
  readonly type: string;
  readonly partition: number;
  readonly when: When | null;
  readonly start: number;
  readonly end: number;
}

/** The emissions of one event so far. */
export interface EmittedBy {
  readonly emissions: Emission[];
  bytes: number;
  /** Beginning of its emissions' ids. */
  readonly idPrefix: string;
  readonly depth: number;
  readonly extensions: Readonly<Record<string, string>>;
}
