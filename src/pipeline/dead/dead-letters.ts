/**
 * Reads dead letters. A letter's id, `<function>/<partition>/<entry id>`, says where the letter is.
 *
 * Texts of a letter (subject, ids, messages) come from producers and user code. Print them only
 * through a filter for control characters.
 */
import { UnknownEventTypeError } from '../../core/errors/input-errors.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { FUNCTION_PATTERN } from '../../core/function-spec.ts';
import { FINGERPRINT_PATTERN } from '../../core/letter-fingerprint.ts';
import { checkText } from '../../core/well-formed.ts';
import type { RedisSource } from '../../redis/source.ts';
import { checkGroup, countedIn, GROUPS, readPlaces, type GroupsOfPlace } from './letter-groups.ts';
import { RECORD_STORES } from './set-record-aside.ts';
import {
  knownTypes,
  readPartitions,
  requireFunction,
  type PartitionState,
} from '../../redis/counters.ts';

export interface DeadLetterAttempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** Causes of the error, in one line. Absent: none are known. */
  readonly cause?: string;
}

export interface DeadLetter {
  readonly id: string;
  readonly function: string;
  readonly partition: number;
  /** Entry id in the stream of dead letters. */
  readonly letterId: string;
  /**
   * `entry`: a stream entry that could not be decoded. `record`: an unreadable record of a parked
   * list, of the outbox or of the schedule. `function` is in RECORD_STORES for the latter two.
   */
  readonly kind: 'event' | 'entry' | 'record';
  readonly type: string;
  readonly subject: string;
  readonly eventId: string;
  /** Place: entry id in the type's stream, index in the entry, position in the flush. */
  readonly entryId: string;
  readonly index: number;
  readonly position: number;
  readonly reason: string;
  /** The last error. See DeadLetterAttempt for its cause. */
  readonly error: {
    readonly name: string;
    readonly message: string;
    readonly stack: string;
    readonly cause?: string;
  };
  readonly attempts: number;
  /** Server time, ms since 1970. */
  readonly firstFailedMs: number;
  readonly lastFailedMs: number;
  readonly dispatcher: string;
  readonly version: string;
  /** Number of events that the letter stands for. */
  readonly events: number;
  readonly history: readonly DeadLetterAttempt[];
  /** By kind: the Event message of an event, the field `b` of an entry, the whole record. */
  readonly bytes: Buffer;
  /**
   * Source of the batch that the event came with: it counts where the event names no source itself.
   * Empty: there is none, it is not known, or the letter is of another kind.
   */
  readonly batchSource: Buffer;
  /** Group of the letter (src/core/letter-fingerprint.ts). '': an older version wrote it. */
  readonly fingerprint: string;
  /** Bytes of the event before its first edit. Null: the event was not edited. */
  readonly original: Buffer | null;
  readonly edits: readonly LetterEdit[];
}

/** An edit of a dead event's data. */
export interface LetterEdit {
  /** Names the edit. */
  readonly key: string;
  /** Server time, ms since 1970. */
  readonly atMs: number;
  /** Person or program that asked for the edit. */
  readonly by: string;
  /** Id of the schema that the new data is encoded with. 0: none. */
  readonly schema: number;
  /** Length of the event before and after the edit, bytes. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface DeadLetterFilter {
  readonly function?: string | undefined;
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  readonly reason?: string | undefined;
  readonly eventId?: string | undefined;
  /** Group of the letters: a fingerprint, or a name of GROUPS. */
  readonly group?: string | undefined;
  /**
   * Last letter of each place, `<function>/<partition>` -> entry id. Later letters, and those of
   * other places, are left out. Default: no bound.
   */
  readonly upTo?: ReadonlyMap<string, string> | undefined;
  /** Id of the letter behind which to go on, in the order of the list. Default: from the start. */
  readonly after?: string | undefined;
  /** Ids of the only letters to look at. Default: all letters. */
  readonly ids?: readonly string[] | undefined;
  /** Most letters to return. Default: no limit. */
  readonly limit?: number | undefined;
}

/**
 * The text is not of the form `<function>/<partition>/<entry id>`, or names a partition that does
 * not exist.
 */
export class DeadLetterIdError extends MillraceError {
  readonly code = 'DEAD_LETTER_ID';
  constructor(id: string, problem: string) {
    super(
      `${JSON.stringify(id)} is no id of a dead letter: ${problem}. Ids look like inventory/3/1795450694309-0; dlq list prints them`,
    );
  }
}

export class DeadLetterNotFoundError extends MillraceError {
  readonly code = 'DEAD_LETTER_NOT_FOUND';
  readonly id: string;
  constructor(id: string) {
    super(`there is no dead letter ${id} (any more): it was replayed or purged, or never existed`);
    this.id = id;
  }
}

