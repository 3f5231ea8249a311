/**
 * Entries of many streams in the order of their time, the newest or the oldest first. Each stream
 * is read a page at a time. The memory is bounded: where pages have too many bytes, those that are
 * needed last are dropped, and read again later.
 */
import { compareEntryIds } from '../core/position.ts';
import type { RedisSpace } from '../redis/source.ts';
import { countEntry, entryFields } from '../wire/count-entry.ts';
import type { RedisShare } from './redis-share.ts';

export interface ScannedStream {
  readonly partition: number;
  readonly type: string;
}

/** An entry of a stream. */
export interface ScannedEntry extends ScannedStream {
  readonly entryId: string;
  readonly bytes: Buffer;
  /** Checksum that the entry gives; null: none. */
  readonly crc: number | null;
  /** Ordinal of the entry's last event; null: a foreign entry. */
  readonly ordinal: number | null;
  /** Number of its events. */
  readonly count: number;
}

export interface MergeOptions {
  readonly source: RedisSpace;
  readonly streams: readonly ScannedStream[];
  readonly order: 'newest' | 'oldest';
  /** First entry id of the scan, as XREVRANGE or XRANGE takes it. */
  readonly from: string;
  /** Last entry id of the scan. */
  readonly to: string;
  readonly share: RedisShare;
  readonly signal?: AbortSignal | undefined;
  /** Most bytes of all pages, beside the page that is read at the moment. Default MOST_BYTES. */
  readonly mostBytes?: number;
}

/** A stream's first page has one entry. Its pages grow while they stay small. */
const PAGE = { entries: 64, bytes: 262_144 } as const;
/** Streams read at once. */
const PARALLEL = 16;
const MOST_BYTES = 16_777_216;

type RawEntry = [id: Buffer, fields: Buffer[]];

/** A stream of which entries are left. */
class StreamHead {
  readonly partition: number;
  readonly type: string;
  readonly key: string;
  /** Id of the next entry. */
  id = '';
  /** Place at which the next page begins. */
  from: string;
  /** Entries that were read, the next one first. Empty: the page was dropped. */
  page: RawEntry[] = [];
  bytes = 0;
  /** Entries of the next page. */
  count = 1;

  constructor({ partition, type }: ScannedStream, key: string, from: string) {
    this.partition = partition;
    this.type = type;
    this.key = key;
    this.from = from;
  }

  /** Takes the next entry off the page. */
  take(): RawEntry {
    const entry = this.page.shift() as RawEntry;
    this.bytes -= sizeOf(entry);
    const next = this.page[0];
    if (next === undefined) this.from = `(${idOf(entry)}`;
    else this.id = idOf(next);
    return entry;
  }

  fill(page: RawEntry[]): void {
    this.page = page;
    this.bytes = page.reduce((sum, entry) => sum + sizeOf(entry), 0);
    if (page[0]) this.id = idOf(page[0]);
    const small = this.bytes * 2 <= PAGE.bytes;
    this.count = small ? Math.min(PAGE.entries, this.count * 2) : Math.max(1, this.count >> 1);
  }

  /** Forgets the page, which is read again from its first entry on. */
  drop(): void {
    this.from = this.id;
    this.page = [];
    this.bytes = 0;
  }
}

export class EntryMerge {
  readonly #options: MergeOptions;
  /** Streams with entries left. The last one has the next entry. */
  readonly #heads: StreamHead[] = [];
  #opened = false;

  constructor(options: MergeOptions) {
    this.#options = options;
  }

