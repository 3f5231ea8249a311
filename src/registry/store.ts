/**
 * What the registry keeps in Redis, all under the hash tag `{schemas}`, so that one script may
 * touch it in a Cluster:
 *
 *   registry:{schemas}:meta               hash: global level
 *   registry:{schemas}:ids                hash: id -> schema as JSON; kept: events bear ids
 *   registry:{schemas}:fingerprints       hash: fingerprint -> id
 *   registry:{schemas}:texts              hash: SHA-256 of (subject, files) -> id: a process finds
 *                                         its schemas at its start without parsing them
 *   registry:{schemas}:subjects           hash: subject -> last version handed out
 *   registry:{schemas}:levels             hash: subject -> its own compatibility level
 *   registry:{schemas}:uses               hash: id -> lines `<version> <subject>`
 *   registry:{schemas}:references         hash: `<version> <subject>` -> such lines
 *                                         of the schemas that import it
 *   registry:{schemas}:subject:<subject>  hash: revision, and per version id, at, by, git, deleted;
 *                                         gone: deleted for good
 *
 * Nothing here judges a schema: see registry.ts.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { CorruptDataError, RedisReplyError } from '../core/errors.ts';
import { textProblem } from '../core/well-formed.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import type { ProtoSource } from '../wire/catalog.ts';
import { RegistryFullError, RegistryInputError } from './schema-errors.ts';

const registerScript = defineScript({ url: new URL('./register.lua', import.meta.url), keys: 9 });
const deleteScript = defineScript({ url: new URL('./delete.lua', import.meta.url), keys: 3 });
const levelScript = defineScript({ url: new URL('./set-level.lua', import.meta.url), keys: 2 });

/**
 * Ten thousand event types are more than a deployment has streams for; a thousand versions are one
 * a day for three years.
 */
export const REGISTRY_LIMITS = { subjects: 10_000, versions: 1_000, texts: 20_000 } as const;

/** Another schema, as the Confluent API names it: `name` is the path that an import uses. */
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
   * The text: first the file itself, then all it imports, by name. Files that come with Millrace
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
  /** Git revision it was registered from, '' where unknown. */
  readonly revision: string;
  readonly deleted: boolean;
}

export interface SubjectState {
  readonly subject: string;
  /**
   * Changes with every registration and deletion. '' for a subject that has never had a version.
   */
  readonly revision: string;
  /** By number, oldest first; softly deleted ones too. */
  readonly versions: readonly SubjectVersion[];
  /**
   * Numbers of versions whose record names no schema id: of those nothing is known. Mostly empty.
   */
  readonly damaged: readonly number[];
  /** Its own level, else the global one, '' where neither was set. */
  readonly level: string;
  readonly ownLevel: string | null;
}

export interface Registration {
  readonly subject: string;
  readonly fingerprint: string;
  readonly schema: Omit<StoredSchema, 'id' | 'fingerprint'>;
  readonly textHash: string;
  /** Ids that it may have, the first one that is free. */
  readonly ids: readonly number[];
  /** Its id, where that is found under another fingerprint only (of an older form). */
  readonly sameAs: number | null;
  /** What it was in a registry that was lost. */
  readonly had: { readonly id: number; readonly version: number } | null;
  readonly by: string;
  readonly gitRevision: string;
  /** What the schema was judged by. */
  readonly judgedBy: Pick<SubjectState, 'revision' | 'level'>;
}

export type RegistrationReply =
  | { readonly kind: 'same' | 'registered'; readonly id: number; readonly version: number }
  | { readonly kind: 'changed' };

export class RegistryStore {
  readonly #connection: RedisConnection;
  readonly #keys: Keys;

  constructor(connection: RedisConnection, keys: Keys) {
    this.#connection = connection;
    this.#keys = keys;
  }