const FILTERED = [
  ['function', 'the function'],
  ['type', 'the type'],
  ['subject', 'the subject'],
  ['reason', 'the reason'],
  ['eventId', 'the event id'],
] as const;

export type DeadLetterSource = RedisSource;

const STORE_NAMES: ReadonlySet<string> = new Set(Object.values(RECORD_STORES));

/** Letters in memory at a time: each may have some hundred kilobytes. */
const PAGE = 32;

export function formatLetterId(fn: string, partition: number, letterId: string): string {
  return `${fn}/${partition}/${letterId}`;
}

/** @throws DeadLetterIdError */
export function parseLetterId(
  id: string,
  partitions: number,
): { fn: string; partition: number; letterId: string } {
  const match = /^([^/]+)\/(\d{1,4})\/(\d{1,20}-\d{1,20})$/.exec(id);
  if (!match || !(FUNCTION_PATTERN.test(match[1] as string) || STORE_NAMES.has(match[1] as string)))
    throw new DeadLetterIdError(id.slice(0, 200), 'its form is wrong');
  const partition = Number(match[2]);
  if (partition >= partitions)
    throw new DeadLetterIdError(id, `this deployment has the partitions 0 to ${partitions - 1}`);
  return { fn: match[1] as string, partition, letterId: match[3] as string };
}

/**
 * Yields letters by function, then partition, then age, oldest first. Letters that are there all
 * the time are among them. Letters that arrive meanwhile may be. The caller may purge or replay a
 * letter as soon as it was yielded.
 * @throws UnknownFunctionError: the filter, or an id, names a function that nobody registered.
 *   UnknownEventTypeError: the deployment has never seen the filter's type. DeadLetterIdError.
 *   LetterGroupError. InvalidTextError
 */
export async function* listDeadLetters(
  source: DeadLetterSource,
  filter: DeadLetterFilter = {},
): AsyncGenerator<DeadLetter> {
  checkFilter(filter);
  let left = filter.limit ?? Infinity;
  if (left <= 0) return;
  const states = await readPartitions(source);
  const group = filter.group === undefined ? null : await findGroup(source, states, filter.group);
  const letters = filter.ids
    ? namedLetters(source, states, filter.ids)
    : lettersAt(source, chosenPlaces(source, states, filter, group));
  for await (const letter of letters) {
    if (!matches(letter, filter) || (group && !group.has(letter))) continue;
    yield letter;
    if (--left <= 0) return;
  }
}

/** @throws LetterGroupError, InvalidTextError */
function checkFilter(filter: DeadLetterFilter): void {
  for (const [name, what] of FILTERED)
    if (filter[name] !== undefined) checkText(what, filter[name]);
  if (filter.group !== undefined) checkGroup(filter.group);
}

/** The places where letters of a filter may be, and the test of a letter. */
export interface LetterChoice {
  readonly places: readonly LetterPlaceRange[];
  has(letter: DeadLetter): boolean;
}

/**
 * Looks up where letters of a filter may be. Reads no letter.
 * @throws as listDeadLetters
 */
export async function chooseLetters(
  source: DeadLetterSource,
  filter: Omit<DeadLetterFilter, 'ids' | 'limit'>,
): Promise<LetterChoice> {
  checkFilter(filter);
  const states = await readPartitions(source);
  const group = filter.group === undefined ? null : await findGroup(source, states, filter.group);
  return {
    places: chosenPlaces(source, states, filter, group),
    has: (letter) => matches(letter, filter) && (group === null || group.has(letter)),
  };
}

async function* namedLetters(
  source: DeadLetterSource,
  states: readonly PartitionState[],
  ids: readonly string[],
): AsyncGenerator<DeadLetter> {
  const places = ids.map((id) => parseLetterId(id, source.partitions));
  for (const { fn } of places) requireFunction(states, fn);
  for (const { fn, partition, letterId } of places) {
    const letter = await fetchLetter(source, fn, partition, letterId);
    if (letter) yield letter;
  }
}

/** A stream of letters, or a part of it. */
export interface LetterPlaceRange {
  readonly fn: string;
  readonly partition: number;
  /** Entry id behind which to begin. */
  readonly after: string;
  /** Entry id of the last letter; '+': no bound. */
  readonly upTo: string;
}

async function* lettersAt(
  source: DeadLetterSource,
  places: readonly LetterPlaceRange[],
): AsyncGenerator<DeadLetter> {
  for (const { fn, partition, after, upTo } of places)
    yield* lettersOf(source, fn, partition, after, upTo);
}

