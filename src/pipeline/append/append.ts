/**
 * One call of append.lua. It is sent again until Redis has answered: (producer, sequence) makes a
 * repetition harmless.
 */
import { ProducerGapError } from '../../core/errors/append-errors.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry, type RefusedWrites } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import { APPEND_ENTRIES } from '../../redis/lua/shared.ts';
import { runConfirmed, type Confirm } from './confirm.ts';

const script = defineScript({
  url: new URL('./append.lua', import.meta.url),
  with: APPEND_ENTRIES,
  keys: 'variable',
});

/**
 * Time for which Redis remembers a silent producer, ms. A publisher that was silent for half of it
 * towards a partition starts over under a new producer id.
 */
export const PRODUCER_TTL_MS = 3_600_000;

/**
 * Most ids remembered per type, partition and window. Further ids are forgotten, and counted as
 * `forgotten:<type>`.
 */
export const REMEMBERED_IDS = 1_000_000;

export interface FlushPart {
  readonly type: string;
  readonly count: number;
  readonly crc: number;
  readonly bytes: Buffer;
  /** Most events the type's slowest function may be behind in a partition, before Redis tells. */
  readonly maxBacklog?: number | undefined;
  /**
   * Identities of the events (src/wire/event-identity.ts), in order. An event that was appended
   * within the window is not appended again.
   */
  readonly dedupe?: { readonly ids: readonly string[]; readonly windowMs: number } | undefined;
}

export interface Flush {
  readonly partition: number;
  readonly producer: string;
  /** Null: there is no producer, and `takes` keeps the flush from being appended twice. */
  readonly sequence: number | null;
  readonly parts: readonly FlushPart[];
  /** Scheduled events that the flush consists of. They leave the schedule in the same step. */
  readonly takes?: readonly { readonly member: string; readonly field: string }[];
}

/** A type whose slowest function is further behind than its limit allows. */
export interface Backlog {
  readonly type: string;
  readonly function: string;
  /** Number of events that it is behind, in this partition. */
  readonly events: number;
}

export interface Appended {
  readonly kind: 'appended';
  readonly entryId: string;
  /** Whether Redis had the flush already. */
  readonly duplicate: boolean;
  readonly backlogs: readonly Backlog[];
}

/**
 * Nothing was appended: the ids of these events were appended within their window, or stand twice
 * in this flush. Leave these events out.
 */
export interface Repeated {
  readonly kind: 'repeated';
  readonly events: readonly { readonly part: number; readonly index: number }[];
}

/** Nothing was appended: another process has appended, or cancelled, a scheduled event. */
export interface AlreadyTaken {
  readonly kind: 'taken';
}

export interface AppendFlushOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly confirm: Confirm;
  readonly signal: AbortSignal;
  /** Time without an answer after which the call gives up, ms. */
  readonly deadlineMs: number;
  /** Told of an attempt that failed and will be repeated. */
  readonly onRetry?: (error: unknown, waitMs: number) => void;
  /** See RetryOptions. Default `retry`. */
  readonly refusedWrites?: RefusedWrites;
}

/**
 * Appends a flush.
 * @returns appended, or refused as a whole because of events that are there already
 * @throws ProducerGapError, DurabilityError, UnknownOutcomeError after the deadline,
 *   RedisReplyError
 */
export function appendFlush(
  flush: Flush,
  options: AppendFlushOptions,
): Promise<Appended | Repeated | AlreadyTaken> {
  const { connection, confirm, onRetry } = options;
  const scriptKeys = keysOf(flush, options.keys);
  const args = argumentsOf(flush);
  const send = async (
    _attempt: number,
    untilMs: number,
  ): Promise<Appended | Repeated | AlreadyTaken> => {
    const sender = connection.until(untilMs);
    const { reply, confirmed } = await runConfirmed(script, sender, scriptKeys, args, confirm);
    const answer = answerOf(reply as readonly string[], flush);
    if (answer.kind === 'appended') confirmed(`${flush.partition}/${answer.entryId}`);
    return answer;
  };
  return withRetry(send, {
    signal: options.signal,
    deadlineMs: options.deadlineMs,
    minDelayMs: 20,
    maxDelayMs: 1000,
    refusedWrites: options.refusedWrites ?? 'retry',
    ...(onRetry
      ? { onRetry: (error: unknown, _attempt: number, waitMs: number) => onRetry(error, waitMs) }
      : {}),
  });
}

function keysOf({ partition, producer, parts, takes = [] }: Flush, keys: Keys): string[] {
  const all = [
    keys.producer(partition, producer),
    keys.clock(partition),
    keys.counters(partition),
    ...parts.map((part) => keys.events(partition, part.type)),
  ];
  for (const { type, dedupe } of parts) {
    if (!dedupe || dedupe.ids.length === 0) continue;
    all.push(keys.publishedIds(partition, type, 0), keys.publishedIds(partition, type, 1));
  }
  if (takes.length > 0) all.push(keys.scheduled(partition), keys.scheduledEvents(partition));
  return all;
}

function argumentsOf({ sequence, parts, takes = [] }: Flush): (string | number | Buffer)[] {
  const args: (string | number | Buffer)[] = [
    sequence ?? '',
    PRODUCER_TTL_MS,
    parts.length,
    takes.length,
    REMEMBERED_IDS,
  ];
  for (const part of parts)
    args.push(
      part.type,
      part.count,
      part.crc,
      part.bytes,
      part.maxBacklog ?? '',
      part.dedupe?.ids.length ?? 0,
      part.dedupe?.windowMs ?? 0,
    );
  for (const { dedupe } of parts) if (dedupe) for (const id of dedupe.ids) args.push(id);
  for (const { member, field } of takes) args.push(member, field);
  return args;
}

/** @throws ProducerGapError, RedisReplyError */
function answerOf(reply: readonly string[], flush: Flush): Appended | Repeated | AlreadyTaken {
  const [kind, value] = reply as [string, string];
  switch (kind) {
    case 'gap':
      throw new ProducerGapError(
        flush.producer,
        flush.partition,
        Number(value),
        flush.sequence ?? 0,
      );
    case 'exhausted':
      throw new RedisReplyError(
        'append',
        `stream ${value} takes no more entries: its last id is the largest possible one. Keep its events elsewhere, then delete the stream`,
      );
    case 'taken':
      return { kind };
    case 'repeated':
      return { kind, events: repeatedOf(reply) };
    default:
      return {
        kind: 'appended',
        entryId: value,
        duplicate: kind === 'duplicate',
        backlogs: backlogsOf(reply),
      };
  }
}

/** Reads the pairs behind the kind: stream from 1, index from 0. */
function repeatedOf(reply: readonly string[]): Repeated['events'] {
  const flat = reply.slice(1).map(Number);
  return Array.from({ length: flat.length / 2 }, (_, i) => ({
    part: (flat[2 * i] as number) - 1,
    index: flat[2 * i + 1] as number,
  }));
}

/** Reads the triples behind the entry id: type, function, events behind. */
function backlogsOf(reply: readonly string[]): Backlog[] {
  const backlogs: Backlog[] = [];
  for (let i = 2; i + 2 < reply.length; i += 3)
    backlogs.push({
      type: reply[i] as string,
      function: reply[i + 1] as string,
      events: Number(reply[i + 2]),
    });
  return backlogs;
}
