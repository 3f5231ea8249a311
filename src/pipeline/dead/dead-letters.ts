/**
 * Reads dead letters. A letter's id, `<function>/<partition>/<entry id>`, says where the letter is.
 *
 * Texts of a letter (subject, ids, messages) come from producers and user code. Print them only
 * through a filter for control characters.
 */
import { UnknownEventTypeError } from '../../core/errors/input-errors.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { FUNCTION_PATTERN } from '../../core/function-spec.ts';
import { checkText } from '../../core/well-formed.ts';
import type { RedisSource } from '../../redis/source.ts';
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
}

export interface DeadLetterFilter {
  readonly function?: string | undefined;
  readonly type?: string | undefined;
  readonly subject?: string | undefined;
  readonly reason?: string | undefined;
  readonly eventId?: string | undefined;
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
 *   InvalidTextError
 */
export async function* listDeadLetters(
  source: DeadLetterSource,
  filter: DeadLetterFilter = {},
): AsyncGenerator<DeadLetter> {
  for (const [name, what] of FILTERED)
    if (filter[name] !== undefined) checkText(what, filter[name]);
  let left = filter.limit ?? Infinity;
  if (left <= 0) return;
  if (filter.ids) {
    const places = filter.ids.map((id) => parseLetterId(id, source.partitions));
    const states = await readPartitions(source);
    for (const { fn } of places) requireFunction(states, fn);
    for (const { fn, partition, letterId } of places) {
      const letter = await fetchLetter(source, fn, partition, letterId);
      if (!letter || !matches(letter, filter)) continue;
      yield letter;
      if (--left <= 0) return;
    }
    return;
  }
  const states = await readPartitions(source);
  if (filter.type !== undefined) {
    const types = knownTypes(states);
    if (!types.has(filter.type)) throw new UnknownEventTypeError(filter.type, [...types].sort());
  }
  if (filter.function !== undefined) requireFunction(states, filter.function);
  for (const [fn, partitions] of placesOf(states, filter.function)) {
    for (const partition of partitions) {
      for await (const letter of lettersOf(source, fn, partition)) {
        if (!matches(letter, filter)) continue;
        yield letter;
        if (--left <= 0) return;
      }
    }
  }
}

/** @throws DeadLetterNotFoundError, DeadLetterIdError */
export async function getDeadLetter(source: DeadLetterSource, id: string): Promise<DeadLetter> {
  const { fn, partition, letterId } = parseLetterId(id, source.partitions);
  const letter = await fetchLetter(source, fn, partition, letterId);
  if (!letter) throw new DeadLetterNotFoundError(id);
  return letter;
}

/** Yields a function's letters of one partition, oldest first. Reads them page by page. */
export async function* lettersOf(
  source: DeadLetterSource,
  fn: string,
  partition: number,
  after = '0-0',
): AsyncGenerator<DeadLetter> {
  const key = source.keys.dead(partition, fn);
  let cursor = after;
  for (;;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      key,
      `(${cursor}`,
      '+',
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
  };
}

function kindOf(text: string): DeadLetter['kind'] {
  return text === 'entry' || text === 'record' ? text : 'event';
}

/** A history that cannot be read is empty, so that the letter is shown all the same. */
function parseHistory(json: string): DeadLetterAttempt[] {
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch {
    return [];
  }
  if (!Array.isArray(list)) return [];
  return list
    .filter((h): h is Record<string, unknown> => typeof h === 'object' && h !== null)
    .map((h) => ({
      atMs: Number(h['at']) || 0,
      attempt: Number(h['attempt']) || 0,
      name: String(h['name'] ?? ''),
      message: String(h['message'] ?? ''),
      ...causeOf(h['cause']),
    }));
}

/** Only an error with a cause has the field. */
function causeOf(cause: unknown): { cause?: string } {
  return typeof cause === 'string' && cause !== '' ? { cause } : {};
}
