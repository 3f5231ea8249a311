/** One round: compares Millrace and the oracle on the same data and on the same bytes. */
import { isDeepStrictEqual } from 'node:util';
import type { DescMessage } from '@bufbuild/protobuf';
import { CorruptDataError } from '../../src/core/errors/data-errors.ts';
import { createCatalog, type Catalog } from '../../src/wire/catalog.ts';
import {
  countEvents,
  readEvent,
  scanBatch,
  walkBatch,
  walkSubjects,
} from '../../src/wire/batch-reader.ts';
import type { EventHeader } from '../../src/wire/event-header.ts';
import { damaged, dataOf, rawMessage, type Random } from './generate.ts';
import {
  BeyondError,
  comparable,
  compileOracle,
  readByOracle,
  writeByOracle,
  type Data,
} from './oracle.ts';
import { cleaned, InvalidError } from './referee.ts';
import { FILES, TYPES, type DiffType } from './schema.ts';

export interface Differential {
  readonly catalog: Catalog;
  readonly message: (name: string) => DescMessage;
}

/** Number of cases of each kind. */
export type Tally = Record<
  'written' | 'read' | 'refused' | 'beyond' | 'batches' | 'brokenBatches',
  number
>;

export class Difference extends Error {}

/** @param root path of the project */
export function createDifferential(root: string): Differential {
  return { catalog: createCatalog(FILES), message: compileOracle(FILES, root) };
}

export function newTally(): Tally {
  return { written: 0, read: 0, refused: 0, beyond: 0, batches: 0, brokenBatches: 0 };
}

/**
 * Compares one round of random cases.
 * @throws Difference with all that reproduces it
 */
export function compareRound(
  { catalog, message }: Differential,
  random: Random,
  tally: Tally,
): void {
  const names = Object.keys(TYPES) as DiffType[];
  const type = names[random(names.length)] as DiffType;
  const desc = message(TYPES[type]);
  compareWriting(catalog, type, desc, dataOf(random, desc), tally);
  const bytes = rawMessage(random, desc);
  compareReading(catalog, type, desc, bytes, tally);
  compareReading(catalog, type, desc, damaged(random, bytes), tally);
  const batch = rawMessage(random, message('millrace.v1.EventBatch'));
  compareBatch(message('millrace.v1.EventBatch'), batch, tally);
  compareBatch(message('millrace.v1.EventBatch'), damaged(random, batch), tally);
}

function differ(what: string, bytes: Uint8Array, ours: unknown, theirs: unknown): never {
  const show = (value: unknown): string =>
    value instanceof Error
      ? String(value)
      : JSON.stringify(value, (_, one: unknown) =>
          Object.is(one, -0)
            ? '-0'
            : typeof one === 'number' && !Number.isFinite(one)
              ? String(one)
              : one,
        );
  throw new Difference(
    `${what}\nbytes: ${Buffer.from(bytes).toString('hex')}\nMillrace: ${show(ours)}\noracle:   ${show(theirs)}`,
  );
}

function compareWriting(
  catalog: Catalog,
  type: DiffType,
  desc: DescMessage,
  data: Data,
  tally: Tally,
): void {
  const theirs = writeByOracle(desc, data);
  const expected = readByOracle(desc, theirs);
  const codec = catalog.get(type);
  const ours = codec.encode(data);
  const byOracle = readByOracle(desc, ours);
  if (!isDeepStrictEqual(byOracle, expected))
    differ(`${type}: written by Millrace, read by the oracle`, ours, byOracle, expected);
  for (const bytes of [ours, theirs]) {
    const read = comparable(codec.decode(bytes));
    if (!isDeepStrictEqual(read, expected))
      differ(
        `${type}: written by ${bytes === ours ? 'Millrace' : 'the oracle'}, read by Millrace`,
        bytes,
        read,
        expected,
      );
  }
  tally.written++;
}

