/**
 * Reads a lane's streams, one per event type, and merges their entries by id.
 *
 * Each stream is read in two modes. First comes the lane's own pending list: entries handed out but
 * not committed. Then come new entries (`>`). The pending list is read again after a start, and
 * after any answer that may have been lost.
 *
 * The horizon keeps the order. An answer that COUNT has cut may hide entries with lower ids than
 * those of other streams. So nothing beyond such a stream's last id is given out until the stream
 * was read further. Entries beyond the horizon wait here, at most COUNT per stream.
 */
import { OWNER } from '../../core/function-spec.ts';
import { compareEntryIds } from '../../core/position.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { PartitionTakes, TakeAnswer, TakenEntry } from './partition-takes.ts';

export interface ReadBudget {
  /** Most events to give out. The first entry is given out however many events it has. */
  readonly events: number;
  /** Most bytes to give out. The first entry is given out however large it is. */
  readonly bytes: number;
  /** Most parked units to take whose retry is due. */
  readonly retryUnits: number;
}

export type Taken =
  | { readonly kind: 'stale' }
  | { readonly kind: 'nogroup'; readonly message: string }
  | {
      readonly kind: 'ok';
      readonly units: readonly string[];
      readonly entries: readonly StreamEntry[];
      readonly serverNowMs: number;
      /** Server time at which the next retry is due, ms. Null: nothing is parked. */
      readonly nextDueMs: number | null;
      /** Whether some stream may have more entries. */
      readonly more: boolean;
    };

interface StreamState {
  readonly key: string;
  /** 'pending': the lane's own pending list is read, from `cursor` on. 'new': `>` is read. */
  mode: 'pending' | 'new';
  cursor: string;
  /** Id of the last entry that was read from the pending list. */
  pendingTo: string;
  /** Whether more entries may follow `lastId`. */
  cut: boolean;
  lastId: string;
  /**
   * Id beyond which no stream may give out entries yet. Null: the last take read this stream to its
   * end.
   */
  limit: string | null;
  queue: StreamEntry[];
}

const MAX_COUNT = 1024;

export interface LaneReaderOptions {
  /** Reads of the lane's partition. */
  readonly takes: Pick<PartitionTakes, 'take'>;
  readonly fn: string;
  /** Default: OWNER. */
  readonly consumer?: string;
  /** Whether to read only entries pending for the consumer. Default false. */
  readonly pendingOnly?: boolean;
  readonly leaseKey: string;
  readonly dueKey: string;
  readonly streamKeys: readonly string[];
  /** Told the last id read of a stream. */
  readonly observed: (streamKey: string, lastId: string) => void;
}

export class LaneReader {
  readonly #options: LaneReaderOptions;
  readonly #streams: StreamState[];
  /** Running means of an entry's bytes and events. They turn a budget into COUNT. */
  #meanBytes = 4096;
  #meanEvents = 16;

