/**
 * Backpressure at the door. A call with events whose functions are too far behind waits here, in
 * line, or is refused. Calls with other types go past the line.
 */
import { monotonicMs, sleep } from '../../core/clock.ts';
import { BackpressureError, ClosedError, type Pressure } from '../../core/errors/append-errors.ts';
import { sharedAbort } from '../../core/shared-signal.ts';
import type { PressureGauge } from './pressure.ts';
import type { PublisherSettings } from './publisher-options.ts';

/** The key by which the gauge knows an event. */
interface Destination {
  readonly type: string;
  readonly partition: number;
}

export class Relief {
  readonly #gauge: PressureGauge;
  readonly #settings: Pick<PublisherSettings, 'whenFull' | 'deadlineMs'>;
  readonly #closing = sharedAbort();
  /** Settles when the last call that waits here has left. */
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(gauge: PressureGauge, settings: Pick<PublisherSettings, 'whenFull' | 'deadlineMs'>) {
    this.#gauge = gauge;
    this.#settings = settings;
  }

  /** Whether no call has to pass here. */
  get calm(): boolean {
    return this.#gauge.calm && this.#waiting === 0;
  }

  /**
   * Resolves when these events may go.
   * @throws BackpressureError, ClosedError
   */
  async pass(events: readonly Destination[]): Promise<void> {
    const { whenFull, deadlineMs } = this.#settings;
    if (
      !this.#gauge.calm &&
      !events.some(({ type, partition }) => this.#gauge.holds(type, partition))
    )
      return;
    const giveUpMs = monotonicMs() + deadlineMs;
    const before = this.#last;
    let leave!: () => void;
    this.#last = new Promise<void>((resolve) => (leave = resolve));
    this.#waiting++;
    try {
      if (whenFull === 'wait') await before;
      for (;;) {
        const pressure = this.#pressureOn(events);
        if (this.#closing.signal.aborted) throw new ClosedError('the publisher');
        if (pressure === null) break;
        if (whenFull === 'reject' || monotonicMs() + pressure.retryAfterMs > giveUpMs)
          throw new BackpressureError(pressure);
        await sleep(pressure.retryAfterMs, this.#closing.signal);
      }
      for (const { type, partition } of events) this.#gauge.check(type, partition, true);
    } finally {
      this.#waiting--;
      leave();
    }
  }

  /** Refuses every call that waits. */
  close(): void {
    this.#closing.abort();
  }

  #pressureOn(events: readonly Destination[]): Pressure | null {
    for (const { type, partition } of events) {
      const pressure = this.#gauge.check(type, partition, false);
      if (pressure !== null) return pressure;
    }
    return null;
  }
}
