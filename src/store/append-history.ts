/**
 * One call of append-history.lua: a batch of appends. The call is sent again until Redis has
 * answered.
 */
import { DurabilityError, ProducerGapError } from '../core/errors/append-errors.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { runConfirmed, type Confirm } from '../pipeline/append/confirm.ts';
import { PRODUCER_TTL_MS } from '../pipeline/append/append.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { withRetry } from '../redis/retry.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { APPEND_ENTRIES } from '../redis/lua/shared.ts';
import type { ExpectedRevision } from './expected-revision.ts';
import { StoreInputError } from './store-errors.ts';

const script = defineScript({
  url: new URL('./append-history.lua', import.meta.url),
  with: APPEND_ENTRIES,
  keys: 'variable',
});

/** Expectations without a number, as append-history.lua takes them. */
const ANY = 0xffff_ffff;
const EXISTS = 0xffff_fffe;

/** @throws StoreInputError for a value that is no expectation */
export function encodeExpected(expected: ExpectedRevision): number {
  switch (expected) {
    case 'any':
      return ANY;
    case 'stream-exists':
      return EXISTS;
    case 'no-stream':
      return 0;
    default:
      if (!Number.isInteger(expected) || expected < 0 || expected >= EXISTS) {
        throw new StoreInputError(
          'expectedRevision',
          `must be a whole number from 0, 'no-stream', 'stream-exists' or 'any', it is ${String(expected)}`,
        );
      }
      return expected;
  }
}

/** The events of one type, from all appends of the batch. */
export interface BatchPart {
  readonly type: string;
  readonly count: number;
  readonly crc: number;
  readonly bytes: Buffer;
}

/** The plan of append-history.lua: the work for a batch's events, written down append by append. */
export class AppendPlan {
  readonly #words: number[] = [];
  /** Appends to remember: the id of the first event, and the index of the history. */
  readonly remembered: { readonly history: number; readonly eventId: string }[] = [];
  appends = 0;

  /**
   * Begins an append. Calls of part() follow, then calls of event(), as many as are announced here.
   * @param history index into the batch's histories
   * @param remember id of the append's first event; null: the append is not remembered
   * @param expected see encodeExpected
   */
  append(
    history: number,
    remember: string | null,
    expected: number,
    events: number,
    parts: number,
  ): void {
    if (remember !== null) this.remembered.push({ history, eventId: remember });
    this.#words.push(
      history + 1,
      remember === null ? 0 : this.remembered.length,
      expected,
      events,
      parts,
    );
    this.appends++;
  }
  /**
   * Adds the append's share of a part.
   * @param part index into the batch's parts
   * @param crc CRC-32 of the source and of this append's events in the part
   */
  part(part: number, count: number, crc: number): void {
    this.#words.push(part + 1, count, crc);
  }
  /** @param length length of the Event message, in bytes */
  event(part: number, length: number): void {
    this.#words.push(part + 1, length);
  }

  encode(categories: readonly number[]): Buffer {
    const words = this.#words;
    const plan = Buffer.allocUnsafe((categories.length + 1 + words.length) * 4);
    let at = 0;
    for (const category of categories) at = plan.writeUInt32LE(category + 1, at);
    at = plan.writeUInt32LE(this.appends, at);
    for (const word of words) {
      plan[at++] = word;
      plan[at++] = word >>> 8;
      plan[at++] = word >>> 16;
      plan[at++] = word >>> 24;
    }
    return plan;
  }
}

export interface AppendBatch {
  readonly partition: number;
  readonly producer: string;
  readonly sequence: number;
  /** Most events of a history. */
  readonly maxEvents: number;
  /** Bytes before the first event in each part. */
  readonly headBytes: number;
  readonly parts: readonly BatchPart[];
  readonly histories: readonly { readonly category: string; readonly id: string }[];
  readonly plan: AppendPlan;
}

/** The outcome of one append of a batch. */
export type AppendAnswer =
  | { readonly kind: 'appended'; readonly revision: number; readonly entryId: string }
  /** An append with this first event id is in the history already. */
  | { readonly kind: 'remembered'; readonly before: number; readonly events: number }
  | { readonly kind: 'conflict'; readonly actual: number }
  | { readonly kind: 'full'; readonly actual: number }
  | { readonly kind: 'failed'; readonly error: RedisReplyError };

