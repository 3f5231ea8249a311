/** `millrace publish --file`: CloudEvents NDJSON of any length, in bounded memory. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { monotonicMs } from '../../core/clock.ts';
import {
  InvalidEventError,
  OversizeError,
  UnknownEventTypeError,
} from '../../core/errors/input-errors.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { Millrace } from '../../millrace.ts';
import type { PublishItem } from '../../pipeline/append/publish-item.ts';
import type { Publisher } from '../../pipeline/append/publisher.ts';
import { createJsonReader } from '../../wire/payload-json.ts';
import type { LongRunningContext, Stop } from '../context.ts';
import { parseEvent } from '../event-json.ts';
import { UsageError } from '../exit-status.ts';
import { readLines, type Line } from '../lines.ts';
import { formatCount, plural } from '../options.ts';
import { printable } from '../printable.ts';

const MAX_LINE_BYTES = 2 * 1024 * 1024;
/**
 * Bytes read at once. Memory holds at most two blocks of events, one read and one sent, and one
 * unfinished line.
 */
const READ_BYTES = 256 * 1024;
const PROGRESS_MS = 250;

export interface FileFlags {
  readonly skipBad?: boolean;
  /** Deadline of a publish, ms. */
  readonly deadline: number;
  readonly json?: boolean;
}

/**
 * Publishes the events of a file, and prints the result.
 * @param file path; `-` is stdin
 * @param type event type of the lines without one
 */
export async function publishFile(
  file: string,
  type: string | undefined,
  flags: FileFlags,
  context: LongRunningContext,
): Promise<void> {
  const input = await openInput(file);
  const stop = context.takeStop();
  const deployment = await context.open({ settleSchemas: true, failFast: 'first' });
  const publisher = new Millrace(deployment).publisher({
    deadlineMs: flags.deadline,
    whenRefused: 'reject',
  });
  const parse = createLineParser(type, createJsonReader(deployment.catalog));
  const job = new FilePublisher(publisher, parse, flags.skipBad ?? false, context, stop);
  const startedMs = monotonicMs();
  let failure: unknown = null;
  try {
    await job.run(input);
  } catch (error) {
    failure = error;
  } finally {
    job.clearProgress();
  }
  const seconds = (monotonicMs() - startedMs) / 1000;
  const eventsPerSecond = Math.round(job.published / Math.max(seconds, 0.001));
  if (flags.json) {
    context.out(
      JSON.stringify({
        published: job.published,
        skipped: job.skipped,
        unknown: job.unknown,
        seconds: Number(seconds.toFixed(3)),
        eventsPerSecond,
      }),
    );
  } else {
    context.out(
      `${plural(job.published, 'event')} published in ${seconds.toFixed(2)} s (${formatCount(eventsPerSecond)} events/s)${job.skipped > 0 ? `, ${plural(job.skipped, 'bad line')} skipped` : ''}`,
    );
  }
  if (failure !== null) {
    if (job.unknown > 0)
      context.err(
        `millrace: some of the last ${plural(job.unknown, 'event')} may have been published: the server did not answer for all of them`,
      );
    throw failure;
  }
  if (stop.first.aborted) {
    context.err(
      `millrace: ended by ${stop.reason ?? 'a signal'} before the end of the input, after line ${job.lastLine}`,
    );
    context.fail();
  } else if (job.badLine !== null) {
    context.err(
      `millrace: stopped at line ${job.badLine}: ${plural(job.published, 'event')} before it published, nothing from it on. To leave bad lines out, add --skip-bad`,
    );
    context.fail();
  } else await publisher.close();
}

/**
 * Opens the input. This comes before the connection, so that a wrong path costs no connection.
 * @throws UsageError
 */
async function openInput(file: string): Promise<AsyncIterable<Buffer> & { destroy(): unknown }> {
  if (file === '-') return process.stdin;
  if (
    await stat(file).then(
      (of) => of.isDirectory(),
      () => false,
    )
  )
    throw new UsageError(`--file ${file} cannot be read: it is a folder`);
  const stream = createReadStream(file, { highWaterMark: READ_BYTES });
  await new Promise<void>((resolve, reject) => {
    stream.once('open', () => resolve());
    stream.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new UsageError(
          `--file ${file} cannot be read: ${error.code === 'ENOENT' ? 'it does not exist' : error.message}`,
        ),
      );
    });
  });
  return stream;
}

interface Numbered {
  readonly line: number;
  readonly item: PublishItem;
}

interface BadLine {
  readonly line: number;
  readonly why: string;
}

/**
 * Publishes the lines of an input. One block of lines is sent while the next one is read and
 * parsed, so that memory stays bounded for any length of input.
 */
class FilePublisher {
  readonly #publisher: Publisher;
  readonly #parseLine: (text: string) => PublishItem;
  readonly #skipBad: boolean;
  readonly #context: LongRunningContext;
  readonly #stop: Stop;
  #progressMs = 0;
  #progressShown = false;
  published = 0;
  skipped = 0;
  /** Events of blocks whose sending failed. They may or may not have been published. */
  unknown = 0;
  lastLine = 0;
  /** Number of the bad line that ended the run; null: none did. */
  badLine: number | null = null;

