/**
 * Reads a lane's streams in one order.
 *
 * After every start, and after any answer that may have been lost, each stream is first read from
 * the lane's own pending list (entries handed out but not committed), then from where the group
 * stands (`>`). The types are merged by entry id. A stream whose answer was cut by COUNT may have
 * more below the others' ids: nothing beyond its last id is given out until it has been read
 * further (the horizon). What is held back stays here, bounded by COUNT per stream.
 */
import { OWNER } from '../../core/function-spec.ts';
import { compareEntryIds } from '../../core/position.ts';
import { countEvents } from '../../wire/batch-reader.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import type { StreamEntry } from '../batch/batch.ts';

const take = defineScript({ url: new URL('./take.lua', import.meta.url), keys: 'variable' });

export interface ReadBudget {
  /** Most events to give out (at least one entry is). */
  readonly events: number;
  /** Most bytes to give out (at least one entry is). */
  readonly bytes: number;
  /** Most retry units to take. */
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
      /** Server time at which the next retry falls due, null when none is parked. */
      readonly nextDueMs: number | null;
      /** False when all streams were read to their end. */
      readonly more: boolean;
    };

interface StreamState {
  readonly key: string;
  /** 'pending': reading the lane's own pending list behind `cursor`. 'new': reading '>'. */
  mode: 'pending' | 'new';
  cursor: string;
  /** More may lie behind `lastId`. */
  cut: boolean;
  lastId: string;
  /**
   * Nothing beyond this id may be given out yet; null: the stream was read to its end in the latest
   * take.
   */
  limit: string | null;
  queue: StreamEntry[];
}

const MAX_COUNT = 1024;

export interface LaneReaderOptions {
  readonly connection: RedisConnection;
  readonly fn: string;
  /** Default: the lane's owner. */
  readonly consumer?: string;
  /** Only what is pending for the consumer, nothing new. */
  readonly pendingOnly?: boolean;
  readonly leaseKey: string;
  readonly dueKey: string;
  readonly streamKeys: readonly string[];
  readonly leaseTtlMs: number;
  /** Called with the last id read of a stream. */
  readonly observed: (streamKey: string, lastId: string) => void;
}

export class LaneReader {
  readonly #options: LaneReaderOptions;
  readonly #streams: StreamState[];
  /** Running means that turn budgets into COUNT. */
  #meanBytes = 4096;
  #meanEvents = 16;