/** @throws UnknownEventTypeError, UnknownFunctionError, DeadLetterIdError */
function chosenPlaces(
  source: DeadLetterSource,
  states: readonly PartitionState[],
  filter: DeadLetterFilter,
  group: FoundGroup | null,
): readonly LetterPlaceRange[] {
  if (filter.type !== undefined) {
    const types = knownTypes(states);
    if (!types.has(filter.type)) throw new UnknownEventTypeError(filter.type, [...types].sort());
  }
  if (filter.function !== undefined) requireFunction(states, filter.function);
  const after = filter.after === undefined ? null : parseLetterId(filter.after, source.partitions);
  const out: LetterPlaceRange[] = [];
  for (const [fn, partitions] of placesOf(states, filter.function)) {
    for (const partition of partitions) {
      const upTo = filter.upTo === undefined ? '+' : filter.upTo.get(`${fn}/${partition}`);
      if (upTo === undefined || group?.mayBeAt(fn, partition) === false) continue;
      const order = after === null ? 1 : comparePlaces({ fn, partition }, after);
      if (order < 0) continue;
      out.push({ fn, partition, upTo, after: order === 0 ? (after?.letterId ?? '0-0') : '0-0' });
    }
  }
  return out;
}

/** Compares in the order of listDeadLetters. */
function comparePlaces(
  a: { readonly fn: string; readonly partition: number },
  b: { readonly fn: string; readonly partition: number },
): number {
  return a.fn === b.fn ? a.partition - b.partition : a.fn < b.fn ? -1 : 1;
}

/** A group as the counts have it now. */
interface FoundGroup {
  mayBeAt(fn: string, partition: number): boolean;
  has(letter: DeadLetter): boolean;
}

async function findGroup(
  source: DeadLetterSource,
  states: readonly PartitionState[],
  group: string,
): Promise<FoundGroup> {
  const places = new Map<string, GroupsOfPlace>();
  for (const place of await readPlaces(source, states, undefined))
    places.set(`${place.fn}/${place.partition}`, place);
  const counted = (fn: string, partition: number, field: string): boolean =>
    places.get(`${fn}/${partition}`)?.groups.has(field) ?? false;
  // Letters that count nowhere: an older version wrote them, or the counts are lost.
  const uncounted = (fn: string, partition: number): boolean => {
    const place = places.get(`${fn}/${partition}`);
    return place !== undefined && countedIn(place) < place.letters;
  };
  if (group === GROUPS.unclassified) {
    return {
      mayBeAt: uncounted,
      has: ({ function: fn, partition, fingerprint }) =>
        fingerprint === '' ||
        (!counted(fn, partition, fingerprint) && !counted(fn, partition, GROUPS.other)),
    };
  }
  if (group === GROUPS.other) {
    return {
      mayBeAt: (fn, partition) => counted(fn, partition, GROUPS.other),
      has: ({ function: fn, partition, fingerprint }) =>
        fingerprint !== '' && !counted(fn, partition, fingerprint),
    };
  }
  return {
    // A letter of the group may have come while the function had too many groups.
    mayBeAt: (fn, partition) =>
      counted(fn, partition, group) ||
      counted(fn, partition, GROUPS.other) ||
      uncounted(fn, partition),
    has: ({ fingerprint }) => fingerprint === group,
  };
}

/** @throws DeadLetterNotFoundError, DeadLetterIdError */
export async function getDeadLetter(source: DeadLetterSource, id: string): Promise<DeadLetter> {
  const { fn, partition, letterId } = parseLetterId(id, source.partitions);
  const letter = await fetchLetter(source, fn, partition, letterId);
  if (!letter) throw new DeadLetterNotFoundError(id);
  return letter;
}

/**
 * Yields a function's letters of one partition, oldest first. Reads them page by page.
 * @param upTo entry id of the last letter; '+': no bound
 */
export async function* lettersOf(
  source: DeadLetterSource,
  fn: string,
  partition: number,
  after = '0-0',
  upTo = '+',
): AsyncGenerator<DeadLetter> {
  const key = source.keys.dead(partition, fn);
  let cursor = after;
  for (;;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      key,
      `(${cursor}`,
      upTo,
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    for (const [id, fields] of page) {
      cursor = id.toString('latin1');
      yield parseLetter(fn, partition, cursor, fields);
    }
    if (page.length < PAGE) return;
  }
}

/**
 * Reads letters of one place backwards, the newest first.
 * @param from entry id of the newest one, as XREVRANGE takes it: '+', an id, or '(' and an id
 */
export async function newestLetters(
  source: DeadLetterSource,
  { fn, partition }: Pick<LetterPlaceRange, 'fn' | 'partition'>,
  from: string,
  most: number,
): Promise<DeadLetter[]> {
  const page = (await source.connection.commandBuffer(
    'XREVRANGE',
    source.keys.dead(partition, fn),
    from,
    '-',
    'COUNT',
    most,
  )) as [Buffer, Buffer[]][];
  return page.map(([id, fields]) => parseLetter(fn, partition, id.toString('latin1'), fields));
}

