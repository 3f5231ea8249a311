/**
 * Reads for the lanes of one partition. Lanes that look for work at the same moment share one call,
 * which returns each entry's bytes once, however many functions read it.
 */
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { JoinedCalls } from '../../core/joined-calls.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { countEvents } from '../../wire/batch-reader.ts';

const script = defineScript({ url: new URL('./take.lua', import.meta.url), keys: 'variable' });
/** Most lanes of one call: Redis copies their entries, and does nothing else meanwhile. */
const MOST_LANES = 64;
/** Bytes of a packed entry before its id. */
const HEADER_BYTES = 10;
const EMPTY = Buffer.alloc(0);
const FLAG = { gone: 1, large: 2 } as const;

/** One entry, alike for all lanes that read it. */
export interface TakenEntry {
  readonly id: string;
  /** Shared by the lanes that have taken the entry together. */
  readonly bytes: Buffer;
  /** Count by the producer. Null: none, or no valid one. */
  readonly n: number | null;
  /** Checksum by the producer. Null: none. */
  readonly crc: number | null;
  /** Number of its events, known without decoding: `n`, else counted, else 1. */
  readonly count: number;
  /** Whether it was pending and has been trimmed or deleted. */
  readonly gone: boolean;
}

/** A read of one lane. */
export interface TakeCall {
  readonly leaseKey: string;
  readonly dueKey: string;
  readonly leaseValue: string;
  readonly fn: string;
  readonly consumer: string;
  /** Most units with a due retry. */
  readonly units: number;
  /** Most entries of a stream; 0: nothing new. */
  readonly count: number;
  /** `after`: '>' for new entries, else own pending entries behind that id. */
  readonly streams: readonly { readonly key: string; readonly after: string }[];
}

export type TakeAnswer =
  | { readonly kind: 'stale' }
  | { readonly kind: 'nogroup'; readonly message: string }
  /** Redis refused this lane's read. Entries may be pending that the lane does not know. */
  | { readonly kind: 'error'; readonly error: RedisReplyError }
  | {
      readonly kind: 'ok';
      readonly serverNowMs: number;
      /** Server time at which the next retry falls due; null: none is parked. */
      readonly nextDueMs: number | null;
      readonly units: readonly string[];
      /** Entries by stream, in the order of the call's streams. */
      readonly entries: readonly (readonly TakenEntry[])[];
    };

/** A lane's reply. Only 'ok' has all parts; 'nogroup' and 'error' have a message. */
type LaneReply = readonly [Buffer, Buffer, readonly Buffer[], ...(readonly number[])[]];

export class PartitionTakes {
  readonly #connection: RedisConnection;
  readonly #leaseTtlMs: number;
  readonly #calls: JoinedCalls<TakeCall, TakeAnswer>;

  constructor(connection: RedisConnection, leaseTtlMs: number) {
    this.#connection = connection;
    this.#leaseTtlMs = leaseTtlMs;
    this.#calls = new JoinedCalls({ send: (calls) => this.#send(calls), most: MOST_LANES });
  }

  /** @throws UnknownOutcomeError, RedisReplyError: entries may be pending that nobody knows of */
  take(call: TakeCall): Promise<TakeAnswer> {
    return this.#calls.call(call);
  }

  async #send(calls: readonly TakeCall[]): Promise<readonly TakeAnswer[]> {
    const streams = new Map<string, number>();
    const keys: string[] = [];
    const args: (string | number)[] = [calls.length, this.#leaseTtlMs];
    for (const call of calls) {
      keys.push(call.leaseKey, call.dueKey);
      args.push(call.leaseValue, call.fn, call.consumer, call.units, call.count);
      args.push(call.streams.length);
      for (const { key, after } of call.streams) {
        let number = streams.get(key);
        if (number === undefined) streams.set(key, (number = streams.size + 1));
        args.push(number, after);
      }
    }
    keys.push(...streams.keys());
    const [now, packed, ...lanes] = (await script.runBuffer(this.#connection, keys, args)) as [
      Buffer,
      readonly (readonly Buffer[])[],
      ...LaneReply[],
    ];
    const entries = packed.map(unpackEntries);
    const serverNowMs = Number(now);
    return calls.map(({ streams: mine }, i) => {
      const numbers = mine.map(({ key }) => (streams.get(key) as number) - 1);
      return answerOf(lanes[i] as LaneReply, serverNowMs, entries, numbers);
    });
  }
}

function answerOf(
  reply: LaneReply,
  serverNowMs: number,
  entries: readonly (readonly TakenEntry[])[],
  streams: readonly number[],
): TakeAnswer {
  const kind = String(reply[0]);
  if (kind === 'stale') return { kind };
  if (kind === 'nogroup') return { kind, message: String(reply[1]) };
  if (kind === 'error') return { kind, error: new RedisReplyError('take.lua', String(reply[1])) };
  const [, nextDue, units, ...runs] = reply;
  return {
    kind: 'ok',
    serverNowMs,
    nextDueMs: nextDue.length > 0 ? Number(nextDue) : null,
    units: units.map(String),
    entries: streams.map((stream, i) =>
      entriesAt(entries[stream] as readonly TakenEntry[], runs[i] ?? []),
    ),
  };
}

/** @param runs as in take.lua's reply: from, count, from, count, ... */
function entriesAt(entries: readonly TakenEntry[], runs: readonly number[]): readonly TakenEntry[] {
  if (runs.length === 2 && runs[0] === 0 && runs[1] === entries.length) return entries;
  const found: TakenEntry[] = [];
  for (let i = 0; i < runs.length; i += 2) {
    const from = runs[i] as number;
    for (let at = from; at < from + (runs[i + 1] as number); at++)
      found.push(entries[at] as TakenEntry);
  }
  return found;
}

/** Takes a stream's packed entries apart, in place. */
function unpackEntries([packed = EMPTY, ...large]: readonly Buffer[]): TakenEntry[] {
  const entries: TakenEntry[] = [];
  let at = 0;
  let nextLarge = 0;
  while (at < packed.length) {
    const flags = packed[at] as number;
    const idEnd = at + HEADER_BYTES + (packed[at + 1] as number);
    const nEnd = idEnd + packed.readUInt16LE(at + 2);
    const cEnd = nEnd + packed.readUInt16LE(at + 4);
    const end = flags === FLAG.large ? cEnd : cEnd + packed.readUInt32LE(at + 6);
    const id = packed.toString('latin1', at + HEADER_BYTES, idEnd);
    const bytes =
      flags === FLAG.large ? (large[nextLarge++] as Buffer) : packed.subarray(cEnd, end);
    const n = nEnd === idEnd ? null : parseCount(packed.toString('latin1', idEnd, nEnd));
    const crc = cEnd === nEnd ? null : Number(packed.toString('latin1', nEnd, cEnd));
    const gone = flags === FLAG.gone;
    entries.push({ id, bytes, n, crc, count: n ?? (gone ? 1 : countOrOne(bytes)), gone });
    at = end;
  }
  return entries;
}

function parseCount(text: string): number | null {
  const n = Number(text);
  return Number.isInteger(n) && n >= 1 && n <= 65_536 ? n : null;
}

function countOrOne(bytes: Buffer): number {
  try {
    return Math.max(1, countEvents(bytes));
  } catch {
    return 1; // dead-lettered as a whole by the thread
  }
}
