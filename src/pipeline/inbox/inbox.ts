/**
 * The inbox of a function with `dedupe`: an event that the function has settled within the window
 * does not run again. An event is known by its identity, which is its source and id
 * (src/wire/event-identity.ts).
 *
 *   look up the batch's identities → run the new events → the commit remembers the settled ones
 *
 * The commit remembers in its own step. So the inbox knows committed events only: an event whose
 * turn was lost runs again. A failed event is parked and not remembered: its own retries are no
 * duplicates. Only the entries of such functions are walked in the dispatcher's thread.
 */
import type { EventRef } from '../../core/thread-protocol.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { CELL, moveTo } from '../../core/progress-cells.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { checkBatch, walkBatch } from '../../wire/batch-reader.ts';
import type { EventHeader } from '../../wire/event-header.ts';
import { envelopeProblem } from '../../wire/envelope-problem.ts';
import { identityOf, identityOfEvent } from '../../wire/event-identity.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { Batch, StreamEntry } from '../batch/batch.ts';

const script = defineScript({ url: new URL('./seen.lua', import.meta.url), keys: 2 });

/** In place of an event's index: the event runs beside the lane's turns. */
const RUNS = -1;

export interface Seen {
  /**
   * Identities by event index. '': the event has none, or its entry cannot be decoded (the thread
   * reports why).
   */
  readonly ids: readonly string[];
  /**
   * States by event index. SKIP: the event is not to run, because it was settled before or a copy
   * of it comes first in this batch.
   */
  readonly states: Uint8Array;
  /** Copies, each with the index of the first event of its identity, or RUNS. */
  readonly repeats: readonly { readonly ref: EventRef; readonly first: number }[];
}

export interface InboxOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly fn: string;
  readonly partition: number;
  readonly ordering: 'key' | 'none';
  /**
   * Ids of events that run beside the lane's turns. A copy waits behind its event. Default: none.
   */
  readonly running?: readonly string[];
}

/** Looks up which events of the batch are repeats. @throws UnknownOutcomeError, RedisReplyError */
export async function lookUp(batch: Batch, options: InboxOptions): Promise<Seen> {
  const seen = new SeenInBatch(batch.events, options);
  noteRetries(seen, batch);
  for (let entry = 0; entry < batch.entries.length; entry++) noteEntry(seen, batch, entry);
  await skipSettled(seen, options);
  return seen;
}

/** Finds copies within the batch, and copies of events that run beside the lane's turns. */
class SeenInBatch implements Seen {
  readonly ids: string[];
  readonly states: Uint8Array;
  readonly repeats: { readonly ref: EventRef; readonly first: number }[] = [];
  readonly #ordering: 'key' | 'none';
  readonly #running: ReadonlySet<string>;
  /** Index of the first event of each identity. */
  readonly #firsts = new Map<string, number>();

  constructor(events: number, { ordering, running }: InboxOptions) {
    this.ids = new Array<string>(events).fill('');
    this.states = new Uint8Array(events);
    this.#ordering = ordering;
    this.#running = new Set(running);
  }

  note(ref: EventRef, identity: string): void {
    if (identity === '') return;
    this.ids[ref.index] = identity;
    if (ref.entry >= 0 && this.#running.has(ref.id)) return this.#repeat(ref, RUNS);
    // With ordering 'key' an event may wait only for an earlier one of the same subject. So copies
    // with different subjects count as different events.
    const key =
      this.#ordering === 'key' ? `${identity.length}:${identity}${ref.subject}` : identity;
    const first = this.#firsts.get(key);
    if (first === undefined) this.#firsts.set(key, ref.index);
    else this.#repeat(ref, first);
  }

  #repeat(ref: EventRef, first: number): void {
    moveTo(this.states, ref.index, CELL.SKIP);
    this.repeats.push({ ref, first });
  }
}

function noteRetries(seen: SeenInBatch, batch: Batch): void {
  let index = 0;
  for (const { records } of batch.retries) {
    for (const bytes of records) {
      const record = decodeParked(bytes);
      const ref: EventRef = {
        index: index++,
        entry: -1,
        indexInEntry: record.index,
        offset: 0,
        length: bytes.length,
        position: record.position,
        id: record.eventId,
        subject: record.subject,
      };
      seen.note(ref, identityOfEvent(record.event, record.batchSource));
    }
  }
}

function noteEntry(seen: SeenInBatch, batch: Batch, entry: number): void {
  const first = batch.firsts[entry] as number;
  for (const header of headersOf(batch.entries[entry] as StreamEntry)) {
    // Such an event is dead-lettered alone, and not remembered: another event may bear its id.
    if (envelopeProblem(header) !== null) continue;
    const { index, offset, length, position, id, subject } = header;
    seen.note(
      { index: first + index, entry, indexInEntry: index, offset, length, position, id, subject },
      identityOf(id, header.source),
    );
  }
}

/** Marks the events that the function has settled within the window. */
async function skipSettled(
  { ids, states }: SeenInBatch,
  { connection, keys, fn, partition }: InboxOptions,
): Promise<void> {
  const asked: number[] = [];
  for (let i = 0; i < ids.length; i++) if (ids[i] !== '' && states[i] === CELL.TODO) asked.push(i);
  if (asked.length === 0) return;
  const found = (await script.run(
    connection,
    [keys.settledIds(partition, fn, 0), keys.settledIds(partition, fn, 1)],
    asked.map((i) => ids[i] as string),
  )) as number[];
  for (const place of found) moveTo(states, asked[place] as number, CELL.SKIP);
}

/** Settles each copy with the first event of its identity, or blocks the copy behind that event. */
export function withRepeats<
  R extends { readonly states: Uint8Array; readonly blocked: readonly EventRef[] },
>(result: R, { ids, repeats }: Seen): R & { readonly ids: readonly string[] } {
  const blocked = [...result.blocked];
  for (const { ref, first } of repeats) {
    const state = first === RUNS ? CELL.RUNNING : result.states[first];
    if (state === CELL.DONE || state === CELL.SKIP) continue;
    if (state === CELL.TODO) {
      // The first event was not started, so its copy is not either.
      moveTo(result.states, ref.index, CELL.TODO);
      continue;
    }
    moveTo(result.states, ref.index, CELL.BLOCKED);
    if (ref.entry >= 0) blocked.push(ref);
  }
  return { ...result, blocked, ids };
}

/** Headers of an entry's events. Empty for a corrupt entry, which is dead-lettered as a whole. */
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