function* placesOf(
  states: readonly PartitionState[],
  only: string | undefined,
): Generator<[string, number[]]> {
  const byName = new Map<string, number[]>();
  for (const { partition, functions } of states) {
    for (const { name } of functions) {
      if (only !== undefined && name !== only) continue;
      const partitions = byName.get(name);
      if (partitions) partitions.push(partition);
      else byName.set(name, [partition]);
    }
  }
  for (const name of [...byName.keys()].sort()) yield [name, byName.get(name) as number[]];
}

async function fetchLetter(
  source: DeadLetterSource,
  fn: string,
  partition: number,
  letterId: string,
): Promise<DeadLetter | null> {
  const found = (await source.connection.commandBuffer(
    'XRANGE',
    source.keys.dead(partition, fn),
    letterId,
    letterId,
  )) as [Buffer, Buffer[]][];
  return found[0] ? parseLetter(fn, partition, found[0][0].toString('latin1'), found[0][1]) : null;
}

function matches(letter: DeadLetter, filter: DeadLetterFilter): boolean {
  return (
    (filter.function === undefined || filter.function === letter.function) &&
    (filter.type === undefined || filter.type === letter.type) &&
    (filter.subject === undefined || filter.subject === letter.subject) &&
    (filter.reason === undefined || filter.reason === letter.reason) &&
    (filter.eventId === undefined || filter.eventId === letter.eventId)
  );
}

function parseLetter(
  fn: string,
  partition: number,
  letterId: string,
  fields: readonly Buffer[],
): DeadLetter {
  const found = new Map<string, Buffer>();
  for (let i = 0; i + 1 < fields.length; i += 2)
    found.set((fields[i] as Buffer).toString('latin1'), fields[i + 1] as Buffer);
  const text = (name: string): string => found.get(name)?.toString('utf8') ?? '';
  const number = (name: string, otherwise = 0): number => {
    const value = Number(text(name));
    return text(name) !== '' && Number.isFinite(value) ? value : otherwise;
  };
  return {
    id: formatLetterId(fn, partition, letterId),
    function: fn,
    partition,
    letterId,
    kind: kindOf(text('kind')),
    type: text('type'),
    subject: text('subject'),
    eventId: text('id'),
    entryId: text('entry'),
    index: number('index'),
    position: number('position'),
    reason: text('reason'),
    error: {
      name: text('name'),
      message: text('message'),
      stack: text('stack'),
      ...causeOf(text('cause')),
    },
    attempts: number('attempts'),
    firstFailedMs: number('first'),
    lastFailedMs: number('last'),
    dispatcher: text('dispatcher'),
    version: text('version'),
    events: number('events', 1),
    history: parseHistory(text('history')),
    bytes: found.get('event') ?? Buffer.alloc(0),
    batchSource: found.get('source') ?? Buffer.alloc(0),
    fingerprint: fingerprintIn(text('fingerprint')),
    original: found.get('original') ?? null,
    edits: parseEdits(text('edits')),
  };
}

function kindOf(text: string): DeadLetter['kind'] {
  return text === 'entry' || text === 'record' ? text : 'event';
}

/** Another program may have written any text. Such a letter counts as unclassified. */
function fingerprintIn(text: string): string {
  return FINGERPRINT_PATTERN.test(text) ? text : '';
}

/** A history that cannot be read is empty, so that the letter is shown all the same. */
function parseHistory(json: string): DeadLetterAttempt[] {
  return recordsIn(json).map((h) => ({
    atMs: Number(h['at']) || 0,
    attempt: Number(h['attempt']) || 0,
    name: String(h['name'] ?? ''),
    message: String(h['message'] ?? ''),
    ...causeOf(h['cause']),
  }));
}

function parseEdits(json: string): LetterEdit[] {
  return recordsIn(json).map((edit) => ({
    key: String(edit['key'] ?? ''),
    atMs: Number(edit['at']) || 0,
    by: String(edit['by'] ?? ''),
    schema: Number(edit['schema']) || 0,
    bytesBefore: Number(edit['before']) || 0,
    bytesAfter: Number(edit['after']) || 0,
  }));
}

/** Returns the objects of a JSON list. Any other text has none. */
function recordsIn(json: string): Record<string, unknown>[] {
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch {
    return [];
  }
  if (!Array.isArray(list)) return [];
  return list.filter(
    (one): one is Record<string, unknown> => typeof one === 'object' && one !== null,
  );
}

/** Only an error with a cause has the field. */
function causeOf(cause: unknown): { cause?: string } {
  return typeof cause === 'string' && cause !== '' ? { cause } : {};
}
