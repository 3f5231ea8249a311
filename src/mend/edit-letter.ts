/**
 * Edits the data of a dead event. The new data is checked and encoded by a schema of its type. Id,
 * subject, source, time and position of the event stay, so a replay runs the edited event in the
 * place of the dead one.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { OversizeError } from '../core/errors/input-errors.ts';
import { cut } from '../core/well-formed.ts';
import type { Deployment } from '../deployment.ts';
import type { DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { rewriteLetter } from '../pipeline/dead/rewrite-letter.ts';
import { readEvent } from '../wire/batch-reader.ts';
import type { EventHeader } from '../wire/event-header.ts';
import { plainJson } from '../wire/payload-json.ts';
import { replaceData } from '../wire/replace-data.ts';
import { differencesOf, type Differences } from './field-differences.ts';
import type { PayloadCodec, PayloadCodecs, ShownPayload } from './payload-codecs.ts';

/**
 * Schema of the new data. `local`: the type as it is declared under proto/. `writer`: the schema
 * that the event was written with.
 */
export type EditSchema = 'local' | 'writer';

/** An edit before it is made. */
export interface LetterEditPlan {
  readonly letter: DeadLetter;
  readonly schemaOf: EditSchema;
  /** Id of the schema of the new data. 0: none. */
  readonly schema: number;
  readonly before: ShownPayload;
  /** New data, as it is read back. */
  readonly after: unknown;
  /** Null: the data before cannot be read. */
  readonly differences: Differences | null;
  /** The edited Event message. */
  readonly event: Buffer;
}

/** The letter's event cannot be edited so. Nothing was changed. */
export class EditRefusedError extends MillraceError {
  readonly code = 'EDIT_REFUSED';
  readonly id: string;
  constructor(id: string, problem: string) {
    super(`dead letter ${id} cannot be edited: ${problem}. Nothing was changed`);
    this.id = id;
  }
}

/**
 * Checks and encodes new data for a dead event. Changes nothing.
 * @param json new data in the protobuf JSON mapping, as JSON.parse gave it; it may be changed
 * @param schemaOf default: `local` where proto/ declares the type, else `writer`
 * @throws EditRefusedError, InvalidEventError naming the field, OversizeError, UnknownSchemaError,
 *   UnknownEventTypeError
 */
export async function planEdit(
  codecs: PayloadCodecs,
  letter: DeadLetter,
  json: unknown,
  schemaOf: EditSchema = codecs.declares(letter.type) ? 'local' : 'writer',
): Promise<LetterEditPlan> {
  const header = headerOf(letter);
  const codec = await codecFor(codecs, letter, header, schemaOf);
  const { type } = codec;
  const data = codec.readJson(json);
  const encoded = type.encode(data);
  const before = await codecs.show(letter.type, letter.bytes, header);
  checkSubjectStays(letter, header, codec, data, before);
  if (encoded.length > type.maxBytes)
    throw new OversizeError(
      `event "${letter.type}"`,
      encoded.length,
      type.maxBytes,
      'bytes of payload. Nothing was changed',
    );
  const after = plainJson(type.decode(encoded));
  return {
    letter,
    schemaOf,
    schema: codec.schema,
    before,
    after,
    differences: before.kind === 'data' ? differencesOf(before.data, after) : null,
    event: replaceData(letter.bytes, encoded, codec.schema),
  };
}

/**
 * Makes the edit: the letter is replaced by one with the new event.
 * @param by person or program that asks for the edit
 * @returns id of the new letter
 * @throws DeadLetterNotFoundError, UnknownOutcomeError, RedisReplyError
 */
export function makeEdit(
  source: Pick<Deployment, 'connection' | 'keys' | 'partitions'>,
  { letter, event, schema }: LetterEditPlan,
  by: string,
): Promise<string> {
  return rewriteLetter(source, letter, { event, schema, by: cut(by, 300) });
}

/**
 * Returns the part of an edit for the audit log. `data` has the values that differ. Masked values
 * are null, because the log outlives the events.
 */
export async function auditedEdit(
  codecs: PayloadCodecs,
  { letter, schema, before, after, event, differences }: LetterEditPlan,
): Promise<{ readonly before: object; readonly wanted: object; readonly data: object }> {
  const { eventId, type, bytes, batchSource } = letter;
  const was = readEvent(bytes, batchSource).schema;
  const [old, next] = await Promise.all([
    before.kind === 'data' ? codecs.masked(type, was, before.data) : null,
    codecs.masked(type, schema, after),
  ]);
  const shown = differencesOf(old?.data, next?.data);
  const side = (name: 'before' | 'after'): object =>
    Object.fromEntries(shown.list.map((one) => [one.path, one[name] ?? null]));
  return {
    before: { eventId, bytes: bytes.length },
    wanted: { schema, bytes: event.length, fields: differences?.list.length ?? null },
    data: { before: side('before'), after: side('after'), more: shown.more },
  };
}

/** @throws EditRefusedError */
function headerOf(letter: DeadLetter): EventHeader {
  if (letter.kind !== 'event')
    throw new EditRefusedError(
      letter.id,
      `it holds ${letter.kind === 'entry' ? 'an entry' : 'a record'} that could not be read, and no event`,
    );
  try {
    return readEvent(letter.bytes, letter.batchSource);
  } catch (error) {
    throw new EditRefusedError(letter.id, `its event cannot be read: ${(error as Error).message}`);
  }
}

async function codecFor(
  codecs: PayloadCodecs,
  { id, type }: DeadLetter,
  { schema }: EventHeader,
  schemaOf: EditSchema,
): Promise<PayloadCodec> {
  if (schemaOf === 'writer') {
    if (schema === 0) throw new EditRefusedError(id, 'its event names no schema of its writer');
    return codecs.ofWriter(type, schema);
  }
  const codec = await codecs.local(type);
  // A reader takes an event without a schema as one of its own, and one with an unknown schema not
  // at all.
  if (codec.schema === 0 && schema !== 0)
    throw new EditRefusedError(
      id,
      `the registry does not know the schema of "${type}" under proto/. Register it (millrace schema register ${type}), or edit with the writer's schema`,
    );
  return codec;
}

/**
 * The event stays in its subject: its partition, its order and its row depend on the subject.
 * @throws EditRefusedError
 */
function checkSubjectStays(
  letter: DeadLetter,
  header: EventHeader,
  { type }: PayloadCodec,
  data: unknown,
  before: ShownPayload,
): void {
  if (type.subjectField === '') return;
  const subject: unknown = type.subjectOf(data);
  const was: unknown =
    before.kind === 'data'
      ? (before.data as Record<string, unknown>)[type.subjectField]
      : header.subject;
  if (subject === was || subject === header.subject) return;
  throw new EditRefusedError(
    letter.id,
    `its subject is ${JSON.stringify(header.subject)}, and the field ${type.subjectField} of the new data is ${JSON.stringify(subject)}. Publish another event for another subject, and purge this letter`,
  );
}
