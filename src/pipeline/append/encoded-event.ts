/** One event on its way through a publisher. */
import type { When } from '../../core/delivery-time.ts';
import type { EventEncoder } from '../../wire/event-encoder.ts';
import { identityOf } from '../../wire/event-identity.ts';
import type { Published } from './publish-item.ts';

export class EncodedEvent {
  // `declare`: a field that is defined before the constructor assigns it is written twice, for
  // every event.
  declare readonly id: string;
  declare readonly type: string;
  /** Empty: its publisher's. */
  declare readonly source: string;
  declare readonly when: When | null;
  declare readonly partition: number;
  /** The Event message without its position: these bytes of the call's arena. */
  declare readonly start: number;
  declare readonly end: number;
  /** The flush that takes it; its address is empty until it is appended. */
  declare flush: { readonly address: string } | null;
  /** Its place in the flush, from 0. */
  declare place: number;
  declare duplicate: boolean;
  declare scheduledMs: number | null;

  /** The event that was encoded last. */
  constructor(encoder: EventEncoder, type: string, partition: number) {
    this.id = encoder.id;
    this.type = type;
    this.source = encoder.source;
    this.when = encoder.when;
    this.partition = partition;
    this.start = encoder.start;
    this.end = encoder.arena.end;
    this.flush = null;
    this.place = 0;
    this.duplicate = false;
    this.scheduledMs = null;
  }
  /** Which event it is, for those who remember it. */
  identity(publisherSource: string): string {
    return identityOf(this.id, this.source === '' ? publisherSource : this.source);
  }
  /** What it takes in a buffer. */
  get bytes(): number {
    return this.end - this.start + 10;
  }
}

/**
 * The answer of publish(), once the event's flush has one. Plain, so that it can be logged,
 * compared and cloned, and keeps no buffer alive.
 */
export function publishedOf(event: EncodedEvent): Published {
  const { id, flush, place, duplicate, scheduledMs } = event;
  const position = flush === null || flush.address === '' || duplicate ? '' : flush.address + place;
  if (!duplicate && scheduledMs === null) return { id, position };
  return {
    id,
    position,
    ...(duplicate ? { duplicate: true as const } : {}),
    ...(scheduledMs === null ? {} : { scheduledMs }),
  };
}
