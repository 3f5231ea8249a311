/** One event on its way through a publisher. */
import type { DeliveryTime } from '../../core/delivery-time.ts';
import type { EventEncoder } from '../../wire/event-encoder.ts';
import { identityOf } from '../../wire/event-identity.ts';
import type { Published } from './publish-item.ts';

export class EncodedEvent {
  // `declare`: otherwise each field is defined first and assigned by the constructor afterwards,
  // which is two writes for every event.
  declare readonly id: string;
  declare readonly type: string;
  /** Empty: the publisher's source. */
  declare readonly source: string;
  declare readonly when: DeliveryTime | null;
  declare readonly partition: number;
  /** Place in the call's arena of the Event message, which lacks its position. */
  declare readonly start: number;
  declare readonly end: number;
  /** The flush that takes the event. The flush's address is empty until it is appended. */
  declare flush: { readonly address: string } | null;
  /** Place in the flush, from 0. */
  declare place: number;
  declare duplicate: boolean;
  declare scheduledMs: number | null;

  /** @param encoder has just encoded this event */
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
  /** Identity by which Redis remembers the event. */
  identity(publisherSource: string): string {
    return identityOf(this.id, this.source === '' ? publisherSource : this.source);
  }
  /** Bytes that the event takes in a flush: tag, length and position take at most 10. */
  get bytes(): number {
    return this.end - this.start + 10;
  }
}

/**
 * The answer of publish(), once the event's flush has been answered. A plain object can be logged,
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