/** Returns the data, or the error, that the rules of protobuf give for the bytes. */
function expectedOf(desc: DescMessage, bytes: Buffer): Data | InvalidError | BeyondError {
  try {
    const clean = cleaned(desc, bytes);
    return clean.beyond
      ? new BeyondError('an integer beyond 2^53')
      : readByOracle(desc, clean.bytes);
  } catch (error) {
    if (error instanceof InvalidError || error instanceof BeyondError) return error;
    throw error;
  }
}

/**
 * Returns the result, or the CorruptDataError.
 * @throws every other error
 */
function attempt<T>(read: () => T): T | CorruptDataError {
  try {
    return read();
  } catch (error) {
    if (error instanceof CorruptDataError) return error;
    throw error;
  }
}

function compareReading(
  catalog: Catalog,
  type: DiffType,
  desc: DescMessage,
  bytes: Buffer,
  tally: Tally,
): void {
  const expected = expectedOf(desc, bytes);
  const ours = attempt(() => comparable(catalog.get(type).decode(bytes)));
  if (expected instanceof Error) {
    if (!(ours instanceof Error))
      differ(
        `${type}: ${expected instanceof BeyondError ? 'an integer beyond 2^53' : 'invalid'}, and Millrace reads it`,
        bytes,
        ours,
        expected,
      );
    tally[expected instanceof BeyondError ? 'beyond' : 'refused']++;
    return;
  }
  if (!isDeepStrictEqual(ours, expected)) differ(`${type}: read otherwise`, bytes, ours, expected);
  tally.read++;
}

/**
 * Compares the envelope walkers. No writer makes lengths of more than five bytes, but envelopes
 * accept them.
 */
function compareBatch(desc: DescMessage, bytes: Buffer, tally: Tally): void {
  const expected = expectedOf(desc, bytes);
  const headers: EventHeader[] = [];
  const ours = attempt(() => void walkBatch(bytes, (header) => headers.push(header)));
  if (expected instanceof Error) {
    const text = expected.message === 'no UTF-8';
    if (!(ours instanceof Error) && !text)
      differ('EventBatch: invalid, and Millrace reads it', bytes, headers, expected);
    tally.brokenBatches++;
    return;
  }
  if (ours instanceof Error) differ('EventBatch: refused', bytes, ours, expected);
  const events = expected['events'] as Data[];
  const read = headers.map((header) => shown(header, bytes));
  const theirs = events.map((event) => shownByOracle(event, expected));
  if (!isDeepStrictEqual(read, theirs)) differ('EventBatch: read otherwise', bytes, read, theirs);
  const subjects: string[] = [];
  walkSubjects(bytes, (subject) => subjects.push(subject));
  const counts = [countEvents(bytes), scanBatch(bytes), subjects.length];
  if (counts.some((count) => count !== events.length))
    differ('EventBatch: counted otherwise', bytes, counts, events.length);
  if (
    !isDeepStrictEqual(
      subjects,
      events.map((event) => event['subject']),
    )
  )
    differ('EventBatch: subjects', bytes, subjects, theirs);
  for (const header of headers) {
    const alone = readEvent(bytes.subarray(header.offset, header.offset + header.length));
    if (alone.id !== header.id || alone.dataLength !== header.dataLength)
      differ('Event: read otherwise alone', bytes, alone, header);
  }
  tally.batches++;
}

function shown(header: EventHeader, bytes: Buffer): Data {
  const {
    id,
    subject,
    timeMs,
    source,
    schema,
    position,
    type,
    extensions,
    dataOffset,
    dataLength,
  } = header;
  return {
    id,
    subject,
    data: bytes.toString('hex', dataOffset, dataOffset + dataLength),
    timeMs,
    source,
    schema,
    position,
    type,
    extensions: { ...extensions },
  };
}

function shownByOracle(
  { id, subject, data, timeMs, source, schema, position, type, extensions }: Data,
  batch: Data,
): Data {
  return {
    id,
    subject,
    data,
    timeMs,
    source: source === '' ? batch['source'] : source,
    schema,
    position,
    type,
    extensions,
  };
}
