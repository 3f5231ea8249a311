/** Counts of what the publishers of a process have appended, and what they hold. */
import { ANSWER_SECONDS, BATCH_EVENTS, Distribution } from '../../core/distribution.ts';

/** A publisher that is asked for its buffer. */
export interface Buffering {
  /** Bytes accepted and not yet appended. */
  readonly bufferedBytes: number;
  /** Calls that wait for room in the buffer. */
  readonly waitingCalls: number;
}

export class PublishMeters {
  /** Events appended, by type: as many types as are declared. */
  readonly events = new Map<string, number>();
  readonly flushEvents = new Distribution(BATCH_EVENTS);
  /** Seconds from a flush's first event to the server's answer. */
  readonly flushSeconds = new Distribution(ANSWER_SECONDS);
  /** Open publishers. */
  readonly open = new Set<Buffering>();

  /**
   * @param parts number of events by type
   * @param ms time since the flush's first event
   */
  appended(parts: readonly { readonly type: string; readonly count: number }[], ms: number): void {
    let events = 0;
    for (const { type, count } of parts) {
      this.events.set(type, (this.events.get(type) ?? 0) + count);
      events += count;
    }
    this.flushEvents.observe(events);
    this.flushSeconds.observe(ms / 1000);
  }
}
