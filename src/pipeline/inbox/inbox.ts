/**
 * The inbox of a function that asked for it (`dedupe`): events it has settled within the window are
 * not run again, whoever sent them twice. An event is known by its identity: source and id
 * (src/wire/event-identity.ts).
 *
 *   look up the batch's identities → run what is new → the commit remembers what it settles, in its
 *   own step
 *
 * So what is remembered is what was committed: an event whose turn was lost is run again. What
 * fails is parked and not remembered: its own retries are no duplicates. Only such functions have
 * their entries walked in the dispatcher's thread.
 */
import type { EventRef } from '../../core/thread-protocol.ts';
import { CorruptDataError } from '../../core/errors.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { checkBatch, walkBatch } from '../../wire/batch-reader.ts';
import type { EventHeader } from '../../wire/event-header.ts';
import { envelopeProblem } from '../../wire/envelope-problem.ts';
import { identityOf, identityOfEvent } from '../../wire/event-identity.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { Batch, StreamEntry } from '../batch/batch.ts';

const script = defineScript({ url: new URL('./seen.lua', import.meta.url), keys: 2 });

const RUNS = -1;

export interface Seen {
  /**
   * Per event its identity; '' where it has none or its entry cannot be taken apart (the thread
   * will say why).
   */
  readonly ids: readonly string[];
  /**
   * SKIP: not to be run, because it was settled before, or because it stands earlier in this batch
   * too.
   */
  readonly states: Uint8Array;
  /** Of the latter: where each stands first; RUNS: it runs beside the turns of its lane. */
  readonly repeats: readonly { readonly ref: EventRef; readonly first: number }[];
}

export interface InboxOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly fn: string;
  readonly partition: number;
  readonly ordering: 'key' | 'none';
  /**
   * Ids of events that run beside the lane's turns: a copy of one waits behind it. Default: none.
   */
  readonly running?: readonly string[];
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function lookUp(batch: Batch, options: InboxOptions): Promise<Seen> {
  const { connection, keys, fn, partition, ordering } = options;
  const ids = new Array<string>(batch.events).fill('');
  const states = new Uint8Array(batch.events);
  const repeats: { ref: EventRef; first: number }[] = [];
  const firsts = new Map<string, number>();
  const running = new Set(options.running);
  const note = (ref: EventRef, identity: string): void => {
    if (identity === '') return;
    ids[ref.index] = identity;
    // With order kept, only a later event of the same subject may wait for an earlier one; an event
    // has one subject.
    const key = ordering === 'key' ? `${identity.length}:${identity}${ref.subject}` : identity;
    const first = firsts.get(key);
    if (ref.entry >= 0 && running.has(ref.id)) {
      states[ref.index] = CELL.SKIP;
      repeats.push({ ref, first: RUNS });
    } else if (first === undefined) firsts.set(key, ref.index);
    else {
      states[ref.index] = CELL.SKIP;
      repeats.push({ ref, first });
    }
  };
  let index = 0;
  for (const { records } of batch.retries) {
    for (const bytes of records) {
      const {
        event,
        batchSource,
        eventId,
        subject,
        position,
        index: indexInEntry,
      } = decodeParked(bytes);
      const ref: EventRef = {
        index: index++,
        entry: -1,
        indexInEntry,
        offset: 0,
        length: bytes.length,
        position,
        id: eventId,
        subject,
      };
      note(ref, identityOfEvent(event, batchSource));
    }
  }
  batch.entries.forEach((entry, at) => {
    for (const header of headersOf(entry)) {
      // Dead by itself, and not remembered: another event may bear its id.
      if (envelopeProblem(header) !== null) continue;
      note(
        {
          index: (batch.firsts[at] as number) + header.index,
          entry: at,
          indexInEntry: header.index,
          offset: header.offset,
          length: header.length,
          position: header.position,
          id: header.id,
          subject: header.subject,
        },
        identityOf(header.id, header.source),
      );
    }
  });
  const asked: number[] = [];
  for (let i = 0; i < ids.length; i++) if (ids[i] !== '' && states[i] === CELL.TODO) asked.push(i);
  if (asked.length > 0) {
    const found = (await script.run(
      connection,
      [keys.settledIds(partition, fn, 0), keys.settledIds(partition, fn, 1)],
      asked.map((i) => ids[i] as string),
    )) as number[];
    for (const place of found) states[asked[place] as number] = CELL.SKIP;
  }
  return { ids, states, repeats };
}

/** What stands twice in the batch is settled with its first, or waits behind it. */
export function withRepeats<
  R extends { readonly states: Uint8Array; readonly blocked: readonly EventRef[] },
>(result: R, { ids, repeats }: Seen): R & { readonly ids: readonly string[] } {
  const blocked = [...result.blocked];
  for (const { ref, first } of repeats) {
    const state = first === RUNS ? CELL.RUNNING : result.states[first];
    if (state === CELL.DONE || state === CELL.SKIP) continue;
    if (state === CELL.TODO) {
      // Not started: nor is what stands behind it.
      result.states[ref.index] = CELL.TODO;
      continue;
    }
    result.states[ref.index] = CELL.BLOCKED;
    if (ref.entry >= 0) blocked.push(ref);
  }
  return { ...result, blocked, ids };
}

/** None of an entry that is not sound: it is dead-lettered as a whole. */
function headersOf(entry: StreamEntry): EventHeader[] {
  const headers: EventHeader[] = [];
  try {
    checkBatch(entry.bytes, entry.crc);
    walkBatch(entry.bytes, (header) => void headers.push(header));
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return [];
  }
  return headers.length === entry.count ? headers : [];
}