  constructor(options: LaneReaderOptions) {
    this.#options = options;
    this.#streams = options.streamKeys.map((key) => ({
      key,
      mode: 'pending',
      cursor: '0-0',
      cut: true,
      lastId: '0-0',
      limit: '0-0',
      queue: [],
    }));
  }

  /** Forget what is held: the next reads start with the lane's own pending list. */
  reset(): void {
    for (const stream of this.#streams) {
      Object.assign(stream, {
        mode: 'pending',
        cursor: '0-0',
        cut: true,
        lastId: '0-0',
        limit: '0-0',
        queue: [],
      } satisfies Partial<StreamState>);
    }
  }

  get heldBytes(): number {
    let bytes = 0;
    for (const stream of this.#streams)
      for (const entry of stream.queue) bytes += entry.bytes.length;
    return bytes;
  }

  /**
   * One or a few round trips.
   * @throws UnknownOutcomeError when Redis did not answer: call reset() before the next take
   */
  async take(leaseValue: string, budget: ReadBudget): Promise<Taken> {
    const units: string[] = [];
    let serverNowMs = 0;
    let nextDueMs: number | null = null;
    for (;;) {
      const count = this.#count(budget);
      // With several types all are read in one script, so that one moment's picture is merged; a
      // stream that still holds a full read waits, and limits the others by its last id.
      const several = this.#streams.length > 1;
      if (budget.events === 0) return await this.#takeDue(leaseValue, budget);
      const wanted = this.#streams.filter(
        (s) => !this.#ended(s) && (s.queue.length === 0 || (several && s.queue.length < count)),
      );
      for (const stream of this.#streams) stream.limit = this.#ended(stream) ? null : stream.lastId;
      const reply = (await take.runBuffer(
        this.#options.connection,
        [this.#options.leaseKey, this.#options.dueKey, ...wanted.map((s) => s.key)],
        [
          leaseValue,
          this.#options.leaseTtlMs,
          this.#options.fn,
          Math.max(0, budget.retryUnits - units.length),
          count,
          this.#options.consumer ?? OWNER,
          ...wanted.map((s) => (s.mode === 'new' ? '>' : s.cursor)),
        ],
      )) as (Buffer | Buffer[])[];
      const kind = String(reply[0]);
      if (kind === 'stale') return { kind: 'stale' };
      if (kind === 'nogroup') return { kind: 'nogroup', message: String(reply[1]) };
      serverNowMs = Number(reply[1]);
      nextDueMs = reply[2] && reply[2].length > 0 ? Number(reply[2]) : null;
      if (units.length === 0) for (const unit of reply[3] as Buffer[]) units.push(unit.toString());
      for (let i = 0; i < wanted.length; i++) {
        this.#receive(wanted[i] as StreamState, (reply[4 + i] ?? []) as Buffer[], count);
      }
      const entries = this.#ready(budget);
      const pendingLeft = this.#streams.some(
        (s) => s.mode === 'pending' || (s.cut && s.queue.length === 0),
      );
      if (entries.length > 0 || units.length > 0 || !pendingLeft) {
        const more = pendingLeft || this.#streams.some((s) => s.cut || s.queue.length > 0);
        return { kind: 'ok', units, entries, serverNowMs, nextDueMs, more };
      }
    }
  }

  /** Retries only: no room for anything new. */
  async #takeDue(leaseValue: string, budget: ReadBudget): Promise<Taken> {
    const { connection, leaseKey, dueKey, leaseTtlMs, fn } = this.#options;
    const reply = (await take.run(
      connection,
      [leaseKey, dueKey],
      [leaseValue, leaseTtlMs, fn, budget.retryUnits, 0, OWNER],
    )) as [string, string, string, string[]];
    if (reply[0] === 'stale') return { kind: 'stale' };
    return {
      kind: 'ok',
      units: reply[3],
      entries: [],
      serverNowMs: Number(reply[1]),
      nextDueMs: reply[2] === '' ? null : Number(reply[2]),
      more: false,
    };
  }

  /** Entries that were delivered before and have not been taken again. */
  get pendingLeft(): boolean {
    return this.#streams.some((stream) => stream.mode === 'pending');
  }

  /** Of `pendingOnly`: all that was pending has been given out. */
  get drained(): boolean {
    return this.#streams.every((stream) => this.#ended(stream) && stream.queue.length === 0);
  }

  #ended(stream: StreamState): boolean {
    return this.#options.pendingOnly === true && stream.mode === 'new';
  }

  #count(budget: ReadBudget): number {
    const byBytes = budget.bytes / this.#meanBytes;
    const byEvents = budget.events / this.#meanEvents;
    return Math.max(1, Math.min(MAX_COUNT, Math.floor(Math.min(byBytes, byEvents))));
  }

  #receive(stream: StreamState, flat: Buffer[], count: number): void {
    const type = this.#streams.indexOf(stream);
    for (let i = 0; i + 3 < flat.length; i += 4) {
      const id = (flat[i] as Buffer).toString('latin1');
      const bytes = flat[i + 1] as Buffer;
      const nText = (flat[i + 2] as Buffer).toString('latin1');
      const cText = (flat[i + 3] as Buffer).toString('latin1');
      const gone = nText === 'gone' && bytes.length === 0;
      const n = gone ? null : parseCount(nText);
      const entry: StreamEntry = {
        id,
        type,
        bytes,
        gone,
        n,
        crc: cText === '' ? null : Number(cText),
        count: n ?? (gone ? 1 : countOrOne(bytes)),
      };
      stream.queue.push(entry);
      this.#meanBytes += (bytes.length - this.#meanBytes) * 0.05;
      this.#meanEvents += (entry.count - this.#meanEvents) * 0.05;
    }
    const got = flat.length / 4;
    const last = stream.queue[stream.queue.length - 1];
    if (last) {
      stream.lastId = last.id;
      this.#options.observed(stream.key, last.id);
    }
    if (stream.mode === 'pending') {
      if (last) stream.cursor = last.id;
      // Beyond the pending list there may be new entries below other streams' ids: cut until '>'
      // was read.
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
    // One flush's entries (same id) stay in one batch: their events are ordered by position across
    // types.
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

function parseCount(text: string): number | null {
  if (text === '') return null;
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
