/**
 * Bounds the log lines of failures. Each topic has some lines per window. The further failures of
 * the window are counted by fingerprint, and told in one line with a sample of each fingerprint.
 *
 * A dead downstream fails thousands of events a second for one reason. A line for each would hide
 * the reason, and cost more than the work.
 */
import { monotonicMs } from './clock.ts';
import type { Log } from './log.ts';
import { ownFrame } from './own-frame.ts';
import type { ErrorInfo } from './thread-protocol.ts';
import { cut } from './well-formed.ts';

export interface FailureBurstsOptions {
  readonly log: Log;
  /** Lines per topic and window. Default 10. */
  readonly lines?: number;
  /** Length of a window, ms. Default 10,000. */
  readonly windowMs?: number;
}

/** Failures that share their lines, e.g. those of one function. */
export interface FailureTopic {
  readonly key: string;
  readonly level: 'warn' | 'error';
  /** Text of the summary behind the count, e.g. `attempts failed`. */
  readonly more: string;
  /** Fields of the summary. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Most fingerprints of a window. Failures with further ones are counted together. */
const KINDS = 10;
/** Most characters of a summary's texts. */
const SAMPLE = { text: 200, stack: 1000 } as const;
/** Parts of a message that differ from event to event: UUIDs, long hex numbers, numbers. */
const VARIABLE = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|\d+/gi;

interface Sample {
  readonly error: ErrorInfo;
  /** Address of the sample's event. */
  readonly where: Readonly<Record<string, unknown>>;
  count: number;
}

interface Window {
  readonly topic: FailureTopic;
  readonly startedMs: number;
  readonly timer: NodeJS.Timeout;
  lines: number;
  /** Samples of the failures without a line, by fingerprint. */
  readonly samples: Map<string, Sample>;
  /** Sample of the last failure: the next one is mostly the same. */
  last: Sample | null;
  /** Failures without a line and without a sample of their kind. */
  others: number;
}

export class FailureBursts {
  readonly #log: Log;
  readonly #lines: number;
  readonly #windowMs: number;
  /** Windows by key of their topic. A window exists only while something fails. */
  readonly #windows = new Map<string, Window>();

  constructor({ log, lines = 10, windowMs = 10_000 }: FailureBurstsOptions) {
    this.#log = log;
    this.#lines = lines;
    this.#windowMs = windowMs;
  }

  /**
   * Counts a failure.
   * @param where returns the address of the failure's event, for a sample
   * @returns whether the failure is to have a line of its own
   */
  note(topic: FailureTopic, error: ErrorInfo, where: () => Record<string, unknown>): boolean {
    const window = this.#windowOf(topic);
    if (window.lines++ < this.#lines) return true;
    const sample = sampleOf(window, error, where);
    if (sample === null) window.others++;
    else sample.count++;
    window.last = sample;
    return false;
  }

  /** Logs the counts that were not logged yet. */
  close(): void {
    for (const window of [...this.#windows.values()]) this.#sumUp(window);
  }

  #windowOf(topic: FailureTopic): Window {
    let window = this.#windows.get(topic.key);
    if (window && monotonicMs() - window.startedMs >= this.#windowMs) {
      this.#sumUp(window);
      window = undefined;
    }
    return window ?? this.#open(topic);
  }

  #open(topic: FailureTopic): Window {
    const timer = setTimeout(() => this.#sumUp(window), this.#windowMs);
    timer.unref();
    const window: Window = {
      topic,
      timer,
      startedMs: monotonicMs(),
      lines: 0,
      samples: new Map(),
      last: null,
      others: 0,
    };
    this.#windows.set(topic.key, window);
    return window;
  }

  #sumUp(window: Window): void {
    const { topic, samples, others } = window;
    this.#windows.delete(topic.key);
    clearTimeout(window.timer);
    let count = others;
    const errors: Record<string, number> = {};
    for (const { error, count: failures } of samples.values()) {
      const text = textOf(error);
      errors[text] = (errors[text] ?? 0) + failures;
      count += failures;
    }
    if (count === 0) return;
    if (others > 0) errors['others'] = others;
    const seconds = Math.max(1, Math.round((monotonicMs() - window.startedMs) / 1000));
    this.#log(topic.level, `${count} more ${topic.more} within ${seconds} s`, {
      ...topic.fields,
      count,
      errors,
      samples: [...samples.values()].map(shownSample),
    });
  }
}

function sampleOf(
  { samples, last }: Window,
  error: ErrorInfo,
  where: () => Record<string, unknown>,
): Sample | null {
  if (last && isSame(last.error, error)) return last;
  const fingerprint = fingerprintOf(error);
  const known = samples.get(fingerprint);
  if (known) return known;
  if (samples.size >= KINDS) return null;
  const sample: Sample = { error, where: where(), count: 0 };
  samples.set(fingerprint, sample);
  return sample;
}

function isSame(one: ErrorInfo, other: ErrorInfo): boolean {
  return one.message === other.message && one.name === other.name && one.stack === other.stack;
}

/** Failures with one fingerprint have one reason: the same error, thrown at the same place. */
function fingerprintOf({ name, message, stack }: ErrorInfo): string {
  return `${name}\n${cut(message, SAMPLE.text).replace(VARIABLE, '#')}\n${ownFrame(stack)}`;
}

function textOf({ name, message, cause }: ErrorInfo): string {
  return cut(`${name}: ${message}${cause ? `; caused by ${cause}` : ''}`, SAMPLE.text);
}

function shownSample({ error, where, count }: Sample): Record<string, unknown> {
  return {
    count,
    ...where,
    error: cut(error.message, SAMPLE.text),
    errorName: error.name,
    ...(error.cause ? { cause: cut(error.cause, SAMPLE.text) } : {}),
    stack: cut(error.stack, SAMPLE.stack),
  };
}