  constructor(options: LaneReaderOptions) {
    this.#options = options;
    this.#streams = options.streamKeys.map((key) => ({
      key,
      mode: 'pending',
      cursor: '0-0',
      pendingTo: '0-0',
      cut: true,
      lastId: '0-0',
      limit: '0-0',
      queue: [],
    }));
  }

  /** Forgets the entries held here. The next reads start with the lane's own pending list. */
  reset(): void {
    for (const stream of this.#streams) {
      Object.assign(stream, {
        mode: 'pending',
        cursor: '0-0',
        pendingTo: '0-0',
        cut: true,
        lastId: '0-0',
        limit: '0-0',
        queue: [],
      } satisfies Partial<StreamState>);
    }
  }

  /** Bytes of the entries beyond the horizon. */
  get heldBytes(): number {
    let bytes = 0;
    for (const stream of this.#streams)
      for (const entry of stream.queue) bytes += entry.bytes.length;
    return bytes;
  }

  /**
   * Takes entries and due retries, in one or a few round trips.
   * @throws UnknownOutcomeError, RedisReplyError: call reset() before the next take
   */
  async take(leaseValue: string, budget: ReadBudget): Promise<Taken> {
    const units: string[] = [];
    let serverNowMs = 0;
    let nextDueMs: number | null = null;
    for (;;) {
      const count = this.#count(budget);
      // Several types are read in one script, so that the merge sees all streams at one moment. A
      // stream that still holds a full read is not read, and limits the others by its last id.
      const several = this.#streams.length > 1;
      if (budget.events === 0) return await this.#takeDue(leaseValue, budget);
      const wanted = this.#streams.filter(
        (s) => !this.#ended(s) && (s.queue.length === 0 || (several && s.queue.length < count)),
      );
      for (const stream of this.#streams) stream.limit = this.#ended(stream) ? null : stream.lastId;
      const answer = await this.#look(leaseValue, budget.retryUnits - units.length, count, wanted);
      if (answer.kind !== 'ok') return answer;
      ({ serverNowMs, nextDueMs } = answer);
      if (units.length === 0) units.push(...answer.units);
      wanted.forEach((stream, i) =>
        this.#receive(stream, answer.entries[i] as readonly TakenEntry[], count),
      );
      const entries = this.#ready(budget);
      const unread = this.#streams.some(
        (s) => s.mode === 'pending' || (s.cut && s.queue.length === 0),
      );
      if (entries.length > 0 || units.length > 0 || !unread) {
        const more = unread || this.#streams.some((s) => s.cut || s.queue.length > 0);
        return { kind: 'ok', units, entries, serverNowMs, nextDueMs, more };
      }
    }
  }

  /** Takes due retries only: the budget has no room for new events. */
  async #takeDue(leaseValue: string, budget: ReadBudget): Promise<Taken> {
    const answer = await this.#look(leaseValue, budget.retryUnits, 0, []);
    if (answer.kind !== 'ok') return answer;
    const { units, serverNowMs, nextDueMs } = answer;
    return { kind: 'ok', units, entries: [], serverNowMs, nextDueMs, more: false };
  }

  async #look(
    leaseValue: string,
    units: number,
    count: number,
    streams: readonly StreamState[],
  ): Promise<Exclude<TakeAnswer, { kind: 'error' }>> {
    const { takes, leaseKey, dueKey, fn, consumer = OWNER } = this.#options;
    const answer = await takes.take({
      leaseKey,
      dueKey,
      leaseValue,
      fn,
      consumer,
      units: Math.max(0, units),
      count,
      streams: streams.map(({ key, mode, cursor }) => ({
        key,
        after: mode === 'new' ? '>' : cursor,
      })),
    });
    if (answer.kind === 'error') throw answer.error;
    return answer;
  }

  /** Whether entries may be left that were delivered before, and not given out again. */
  get pendingLeft(): boolean {
    return this.#streams.some(
      ({ mode, queue: [next], pendingTo }) =>
        mode === 'pending' || (next !== undefined && compareEntryIds(next.id, pendingTo) <= 0),
    );
  }

  /** Whether all pending entries were given out. Only with `pendingOnly`. */
  get drained(): boolean {
    return this.#streams.every((stream) => this.#ended(stream) && stream.queue.length === 0);
  }

  /** Whether nothing more is read of the stream. Only with `pendingOnly`. */
  #ended(stream: StreamState): boolean {
    return this.#options.pendingOnly === true && stream.mode === 'new';
  }

  #count(budget: ReadBudget): number {
    const byBytes = budget.bytes / this.#meanBytes;
    const byEvents = budget.events / this.#meanEvents;
    return Math.max(1, Math.min(MAX_COUNT, Math.floor(Math.min(byBytes, byEvents))));
  }

  #receive(stream: StreamState, taken: readonly TakenEntry[], count: number): void {
    const type = this.#streams.indexOf(stream);
    for (const { id, bytes, gone, n, crc, count: events } of taken) {
      stream.queue.push({ id, type, bytes, gone, n, crc, count: events });
      this.#meanBytes += (bytes.length - this.#meanBytes) * 0.05;
      this.#meanEvents += (events - this.#meanEvents) * 0.05;
    }
    const got = taken.length;
    const last = stream.queue[stream.queue.length - 1];
    if (last) {
      stream.lastId = last.id;
      this.#options.observed(stream.key, last.id);
    }
    if (stream.mode === 'pending') {
      if (last) stream.cursor = stream.pendingTo = last.id;
      // New entries may have lower ids than those of other streams. So the stream counts as cut
      // until `>` was read.
      if (got < count) stream.mode = 'new';
      stream.cut = !this.#ended(stream);
    } else stream.cut = got >= count;
    stream.limit = stream.cut ? stream.lastId : null;
  }

  /** Entries up to the horizon, in order, within the budget. */
  #ready(budget: ReadBudget): StreamEntry[] {
    const [only] = this.#streams;
    if (this.#streams.length === 1 && only) return takeWithin([only], null, budget);
    let horizon: string | null = null;
    for (const { limit } of this.#streams) {
      if (limit !== null && (horizon === null || compareEntryIds(limit, horizon) < 0))
        horizon = limit;
    }
    return takeWithin(this.#streams, horizon, budget);
  }
}

function takeWithin(
  streams: readonly StreamState[],
  horizon: string | null,
  budget: ReadBudget,
): StreamEntry[] {
  const out: StreamEntry[] = [];
  const heads = streams.map(() => 0);
  let events = 0;
  let bytes = 0;
  for (;;) {
    let best = -1;
    for (let i = 0; i < streams.length; i++) {
      const head = streams[i]?.queue[heads[i] as number];
      if (!head) continue;
      if (
        best < 0 ||
        compareEntryIds(head.id, (streams[best]?.queue[heads[best] as number] as StreamEntry).id) <
          0
      )
        best = i;
    }
    if (best < 0) break;
    const head = streams[best]?.queue[heads[best] as number] as StreamEntry;
    if (horizon !== null && compareEntryIds(head.id, horizon) > 0) break;
    // Entries of one flush have the same id, and stay in one batch: their events are ordered by
    // position across types.
    const sameFlush = out.length > 0 && out[out.length - 1]?.id === head.id;
    if (
      !sameFlush &&
      out.length > 0 &&
      (events + head.count > budget.events || bytes + head.bytes.length > budget.bytes)
    )
      break;
    out.push(head);
    events += head.count;
    bytes += head.bytes.length;
    heads[best] = (heads[best] as number) + 1;
  }
  streams.forEach((stream, i) => {
    if ((heads[i] as number) > 0) stream.queue.splice(0, heads[i]);
  });
  return out;
}
