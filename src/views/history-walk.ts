/**
 * Walks over all histories of a partition, in an order that can be resumed: by id, as bytes.
 * Histories of one id in different categories are one row of a view. Their events are merged by
 * entry id and position, the order in which they were appended.
 *
 * The memory is bounded, whatever the length of the histories: a page of ids, and READ.events or
 * READ.bytes of events (and the last chunk).
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { compareEntryIds } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { parseElement, readIds, readPage, type HistorySource } from '../store/read-history.ts';

const pageScript = defineScript({
  url: new URL('./read-histories.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

const IDS = 500;
/** Histories per round trip. */
const HISTORIES = 200;
const READ = { events: 4096, bytes: 2_097_152 } as const;

/** An event in a history. */
export interface HistoryEvent {
  readonly category: string;
  /** Id of the history, and so of the row. */
  readonly id: string;
  readonly revision: number;
  readonly type: string;
  readonly eventId: string;
  readonly entryId: string;
  readonly position: number;
  /** The history's element: an encoded event. */
  readonly bytes: Buffer;
}

/**
 * The place that a walk has come to. All ids before this id are done, and of this id as many events
 * of each category as `read` says.
 */
export interface WalkPlace {
  readonly id: string;
  readonly read: Readonly<Record<string, number>>;
}

export interface WalkStep {
  /** Null: a page has ended; the step has only a place to resume at. */
  readonly event: HistoryEvent | null;
  readonly place: () => WalkPlace;
}

/**
 * Finds the categories that have histories. Nothing lists them, so all keys of the server, or of
 * the Cluster, are looked through once.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function findCategories({ connection, keys }: RedisSource): Promise<string[]> {
  const pattern = keys.histories(0, '*').replace('{0}', '{*}');
  const [before, behind] = keys.histories(0, '').split('0') as [string, string];
  const found = await withRetry(
    async () => {
      const categories = new Set<string>();
      for await (const names of connection.scan(pattern)) {
        for (const name of names) {
          const end = name.indexOf(behind);
          if (name.startsWith(before) && end > 0) categories.add(name.slice(end + behind.length));
        }
      }
      return categories;
    },
    { deadlineMs: DEADLINE_MS },
  );
  return [...found].sort();
}

interface Subject {
  readonly id: string;
  readonly categories: readonly string[];
}

/**
 * Yields the ids of the partition's histories, from `from` on (included), each once, with the
 * categories that have it.
 */
async function* subjects(
  source: HistorySource,
  partition: number,
  categories: readonly string[],
  from: string | null,
): AsyncGenerator<Subject, void, void> {
  interface Column {
    readonly category: string;
    ids: string[];
    at: number;
    last: string | null;
    more: boolean;
  }
  const columns: Column[] = categories.map((category) => ({
    category,
    ids: [],
    at: 0,
    last: null,
    more: true,
  }));
  if (from !== null) {
    const there = await Promise.all(
      columns.map(({ category }) =>
        withRetry(
          () =>
            source.connection.command('ZSCORE', source.keys.histories(partition, category), from),
          { deadlineMs: source.deadlineMs },
        ),
      ),
    );
    for (const column of columns) column.last = from;
    const having = categories.filter((_, i) => there[i] !== null);
    if (having.length > 0) yield { id: from, categories: having };
  }
  for (;;) {
    for (const column of columns) {
      if (column.at < column.ids.length || !column.more) continue;
      column.ids = await readIds(source, partition, column.category, column.last, IDS);
      column.at = 0;
      column.more = column.ids.length === IDS;
      column.last = column.ids.at(-1) ?? column.last;
    }
    let first: string | null = null;
    for (const { ids, at } of columns) {
      const id = ids[at];
      if (
        id !== undefined &&
        (first === null || Buffer.compare(Buffer.from(id), Buffer.from(first)) < 0)
      )
        first = id;
    }
    if (first === null) return;
    const having: string[] = [];
    for (const column of columns) {
      if (column.ids[column.at] !== first) continue;
      column.at++;
      having.push(column.category);
    }
    yield { id: first, categories: having };
  }
}

/** One history of the id that is being merged. */
interface OpenHistory {
  readonly category: string;
  /** Elements read, and not yielded yet. */
  elements: readonly Buffer[];
  at: number;
  /** Events yielded or passed over. */
  read: number;
  /** Number of events at the first look. Later events are not part of the walk. */
  readonly revision: number;
  head: HistoryEvent | null;
}

/** Yields the events of one id's histories, merged. */
async function* merged(
  source: HistorySource,
  partition: number,
  id: string,
  histories: OpenHistory[],
): AsyncGenerator<WalkStep, void, void> {
  const place = (): WalkPlace => placeOf(id, histories);
  for (;;) {
    let first: OpenHistory | null = null;
    for (const history of histories) {
      if (history.head === null && history.read < history.revision) {
        if (history.at === history.elements.length) {
          const page = await readPage(
            source,
            { partition, category: history.category, id },
            { first: history.read + 1, last: history.revision },
          );
          if (page.elements.length === 0) history.read = history.revision;
          history.elements = page.elements;
          history.at = 0;
        }
        const bytes = history.elements[history.at];
        if (bytes !== undefined) history.head = toEvent(partition, history, id, bytes);
      }
      if (
        history.head !== null &&
        (first === null || isBefore(history.head, first.head as HistoryEvent))
      )
        first = history;
    }
    if (first === null) return;
    const event = first.head;
    first.head = null;
    first.at++;
    first.read++;
    yield { event, place };
  }
}