  constructor(
    publisher: Publisher,
    parse: (text: string) => PublishItem,
    skipBad: boolean,
    context: LongRunningContext,
    stop: Stop,
  ) {
    this.#publisher = publisher;
    this.#parseLine = parse;
    this.#skipBad = skipBad;
    this.#context = context;
    this.#stop = stop;
  }

  async run(input: AsyncIterable<Buffer> & { destroy(): unknown }): Promise<void> {
    // A silent pipe must not delay the end.
    this.#stop.first.addEventListener('abort', () => input.destroy(), { once: true });
    let sending: Promise<void> = Promise.resolve();
    try {
      for await (const lines of readLines(input, MAX_LINE_BYTES)) {
        if (this.#stop.first.aborted) break;
        const { items, bad } = this.#parse(lines);
        await sending;
        if (this.badLine !== null || this.#stop.first.aborted) break;
        sending = this.#send(items, bad);
        // A failure is handled when the next block has been read. Until then it must not count as
        // unhandled.
        sending.catch(() => {});
        this.lastLine = lines[lines.length - 1]?.number ?? this.lastLine;
        if (bad.length > 0 && !this.#skipBad) break;
        this.#progress();
      }
    } catch (error) {
      if (!this.#stop.first.aborted) {
        await sending;
        throw error;
      }
    }
    await sending;
  }

  /**
   * Parses lines. Without --skip-bad the parsing ends behind the first bad line. With --skip-bad
   * all good and all bad lines are returned.
   */
  #parse(lines: readonly Line[]): { items: Numbered[]; bad: BadLine[] } {
    const items: Numbered[] = [];
    const bad: BadLine[] = [];
    for (const { number, text, problem } of lines) {
      if (text !== null && text.trim() === '') continue;
      let why = problem;
      if (text !== null) {
        try {
          items.push({ line: number, item: this.#parseLine(text) });
          continue;
        } catch (error) {
          why = reason(error as Error);
        }
      }
      bad.push({ line: number, why });
      if (!this.#skipBad) break;
    }
    return { items, bad };
  }

  /**
   * Sends a block, then reports its bad lines in order: those of the parser and those of the
   * publisher.
   */
  async #send(items: readonly Numbered[], unreadable: readonly BadLine[]): Promise<void> {
    let unfit: BadLine[] = [];
    try {
      await this.#count(items.length, this.#publisher.publishMany(items.map(({ item }) => item)));
    } catch (error) {
      if (!isBadInput(error)) throw error;
      // publishMany checks all items before it sends any. Send them one by one to find the bad
      // ones.
      unfit = await this.#sendEach(items);
    }
    const bad = [...unfit, ...unreadable].sort((a, b) => a.line - b.line);
    for (const { line, why } of this.#skipBad ? bad : bad.slice(0, 1)) {
      this.#report(line, why);
      if (this.#skipBad) this.skipped++;
      else this.badLine = line;
    }
  }

  /** @returns the bad lines. Without --skip-bad only the first one: nothing behind it was sent */
  async #sendEach(items: readonly Numbered[]): Promise<BadLine[]> {
    const bad: BadLine[] = [];
    const sendOne = async ({ line, item }: Numbered): Promise<void> => {
      try {
        await this.#count(1, this.#publisher.publishMany([item]));
      } catch (error) {
        if (!isBadInput(error)) throw error;
        bad.push({ line, why: reason(error) });
      }
    };
    if (this.#skipBad) await Promise.all(items.map(sendOne));
    for (const numbered of this.#skipBad ? [] : items) {
      await sendOne(numbered);
      if (bad.length > 0) break;
    }
    return bad;
  }

  async #count(events: number, sending: Promise<unknown>): Promise<void> {
    try {
      await sending;
      this.published += events;
    } catch (error) {
      if (error instanceof MillraceError && error.outcomeUnknown) this.unknown += events;
      throw error;
    }
  }

  #report(line: number, why: string): void {
    this.clearProgress();
    this.#context.err(`line ${line}: ${printable(why, 500)}`);
  }

  #progress(): void {
    const now = monotonicMs();
    if (!process.stderr.isTTY || now - this.#progressMs < PROGRESS_MS) return;
    this.#progressMs = now;
    this.#progressShown = true;
    process.stderr.write(
      `\r\x1b[K${formatCount(this.published)} events published, line ${formatCount(this.lastLine)}`,
    );
  }

  clearProgress(): void {
    if (this.#progressShown) process.stderr.write('\r\x1b[K');
    this.#progressShown = false;
  }
}

/** Removes the end of a message that speaks of a single call: other lines may have been sent. */
function reason(error: Error): string {
  return error.message.replace(/\. Nothing was sent$/, '');
}

function isBadInput(
  error: unknown,
): error is InvalidEventError | OversizeError | UnknownEventTypeError {
  return (
    error instanceof InvalidEventError ||
    error instanceof OversizeError ||
    error instanceof UnknownEventTypeError
  );
}

/** Returns a parser of lines. It throws an Error that names the problem of the line. */
function createLineParser(
  defaultType: string | undefined,
  readData: (type: string, json: unknown) => unknown,
): (text: string) => PublishItem {
  return (text) => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new Error(`not JSON: ${(error as Error).message}`);
    }
    const item = parseEvent(value, defaultType);
    return { ...item, data: readData(item.type, item.data) };
  };
}
