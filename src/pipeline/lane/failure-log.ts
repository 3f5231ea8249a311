/**
 * Logs failed attempts: one line each while they are few, counts when they come in bursts.
 *
 * A dead downstream fails thousands of events a second for one reason. A line for each would hide
 * the reason, and cost more than the work.
 */
import { monotonicMs } from '../../core/clock.ts';
import type { Log } from '../../core/log.ts';
import type { FailedAttempt } from '../commit/commit-plan.ts';

export interface FailureLogOptions {
  readonly log: Log;
  /** Lines per function, kind (tried again, dead) and window. Default 10. */
  readonly lines?: number;
  /** Length of a window, ms. Default 10,000. */
  readonly windowMs?: number;
}

/** Most errors that a summary counts by name and message. The others are counted together. */
const KINDS = 10;
/** Most characters of an error's text in a summary. */
const MESSAGE = 200;

interface Window {
  readonly startedMs: number;
  lines: number;
  /** Number of failures without a line, by error. */
  readonly more: Map<string, number>;
  /** Failures without a line. */
  moreEvents: number;
  readonly timer: NodeJS.Timeout;
}

export class FailureLog {
  readonly #log: Log;
  readonly #lines: number;
  readonly #windowMs: number;
  /** Windows by function and kind. A window exists only while something fails. */
  readonly #windows = new Map<string, Window>();

  constructor({ log, lines = 10, windowMs = 10_000 }: FailureLogOptions) {
    this.#log = log;
    this.#lines = lines;
    this.#windowMs = windowMs;
  }

  /** @param attempts most attempts, by the function's retry policy */
  failed(
    fn: string,
    partition: number,
    attempts: number,
    failures: readonly FailedAttempt[],
  ): void {
    for (const failure of failures) {
      const window = this.#windowOf(fn, failure.nextMs === null ? 'dead' : 'retry');
      if (window.lines++ < this.#lines) this.#line(fn, partition, attempts, failure);
      else count(window, failure);
    }
  }

  /** Logs the counts that were not logged yet. */
  close(): void {
    for (const key of [...this.#windows.keys()]) this.#sumUp(key);
  }

  #line(fn: string, partition: number, attempts: number, failure: FailedAttempt): void {
    const { eventId, type, subject, entry, index, attempt, nextMs, reason, error } = failure;
    const where = {
      function: fn,
      partition,
      eventId,
      type,
      subject,
      entry,
      index,
      attempt,
      attempts,
      reason,
    };
    const cause = error.cause ? { cause: error.cause } : {};
    if (nextMs === null) {
      this.#log('warn', 'event dead-lettered', {
        ...where,
        error: error.message,
        errorName: error.name,
        ...cause,
        stack: error.stack,
      });
    } else {
      this.#log(
        'warn',
        `attempt ${attempt} of ${attempts} failed, the next one is due in ${nextMs} ms`,
        {
          ...where,
          nextMs,
          error: error.message,
          errorName: error.name,
          ...cause,
          stack: error.stack,
        },
      );
    }
  }

  #windowOf(fn: string, kind: 'retry' | 'dead'): Window {
    const key = `${kind}:${fn}`;
    let window = this.#windows.get(key);
    if (window && monotonicMs() - window.startedMs >= this.#windowMs) {
      this.#sumUp(key);
      window = undefined;
    }
    if (!window) {
      const timer = setTimeout(() => this.#sumUp(key), this.#windowMs);
      timer.unref();
      window = { startedMs: monotonicMs(), lines: 0, more: new Map(), moreEvents: 0, timer };
      this.#windows.set(key, window);
    }
    return window;
  }

  #sumUp(key: string): void {
    const window = this.#windows.get(key);
    if (!window) return;
    this.#windows.delete(key);
    clearTimeout(window.timer);
    if (window.moreEvents === 0) return;
    const [kind, fn] = [key.slice(0, key.indexOf(':')), key.slice(key.indexOf(':') + 1)];
    const seconds = Math.max(1, Math.round((monotonicMs() - window.startedMs) / 1000));
    this.#log(
      'warn',
      `${window.moreEvents} more ${kind === 'dead' ? 'events dead-lettered' : 'attempts failed'} within ${seconds} s`,
      {
        function: fn,
        count: window.moreEvents,
        errors: Object.fromEntries(window.more),
      },
    );
  }
}

function count(window: Window, { error }: FailedAttempt): void {
  window.moreEvents++;
  const text =
    `${error.name}: ${error.message}${error.cause ? `; caused by ${error.cause}` : ''}`.slice(
      0,
      MESSAGE,
    );
  const known = window.more.get(text);
  const key = known === undefined && window.more.size >= KINDS ? 'others' : text;
  window.more.set(key, (window.more.get(key) ?? 0) + 1);
}