export interface AppendBatchOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly confirm: Confirm;
  readonly signal: AbortSignal;
  /** Time without an answer, after which the call is given up, ms. */
  readonly deadlineMs: number;
  /** Called after each failed attempt that will be repeated. */
  readonly onRetry: () => void;
}

export interface AppendedBatch {
  /** One answer per append. */
  readonly answers: readonly AppendAnswer[];
  /** The error, if the events were appended with less durability than asked for. */
  readonly weak: DurabilityError | null;
}

/**
 * @throws ProducerGapError, UnknownOutcomeError after the deadline, RedisReplyError: for all of the
 *   batch
 */
export function appendBatch(
  batch: AppendBatch,
  options: AppendBatchOptions,
): Promise<AppendedBatch> {
  const { partition, producer, sequence, parts, histories, plan } = batch;
  const { keys, connection, confirm } = options;
  const categories = [...new Set(histories.map((history) => history.category))];
  const at = (history: number) => histories[history] as { category: string; id: string };
  const scriptKeys = [
    keys.producer(partition, producer),
    keys.clock(partition),
    keys.counters(partition),
    ...parts.map((part) => keys.events(partition, part.type)),
    ...histories.map(({ category, id }) => keys.history(partition, category, id)),
    ...plan.remembered.map(({ history }) =>
      keys.appends(partition, at(history).category, at(history).id),
    ),
    ...categories.map((category) => keys.histories(partition, category)),
  ];
  const args: (string | number | Buffer)[] = [
    sequence,
    PRODUCER_TTL_MS,
    parts.length,
    histories.length,
    plan.remembered.length,
    batch.maxEvents,
    batch.headBytes,
    plan.encode(histories.map(({ category }) => categories.indexOf(category))),
  ];
  for (const { type, count, crc, bytes } of parts) args.push(type, count, crc, bytes);
  for (const { id } of histories) args.push(id);
  for (const { eventId } of plan.remembered) args.push(eventId);

  const send = async (_attempt: number, untilMs: number): Promise<AppendedBatch> => {
    const { reply, confirmed } = await runConfirmed(
      script,
      connection.until(untilMs),
      scriptKeys,
      args,
      confirm,
    );
    const [kind, value, ...errors] = reply as [string, string, ...string[]];
    if (kind === 'gap') throw new ProducerGapError(producer, partition, Number(value), sequence);
    const answers = readAnswers(value, errors);
    if (answers.length !== plan.appends)
      throw new TypeError(
        `append-history.lua answered ${answers.length} of ${plan.appends} appends`,
      );
    const first = answers.find((answer) => answer.kind === 'appended');
    try {
      if (first) confirmed(`${partition}/${first.entryId}`);
      return { answers, weak: null };
    } catch (error) {
      if (!(error instanceof DurabilityError)) throw error;
      return { answers, weak: error };
    }
  };
  return withRetry(send, {
    signal: options.signal,
    deadlineMs: options.deadlineMs,
    minDelayMs: 20,
    maxDelayMs: 1000,
    refusedWrites: 'retry',
    onRetry: options.onRetry,
  });
}

function readAnswers(text: string, errors: readonly string[]): AppendAnswer[] {
  const answers: AppendAnswer[] = [];
  let entryId = '';
  for (const word of text.split(' ')) {
    const rest = word.slice(1);
    switch (word[0]) {
      case '@':
        entryId = rest;
        break;
      case 'w':
        answers.push({ kind: 'appended', revision: Number(rest), entryId });
        break;
      case 'r': {
        const [before, events] = rest.split(':').map(Number);
        answers.push({ kind: 'remembered', before: before as number, events: events as number });
        break;
      }
      case 'c':
        answers.push({ kind: 'conflict', actual: Number(rest) });
        break;
      case 'f':
        answers.push({ kind: 'full', actual: Number(rest) });
        break;
      case 'x':
        answers.push({
          kind: 'failed',
          error: new RedisReplyError(
            'append-history.lua',
            "WRONGTYPE the history's list or hash is a key of another type",
          ),
        });
        break;
      case 'm':
        answers.push({
          kind: 'failed',
          error: new RedisReplyError(
            'append-history.lua',
            "ERR the record of the append with this first event id cannot be read: delete its field of the history's key appends:…",
          ),
        });
        break;
      case 'e':
        answers.push({
          kind: 'failed',
          error: new RedisReplyError('append-history.lua', errors[Number(rest) - 1] ?? 'ERR'),
        });
        break;
      default:
        throw new TypeError(`append-history.lua answered ${JSON.stringify(word)}`);
    }
  }
  return answers;
}
