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
  /** Failures with one cause that may last. Default: they are bounded as all others are. */
  readonly lasting?: {
    /** Text of the summary for the sources, e.g. `lanes`. */
    readonly sources: string;
  };
}

/** Bounds of a topic that lasts: one line, then a summary a minute without further lines. */
const LASTING = { lines: 1, windowMs: 60_000 } as const;

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
  /** That of the last failure. */
  topic: FailureTopic;
  readonly startedMs: number;
  readonly timer: NodeJS.Timeout;
  lines: number;
  /** Sources of the failures without a line. */
  readonly sources: Set<string>;
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
   * @param source name of the failing thing, for the count of a topic that lasts
   * @returns whether the failure is to have a line of its own
   */
  note(
    topic: FailureTopic,
    error: ErrorInfo,
    where: () => Record<string, unknown>,
    source = '',
  ): boolean {
    const window = this.#windowOf(topic);
    window.topic = topic;
    if (window.lines++ < this.#boundsOf(topic).lines) return true;
    window.sources.add(source);
    const sample = sampleOf(window, error, where);
    if (sample === null) window.others++;
    else sample.count++;
    window.last = sample;
    return false;
  }

  /** Whether failures of the topic are counted now. */
  has(key: string): boolean {
    return this.#windows.has(key);
  }

  /** Topics whose failures are counted now. */
  get topics(): number {
    return this.#windows.size;
  }

  /** Logs the counts that were not logged yet. */
  close(): void {
    for (const window of [...this.#windows.values()]) this.#sumUp(window);
  }

  #boundsOf({ lasting }: FailureTopic): { readonly lines: number; readonly windowMs: number } {
    return lasting ? LASTING : { lines: this.#lines, windowMs: this.#windowMs };
  }

  #windowOf(topic: FailureTopic): Window {
    const window = this.#windows.get(topic.key);
    if (window && monotonicMs() - window.startedMs >= this.#boundsOf(topic).windowMs)
      this.#over(window);
    return this.#windows.get(topic.key) ?? this.#open(topic);
  }

  #open(topic: FailureTopic, lines = 0): Window {
    const timer = setTimeout(() => this.#over(window), this.#boundsOf(topic).windowMs);
    timer.unref();
    const window: Window = {
      topic,
      timer,
      startedMs: monotonicMs(),
      lines,
      sources: new Set(),
      samples: new Map(),
      last: null,
      others: 0,
    };
    this.#windows.set(topic.key, window);
    return window;
  }

  /** Ends a window. The cause of a topic that lasts is known, so it has no further line. */
  #over(window: Window): void {
    const counted = this.#sumUp(window);
    if (counted && window.topic.lasting) this.#open(window.topic, LASTING.lines);
  }

  /** @returns whether failures were counted */
  #sumUp(window: Window): boolean {
    const { topic, samples, sources, others } = window;
    this.#windows.delete(topic.key);
    clearTimeout(window.timer);
    let count = others;
    const errors: Record<string, number> = {};
    for (const { error, count: failures } of samples.values()) {
      const text = textOf(error);
      errors[text] = (errors[text] ?? 0) + failures;
      count += failures;
    }
    if (count === 0) return false;
    if (others > 0) errors['others'] = others;
    const seconds = Math.max(1, Math.round((monotonicMs() - window.startedMs) / 1000));
    const { lasting } = topic;
    const of = lasting ? `, in ${sources.size} ${lasting.sources}` : '';
    this.#log(topic.level, `${count} more ${topic.more} within ${seconds} s${of}`, {
      ...topic.fields,
      count,
      ...(lasting ? { [lasting.sources]: sources.size } : {}),
      errors,
      samples: [...samples.values()].map(shownSample),
    });
    return true;
  }
}

function sampleOf(
  { samples, last }: Window,
  error: ErrorInfo,
  where: () => Record<string, unknown>,
): Sample | null {
  if (last && isSame(last.error, error)) return last;
  const fingerprint = failureFingerprint(error);
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
export function failureFingerprint({ name, message, stack }: ErrorInfo): string {
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
