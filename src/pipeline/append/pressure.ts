/**
 * The causes that hold a publisher back, beside its own buffer:
 *
 * - A function is too far behind. append.lua says so with each flush. The pressure is per type and
 *   partition, so that a slow consumer slows only the events that it consumes.
 * - The server is out of memory.
 *
 * While events are held back, one event is let through per `retryAfterMs`. The answer to its flush
 * says whether the pressure is over. While it is not, the time doubles.
 */
import { monotonicMs } from '../../core/clock.ts';
import type { Pressure } from '../../core/errors/append-errors.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import type { Backlog } from './append.ts';

const RETRY_MS = { min: 100, max: 5000 } as const;

interface Held {
  readonly pressure: Omit<Pressure, 'retryAfterMs'>;
  delayMs: number;
  untilMs: number;
}

export class PressureGauge {
  readonly #held = new Map<string, Held>();
  #memory: Held | null = null;

  /** Whether nothing is held back. Asked once per call: only otherwise is each event looked at. */
  get calm(): boolean {
    return this.#memory === null && this.#held.size === 0;
  }

  holds(type: string, partition: number): boolean {
    return this.#memory !== null || this.#held.has(`${partition} ${type}`);
  }

  /** Learns from a flush's answer. */
  answered(
    partition: number,
    types: readonly { readonly type: string; readonly maxBacklog?: number | undefined }[],
    backlogs: readonly Backlog[],
  ): void {
    this.#memory = null;
    for (const { type, maxBacklog } of types) {
      const key = `${partition} ${type}`;
      const backlog = backlogs.find((one) => one.type === type);
      if (!backlog) this.#held.delete(key);
      else {
        const before = this.#held.get(key);
        this.#held.set(key, {
          ...this.#longer(before),
          pressure: {
            reason: 'lag',
            type,
            partition,
            function: backlog.function,
            actual: backlog.events,
            ...(maxBacklog === undefined ? {} : { limit: maxBacklog }),
          },
        });
      }
    }
  }

  outOfMemory(): void {
    this.#memory = {
      pressure: { reason: 'redis-memory' },
      ...this.#longer(this.#memory ?? undefined),
    };
  }

  #longer(before: Held | undefined): { delayMs: number; untilMs: number } {
    const now = monotonicMs();
    // The answers to flushes that were under way together count once.
    if (before && now < before.untilMs) return { delayMs: before.delayMs, untilMs: before.untilMs };
    const delayMs = before ? Math.min(RETRY_MS.max, before.delayMs * 2) : RETRY_MS.min;
    return { delayMs, untilMs: now + delayMs };
  }

  /**
   * Returns why an event must wait; null: it may go.
   * @param take whether the event goes now, so that the next one has to wait for its turn
   */
  check(type: string, partition: number, take: boolean): Pressure | null {
    const now = monotonicMs();
    for (const held of [this.#memory, this.#held.get(`${partition} ${type}`)]) {
      if (!held) continue;
      if (now < held.untilMs)
        return { ...held.pressure, retryAfterMs: Math.ceil(held.untilMs - now) };
      if (take) held.untilMs = now + held.delayMs;
    }
    return null;
  }

  /** Every pressure that there is now. */
  list(): Pressure[] {
    const now = monotonicMs();
    return [this.#memory, ...this.#held.values()]
      .filter((held): held is Held => held !== null)
      .map((held) => ({
        ...held.pressure,
        retryAfterMs: Math.max(0, Math.ceil(held.untilMs - now)),
      }));
  }
}

/** Whether Redis refused a whole flush for want of memory: nothing was appended. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof RedisReplyError && error.reply === 'OOM';
}
