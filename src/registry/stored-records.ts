/** The form of the registry's records in Redis. See registry-store.ts for the keys. */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { ProtoSource } from '../wire/proto-folder.ts';

/**
 * A reference to another schema, as in the Confluent API. `name` is the path that an import uses.
 */
export interface SchemaReference {
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

export interface StoredSchema {
  readonly id: number;
  readonly fingerprint: string;
  /** Full name of the message that the subject's events are. */
  readonly message: string;
  /**
   * The text: the file itself first, then all its imports, by name. Files that come with Millrace
   * are left out.
   */
  readonly files: readonly ProtoSource[];
  readonly references: readonly SchemaReference[];
}

export interface SubjectVersion {
  readonly subject: string;
  readonly version: number;
  readonly id: number;
  /** Server time of the registration, ms since 1970. */
  readonly atMs: number;
  readonly by: string;
  /** Git revision that it was registered from, '' if unknown. */
  readonly revision: string;
  readonly deleted: boolean;
}

export interface SubjectState {
  readonly subject: string;
  /**
   * Revision of the record: changes with every registration and deletion. '' if the subject never
   * had a version.
   */
  readonly revision: string;
  /** Versions by number, oldest first, softly deleted ones too. */
  readonly versions: readonly SubjectVersion[];
  /** Numbers of versions whose record has no valid schema id. Usually empty. */
  readonly damaged: readonly number[];
  /** Numbers of versions that were deleted for good. Never given again. */
  readonly gone: readonly number[];
  /** The subject's own level, else the global one; '' if neither is set. */
  readonly level: string;
  readonly ownLevel: string | null;
}

/** A use of a schema: the version that it is, or a version that imports it. */
export interface SchemaUse {
  readonly subject: string;
  readonly version: number;
}

/**
 * Reads the state of a subject from its hash.
 * @param flat fields and values, alternating
 * @param ownLevel the subject's own level; null: none
 */
export function readState(
  subject: string,
  flat: readonly string[],
  ownLevel: string | null,
  globalLevel: string | null,
): SubjectState {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  const versions: SubjectVersion[] = [];
  const damaged: number[] = [];
  const gone: number[] = [];
  for (const [field, text] of fields) {
    const goneVersion = /^gone:(\d+)$/.exec(field)?.[1];
    if (goneVersion !== undefined) gone.push(Number(goneVersion));
    const version = /^id:(\d+)$/.exec(field)?.[1];
    if (version === undefined) continue;
    const id = idOrNull(text);
    if (id === null) {
      damaged.push(Number(version));
      continue;
    }
    versions.push({
      subject,
      version: Number(version),
      id,
      atMs: idOrNull(fields.get(`at:${version}`) ?? null) ?? 0,
      by: fields.get(`by:${version}`) ?? '',
      revision: fields.get(`git:${version}`) ?? '',
      deleted: fields.has(`deleted:${version}`),
    });
  }
  versions.sort((a, b) => a.version - b.version);
  return {
    subject,
    revision: fields.get('revision') ?? '',
    versions,
    damaged,
    gone,
    level: ownLevel ?? globalLevel ?? '',
    ownLevel,
  };
}

/** @param key hash that the schema is stored in. @throws CorruptDataError */
export function readSchema(id: number, json: string, key: string): StoredSchema {
  try {
    const schema: unknown = JSON.parse(json);
    if (!isSchema(schema))
      throw new TypeError('it has no fingerprint, message, files and references');
    const { fingerprint, message, files, references } = schema;
    return { id, fingerprint, message, files, references };
  } catch (error) {
    const cure =
      'To write it again: millrace schema register, in a checkout whose proto/ has that version';
    throw new CorruptDataError(
      'decode',
      `schema id ${id} of the registry cannot be read: ${(error as Error).message} (field ${id} of ${key}). ${cure}`,
      { cause: error },
    );
  }
}

/** Reads lines of uses. Invalid lines are passed over. */
export function readUses(lines: string | null): SchemaUse[] {
  return (lines ?? '')
    .split('\n')
    .filter((line) => /^\d{1,15} ./.test(line))
    .map((line) => {
      const space = line.indexOf(' ');
      return { version: Number(line.slice(0, space)), subject: line.slice(space + 1) };
    });
}

/** Reads an id or a time: a whole number. Null: the text is none. */
export function idOrNull(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function isSchema(value: unknown): value is Omit<StoredSchema, 'id'> {
  if (typeof value !== 'object' || value === null) return false;
  const { fingerprint, message, files, references } = value as Partial<
    Record<keyof StoredSchema, unknown>
  >;
  return (
    typeof fingerprint === 'string' &&
    typeof message === 'string' &&
    areRecords(files, ['name', 'text']) &&
    areRecords(references, ['name', 'subject'])
  );
}

function areRecords(list: unknown, texts: readonly string[]): boolean {
  return (
    Array.isArray(list) &&
    list.every(
      (one: unknown) =>
        typeof one === 'object' &&
        one !== null &&
        texts.every((name) => typeof (one as Record<string, unknown>)[name] === 'string'),
    )
  );
}