  async subjects(): Promise<string[]> {
    return ((await this.#command('HKEYS', this.#keys.registry('subjects'))) as string[]).sort();
  }

  /**
   * @throws CorruptDataError where the subject's key is of another type; RegistryInputError for
   *   what can name nothing
   */
  async state(subject: string): Promise<SubjectState> {
    const unfit = textProblem(subject);
    if (unfit !== null) throw new RegistryInputError('subject', `the subject ${unfit}`);
    const [flat, own, global] = (await Promise.all([
      this.#command('HGETALL', this.#keys.registrySubject(subject)).catch((error: unknown) =>
        this.#noHash(subject, error),
      ),
      this.#command('HGET', this.#keys.registry('levels'), subject),
      this.#command('HGET', this.#keys.registry('meta'), 'level'),
    ])) as [string[], string | null, string | null];
    const fields = new Map<string, string>();
    for (let i = 0; i + 1 < flat.length; i += 2)
      fields.set(flat[i] as string, flat[i + 1] as string);
    const versions: SubjectVersion[] = [];
    const damaged: number[] = [];
    for (const [field, id] of fields) {
      const version = /^id:(\d+)$/.exec(field)?.[1];
      if (version === undefined) continue;
      const given = idOrNull(id);
      if (given === null) {
        damaged.push(Number(version));
        continue;
      }
      versions.push({
        subject,
        version: Number(version),
        id: given,
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
      level: own ?? global ?? '',
      ownLevel: own,
    };
  }

  /** All ids that were given, in no order. */
  async ids(): Promise<number[]> {
    return ((await this.#command('HKEYS', this.#keys.registry('ids'))) as string[])
      .map(idOrNull)
      .filter((id) => id !== null);
  }

  /**
   * In the order of the ids; null where there is none.
   * @throws CorruptDataError naming the first one that cannot be read: ask for each by itself where
   *   the others matter
   */
  async schemas(ids: readonly number[]): Promise<(StoredSchema | null)[]> {
    if (ids.length === 0) return [];
    const found = (await this.#command('HMGET', this.#keys.registry('ids'), ...ids)) as (
      string | null
    )[];
    return found.map((json, i) =>
      json === null ? null : this.#parseSchema(ids[i] as number, json),
    );
  }

  async idOfFingerprint(fingerprint: string): Promise<number | null> {
    const id = (await this.#command('HGET', this.#keys.registry('fingerprints'), fingerprint)) as
      string | null;
    return idOrNull(id);
  }

  async idsOfTexts(hashes: readonly string[]): Promise<(number | null)[]> {
    if (hashes.length === 0) return [];
    const ids = (await this.#command('HMGET', this.#keys.registry('texts'), ...hashes)) as (
      string | null
    )[];
    return ids.map(idOrNull);
  }

  /**
   * In the order of the ids: whether a schema is registered under it, and as a version of which
   * subjects.
   */
  async usesOf(ids: readonly number[]): Promise<({ subject: string; version: number }[] | null)[]> {
    if (ids.length === 0) return [];
    const found = (await this.#command('HMGET', this.#keys.registry('uses'), ...ids)) as (
      string | null
    )[];
    return found.map((lines) => (lines === null ? null : parseUses(lines)));
  }

  /** Which versions of which subjects a schema is, softly deleted ones too. */
  async uses(id: number): Promise<{ subject: string; version: number }[]> {
    return parseUses(
      (await this.#command('HGET', this.#keys.registry('uses'), id)) as string | null,
    );
  }

  async referencedBy(
    subject: string,
    version: number,
  ): Promise<{ subject: string; version: number }[]> {
    return parseUses(
      (await this.#command('HGET', this.#keys.registry('references'), `${version} ${subject}`)) as
        string | null,
    );
  }

  async globalLevel(): Promise<string> {
    return (
      ((await this.#command('HGET', this.#keys.registry('meta'), 'level')) as string | null) ?? ''
    );
  }

  /**
   * Safe to send again: a schema that is registered is answered with what it is.
   * @throws RegistryFullError, UnknownOutcomeError, RedisReplyError
   */
  async register(registration: Registration): Promise<RegistrationReply> {
    const { subject, fingerprint, schema, textHash, by, gitRevision, judgedBy, had } = registration;
    const keys = this.#keys;
    const reply = (await this.#retry(() =>
      registerScript.run(
        this.#connection,
        [
          keys.registry('meta'),
          keys.registry('ids'),
          keys.registry('fingerprints'),
          keys.registry('texts'),
          keys.registry('subjects'),
          keys.registry('levels'),
          keys.registry('uses'),
          keys.registry('references'),
          keys.registrySubject(subject),
        ],
        [
          subject,
          fingerprint,
          JSON.stringify({ fingerprint, ...schema }),
          textHash,
          by,
          gitRevision,
          judgedBy.revision,
          judgedBy.level,
          REGISTRY_LIMITS.subjects,
          REGISTRY_LIMITS.versions,
          REGISTRY_LIMITS.texts,
          registration.ids.join(','),
          registration.sameAs ?? '',
          had?.id ?? '',
          had?.version ?? '',
          ...schema.references.map((reference) => `${reference.version} ${reference.subject}`),
        ],
      ),
    )) as [string, string, string];
    const [kind, first, version] = reply;
    if (kind === 'full') {
      const what = first as 'subjects' | 'versions' | 'ids';
      throw new RegistryFullError(
        what === 'versions' ? `versions of "${subject}"` : what,
        what === 'ids' ? registration.ids.length : REGISTRY_LIMITS[what],
      );
    }
    return kind === 'changed'
      ? { kind }
      : { kind: kind as 'same' | 'registered', id: Number(first), version: Number(version) };
  }

  async delete(
    subject: string,
    version: number,
    how: 'soft' | 'permanent',
    references: readonly SchemaReference[],
  ): Promise<
    | { kind: 'deleted' | 'unknown' | 'already' | 'live' }
    | { kind: 'referenced'; by: { subject: string; version: number }[] }
  > {
    const keys = this.#keys;
    let sent = 0;
    const [kind, by] = (await this.#retry(() => {
      sent++;
      return deleteScript.run(
        this.#connection,
        [keys.registry('uses'), keys.registry('references'), keys.registrySubject(subject)],
        [
          subject,
          version,
          how,
          ...references.map((reference) => `${reference.version} ${reference.subject}`),
        ],
      );
    })) as [string, string];
    if (kind === 'referenced') return { kind, by: parseUses(by) };
    // At a repeated sending: most likely it was ours whose reply was lost.
    if (sent > 1 && (kind === 'already' || (how === 'permanent' && kind === 'unknown')))
      return { kind: 'deleted' };
    return { kind: kind as 'deleted' | 'unknown' | 'already' | 'live' };
  }

  /** @param subject null: the global level. @param level null: none of its own */
  async setLevel(subject: string | null, level: string | null): Promise<void> {
    const [kind] = (await this.#retry(() =>
      levelScript.run(
        this.#connection,
        [this.#keys.registry('meta'), this.#keys.registry('levels')],
        [subject ?? '', level ?? '', REGISTRY_LIMITS.subjects],
      ),
    )) as [string];
    if (kind === 'full')
      throw new RegistryFullError('subjects with a level', REGISTRY_LIMITS.subjects);
  }

  #parseSchema(id: number, json: string): StoredSchema {
    try {
      const schema: unknown = JSON.parse(json);
      if (!isSchema(schema))
        throw new TypeError('it has no fingerprint, message, files and references');
      const { fingerprint, message, files, references } = schema;
      return { id, fingerprint, message, files, references };
    } catch (error) {
      const cure =
        'To write it anew: millrace schema register, in a checkout whose proto/ has that version';
      throw new CorruptDataError(
        'decode',
        `schema id ${id} of the registry cannot be read: ${(error as Error).message} (field ${id} of ${this.#keys.registry('ids')}). ${cure}`,
        { cause: error },
      );
    }
  }

  #noHash(subject: string, error: unknown): never {
    if (!(error instanceof RedisReplyError) || error.reply !== 'WRONGTYPE') throw error;
    const key = this.#keys.registrySubject(subject);
    throw new CorruptDataError(
      'decode',
      `subject "${subject}" of the registry cannot be read: its key ${key} is of another type. Delete that key, and register its schemas again`,
      { cause: error },
    );
  }

  /** Reads may be repeated. */
  #command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#retry(() => this.#connection.command(name, ...args));
  }

  #retry<T>(call: () => Promise<T>): Promise<T> {
    return withRetry(call, { deadlineMs: DEADLINE_MS });
  }
}

/** Ids, and times, are whole numbers. Null: it is none. */
function idOrNull(text: string | null): number | null {
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

/** Lines that are none are passed over. */
function parseUses(lines: string | null): { subject: string; version: number }[] {
  return (lines ?? '')
    .split('\n')
    .filter((line) => /^\d{1,15} ./.test(line))
    .map((line) => {
      const space = line.indexOf(' ');
      return { version: Number(line.slice(0, space)), subject: line.slice(space + 1) };
    });
}