  /**
   * Returns the next entries: those of one partition with one id, which are one flush. Null: there
   * are no more, or the signal was aborted.
   * @throws UnknownOutcomeError, RedisReplyError
   */
  async next(): Promise<ScannedEntry[] | null> {
    if (!this.#opened) await this.#open();
    for (;;) {
      const first = this.#heads.at(-1);
      if (first === undefined || this.#aborted) return null;
      const { partition, id } = first;
      const group: ScannedEntry[] = [];
      for (let head = this.#nextOf(partition, id); head; head = this.#nextOf(partition, id)) {
        const entry = await this.#takeFrom(head, id);
        if (entry !== null) group.push(entry);
      }
      if (group.length > 0) return group;
    }
  }

  get #aborted(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  /** Takes off the last head, where it is of this partition and id. */
  #nextOf(partition: number, id: string): StreamHead | null {
    const last = this.#heads.at(-1);
    if (last === undefined || last.partition !== partition || last.id !== id) return null;
    return this.#heads.pop() as StreamHead;
  }

  /** Returns the head's entry. Null: it was trimmed while its page was dropped. */
  async #takeFrom(head: StreamHead, id: string): Promise<ScannedEntry | null> {
    if (head.page.length === 0) await this.#fill(head);
    if (head.page.length === 0) return null;
    let entry: ScannedEntry | null = null;
    if (head.id === id) {
      entry = scannedEntry(head, head.take());
      if (head.page.length === 0) await this.#fill(head);
    }
    if (head.page.length > 0) this.#insert(head);
    return entry;
  }

  async #open(): Promise<void> {
    this.#opened = true;
    const { streams, source, from } = this.#options;
    for (let i = 0; i < streams.length && !this.#aborted; i += PARALLEL) {
      const heads = streams
        .slice(i, i + PARALLEL)
        .map((stream) => new StreamHead(stream, keyOf(source, stream), from));
      await this.#options.share.spend(heads.length, () =>
        Promise.all(heads.map((head) => this.#read(head))),
      );
      for (const head of heads) if (head.page.length > 0) this.#insert(head);
      this.#dropFar();
    }
  }

  async #fill(head: StreamHead): Promise<void> {
    await this.#options.share.spend(1, () => this.#read(head));
    this.#dropFar(head.bytes);
  }

  async #read(head: StreamHead): Promise<void> {
    const { source, order, to } = this.#options;
    const page = await source.connection.commandBuffer(
      order === 'newest' ? 'XREVRANGE' : 'XRANGE',
      head.key,
      head.from,
      to,
      'COUNT',
      head.count,
    );
    head.fill(page as RawEntry[]);
  }

  /**
   * Drops the pages that are needed last, while all pages have too many bytes.
   * @param more bytes of a page that is in no head
   */
  #dropFar(more = 0): void {
    const { mostBytes = MOST_BYTES } = this.#options;
    let held = more;
    for (const head of this.#heads) held += head.bytes;
    for (const head of this.#heads) {
      if (held <= mostBytes) return;
      held -= head.bytes;
      head.drop();
    }
  }

  #insert(head: StreamHead): void {
    let low = 0;
    let high = this.#heads.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBefore(head, this.#heads[middle] as StreamHead)) low = middle + 1;
      else high = middle;
    }
    this.#heads.splice(low, 0, head);
  }

  /** Whether the entry of `a` is to be returned before that of `b`. */
  #isBefore(a: StreamHead, b: StreamHead): boolean {
    const byId = compareEntryIds(a.id, b.id);
    if (byId !== 0) return this.#options.order === 'newest' ? byId > 0 : byId < 0;
    return a.partition < b.partition;
  }
}

function keyOf({ keys }: RedisSpace, { partition, type }: ScannedStream): string {
  return keys.events(partition, type);
}

export function scannedEntry(
  { partition, type }: ScannedStream,
  [id, fields]: RawEntry,
): ScannedEntry {
  const { bytes, crc, ordinal } = entryFields(fields);
  return {
    partition,
    type,
    entryId: id.toString('latin1'),
    bytes,
    crc: crc === '' ? null : Number(crc),
    ordinal,
    count: countEntry(fields),
  };
}

function idOf([id]: RawEntry): string {
  return id.toString('latin1');
}

function sizeOf([, fields]: RawEntry): number {
  let bytes = 64;
  for (const field of fields) bytes += field.length;
  return bytes;
}