function placeOf(id: string, histories: readonly OpenHistory[]): WalkPlace {
  return { id, read: Object.fromEntries(histories.map(({ category, read }) => [category, read])) };
}

async function lengthOf(
  source: HistorySource,
  partition: number,
  category: string,
  id: string,
): Promise<number> {
  return (await readPage(source, { partition, category, id }, { first: 1, last: 0, events: 0 }))
    .revision;
}

async function readBeginnings(
  { connection, keys, deadlineMs }: HistorySource,
  partition: number,
  ids: readonly Subject[],
): Promise<Buffer[][]> {
  const histories = ids.flatMap(({ id, categories }) =>
    categories.map((category) => keys.history(partition, category, id)),
  );
  return (await withRetry(
    () => pageScript.runBuffer(connection, histories, [READ.events, READ.bytes]),
    { deadlineMs },
  )) as Buffer[][];
}

function toEvent(
  partition: number,
  { category, read }: OpenHistory,
  id: string,
  bytes: Buffer,
): HistoryEvent {
  const { header, type, entryId } = parseElement(bytes, { partition, category, id }, read + 1);
  return {
    category,
    id,
    revision: read + 1,
    type,
    eventId: header.id,
    entryId,
    position: header.position,
    bytes,
  };
}

function isBefore(a: HistoryEvent, b: HistoryEvent): boolean {
  return (compareEntryIds(a.entryId, b.entryId) || a.position - b.position) < 0;
}

/**
 * Yields all events of the partition's histories. A page ends with a step without an event, and so
 * does the walk.
 * @throws CorruptDataError naming history and revision, UnknownOutcomeError, RedisReplyError
 */
export async function* walkHistories(
  deployment: RedisSource,
  partition: number,
  categories: readonly string[],
  from: WalkPlace | null,
): AsyncGenerator<WalkStep, void, void> {
  const source: HistorySource = {
    connection: deployment.connection,
    keys: deployment.keys,
    deadlineMs: DEADLINE_MS,
  };
  let page: Subject[] = [];
  let histories = 0;
  const flush = async function* (): AsyncGenerator<WalkStep, void, void> {
    for (let next = 0; next < page.length;) {
      const rest = page.slice(next);
      const read = await readBeginnings(source, partition, rest);
      let place: WalkPlace | null = null;
      let at = 0;
      for (const { id, categories: having } of rest) {
        // The budget was used up before this id: the next round asks for it again. The budget
        // always reaches the first id, and merged() reads the rest of that one.
        if (at >= read.length) break;
        const open: OpenHistory[] = [];
        for (const category of having) {
          const [length, ...elements] = read[at++] ?? [];
          const behind = from?.id === id ? (from.read[category] ?? 0) : 0;
          const revision = length
            ? Number(length.toString('latin1'))
            : await lengthOf(source, partition, category, id);
          open.push({
            category,
            elements,
            at: Math.min(behind, elements.length),
            read: behind,
            revision,
            head: null,
          });
        }
        yield* merged(source, partition, id, open);
        place = placeOf(id, open);
        next++;
      }
      const end = place;
      if (end) yield { event: null, place: () => end };
    }
    page = [];
    histories = 0;
  };
  for await (const subject of subjects(source, partition, categories, from?.id ?? null)) {
    page.push(subject);
    histories += subject.categories.length;
    if (histories >= HISTORIES) yield* flush();
  }
  yield* flush();
}

/**
 * Reads all events of one id's histories, merged. Null: there are more than `most`.
 * @throws CorruptDataError, UnknownOutcomeError, RedisReplyError
 */
export async function readSubject(
  deployment: RedisSource,
  partition: number,
  categories: readonly string[],
  id: string,
  most: { readonly events: number; readonly bytes: number },
): Promise<HistoryEvent[] | null> {
  const source: HistorySource = {
    connection: deployment.connection,
    keys: deployment.keys,
    deadlineMs: DEADLINE_MS,
  };
  const open: OpenHistory[] = [];
  for (const category of categories) {
    const revision = await lengthOf(source, partition, category, id);
    if (revision > 0) open.push({ category, elements: [], at: 0, read: 0, revision, head: null });
  }
  const events: HistoryEvent[] = [];
  let bytes = 0;
  for await (const { event } of merged(source, partition, id, open)) {
    if (event === null) continue;
    events.push(event);
    bytes += event.bytes.length;
    if (events.length > most.events || bytes > most.bytes) return null;
  }
  return events;
}
