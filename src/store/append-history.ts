/** One call of append-history.lua: appends that travel together, sent again until Redis has answered. */
import { DurabilityError, ProducerGapError, RedisReplyError } from '../core/errors.ts';
import { runConfirmed, type Confirm } from '../pipeline/append/confirm.ts';
import { PRODUCER_TTL_MS } from '../pipeline/append/append.ts';
import { withRetry, type RedisConnection } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { APPEND_ENTRIES } from '../wire/entries-lua.ts';

const script = defineScript({ url: new URL('./append-history.lua', import.meta.url), with: APPEND_ENTRIES, keys: 'variable' });

/** The events of one type of all appends. */
export interface BatchPart {
  readonly type: string;
  readonly count: number;
  readonly crc: number;
  readonly bytes: Buffer;
}

export interface PlannedAppend {
  /** Index into `histories`. */
  readonly history: number;
  /** Its first event's id, where the append is to be remembered by it. */
  readonly remember: string | null;
  /** See encodeExpected. */
  readonly expected: number;
  /** Its share of each part it has events in. CRC-32: of the source and these events. */
  readonly shares: readonly { readonly part: number; readonly count: number; readonly crc: number }[];
  /** Its events, in order: part, length of the Event message. */
  readonly events: readonly (readonly [part: number, length: number])[];
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
  readonly appends: readonly PlannedAppend[];
}

/** What became of one append of a batch. */
export type AppendAnswer =
  | { readonly kind: 'appended'; readonly revision: number; readonly entryId: string }
  /** An append with this first event id is there already. */
  | { readonly kind: 'remembered'; readonly before: number; readonly events: number }
  | { readonly kind: 'conflict'; readonly actual: number }
  | { readonly kind: 'full'; readonly actual: number }
  | { readonly kind: 'failed'; readonly error: RedisReplyError };

export interface AppendBatchOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly confirm: Confirm;
  readonly signal: AbortSignal;
  /** Give up after this long without an answer, in ms. */
  readonly deadlineMs: number;
}

export interface AppendedBatch {
  /** One per append. */
  readonly answers: readonly AppendAnswer[];
  /** What was appended is there with less durability than asked for. */
  readonly weak: DurabilityError | null;
}

/** @throws ProducerGapError, UnknownOutcomeError after the deadline, RedisReplyError: for all of the batch */
export function appendBatch(batch: AppendBatch, options: AppendBatchOptions): Promise<AppendedBatch> {
  const { partition, producer, sequence, parts, histories, appends } = batch;
  const { keys, connection, confirm } = options;
  const categories = [...new Set(histories.map((history) => history.category))];
  const remembered = appends.filter((append) => append.remember !== null);
  const at = (append: PlannedAppend) => histories[append.history] as { category: string; id: string };
  const scriptKeys = [
    keys.producer(partition, producer),
    keys.clock(partition),
    keys.counters(partition),
    ...parts.map((part) => keys.events(partition, part.type)),
    ...histories.map(({ category, id }) => keys.history(partition, category, id)),
    ...remembered.map((append) => keys.appends(partition, at(append).category, at(append).id)),
    ...categories.map((category) => keys.histories(partition, category)),
  ];
  const args: (string | number | Buffer)[] = [
    sequence, PRODUCER_TTL_MS, parts.length, histories.length, remembered.length, batch.maxEvents, batch.headBytes,
    planOf(histories.map(({ category }) => categories.indexOf(category) + 1), appends),
  ];
  for (const { type, count, crc, bytes } of parts) args.push(type, count, crc, bytes);
  for (const { id } of histories) args.push(id);
  for (const { remember } of remembered) args.push(remember as string);

  const send = async (): Promise<AppendedBatch> => {
    const { reply, confirmed } = await runConfirmed(script, connection, scriptKeys, args, confirm);
    const [kind, value, ...errors] = reply as [string, string, ...string[]];
    if (kind === 'gap') throw new ProducerGapError(producer, partition, Number(value), sequence);
    const answers = readAnswers(value, errors);
    if (answers.length !== appends.length) throw new TypeError(`append-history.lua answered ${answers.length} of ${appends.length} appends`);
    const first = answers.find((answer) => answer.kind === 'appended');
    try {
      if (first) confirmed(`${partition}/${first.entryId}`);
      return { answers, weak: null };
    } catch (error) {
      if (!(error instanceof DurabilityError)) throw error;
      return { answers, weak: error };
    }
  };
  return withRetry(send, { signal: options.signal, deadlineMs: options.deadlineMs, minDelayMs: 20, maxDelayMs: 1000 });
}

/** See the header of append-history.lua. */
function planOf(categories: readonly number[], appends: readonly PlannedAppend[]): Buffer {
  let words = categories.length + 1;
  for (const append of appends) words += 5 + 3 * append.shares.length + 2 * append.events.length;
  const plan = Buffer.allocUnsafe(words * 4);
  let at = 0;
  const put = (value: number): void => {
    at = plan.writeUInt32LE(value, at);
  };
  for (const category of categories) put(category);
  put(appends.length);
  let remembered = 0;
  for (const { history, remember, expected, shares, events } of appends) {
    put(history + 1);
    put(remember === null ? 0 : ++remembered);
    put(expected);
    put(events.length);
    put(shares.length);
    for (const { part, count, crc } of shares) {
      put(part + 1);
      put(count);
      put(crc);
    }
    for (const [part, length] of events) {
      put(part + 1);
      put(length);
    }
  }
  return plan;
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
        answers.push({ kind: 'failed', error: new RedisReplyError('append-history.lua', "WRONGTYPE a key of another type is where the history's list or hash should be") });
        break;
      case 'e':
        answers.push({ kind: 'failed', error: new RedisReplyError('append-history.lua', errors[Number(rest) - 1] ?? 'ERR') });
        break;
      default:
        throw new TypeError(`append-history.lua answered ${JSON.stringify(word)}`);
    }
  }
  return answers;
}
