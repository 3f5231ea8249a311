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
import { RegistryFullError, RegistryInputError } from './schema-errors.ts';
import {
  idOrNull,
  readSchema,
  readState,
  readUses,
  type SchemaReference,
  type SchemaUse,
  type StoredSchema,
  type SubjectState,
} from './stored-records.ts';

const registerScript = defineScript({ url: new URL('./register.lua', import.meta.url), keys: 9 });
const deleteScript = defineScript({ url: new URL('./delete.lua', import.meta.url), keys: 3 });
const levelScript = defineScript({ url: new URL('./set-level.lua', import.meta.url), keys: 2 });

/**
 * Ten thousand event types are more than a deployment has streams for; a thousand versions are one
 * a day for three years.
 */
export const REGISTRY_LIMITS = { subjects: 10_000, versions: 1_000, texts: 20_000 } as const;

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
    return readState(subject, flat, own, global);
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
      json === null ? null : readSchema(ids[i] as number, json, this.#keys.registry('ids')),
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
  async usesOf(ids: readonly number[]): Promise<(SchemaUse[] | null)[]> {
    if (ids.length === 0) return [];
    const found = (await this.#command('HMGET', this.#keys.registry('uses'), ...ids)) as (
      string | null
    )[];
    return found.map((lines) => (lines === null ? null : readUses(lines)));
  }

  /** Which versions of which subjects a schema is, softly deleted ones too. */
  async uses(id: number): Promise<SchemaUse[]> {
    return readUses(
      (await this.#command('HGET', this.#keys.registry('uses'), id)) as string | null,
    );
  }

  async referencedBy(subject: string, version: number): Promise<SchemaUse[]> {
    return readUses(
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
    { kind: 'deleted' | 'unknown' | 'already' | 'live' } | { kind: 'referenced'; by: SchemaUse[] }
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
    if (kind === 'referenced') return { kind, by: readUses(by) };
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
