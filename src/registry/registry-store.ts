/**
 * The registry's data in Redis: hashes under `registry:{schemas}:`. They share the hash tag, so
 * that one script may touch them in a Cluster.
 *
 * - `meta`: the global level.
 * - `ids`: id -> schema as JSON. A schema is never removed, because events have its id.
 * - `fingerprints`: fingerprint -> id.
 * - `texts`: SHA-256 of (subject, files) -> id. With it a process finds its schemas at its start,
 *   without parsing them.
 * - `subjects`: subject -> last version given.
 * - `levels`: subject -> its own compatibility level.
 * - `uses`: id -> lines `<version> <subject>`.
 * - `references`: `<version> <subject>` -> such lines of the schemas that import it.
 * - `subject:<subject>`: revision, and per version id, at, by, git, deleted. `gone`: deleted for
 *   good.
 *
 * No schema is judged here: see registry.ts.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
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

const registerScript = defineScript({
  url: new URL('./register-schema.lua', import.meta.url),
  keys: 9,
});
const deleteScript = defineScript({ url: new URL('./delete.lua', import.meta.url), keys: 3 });
const levelScript = defineScript({ url: new URL('./set-level.lua', import.meta.url), keys: 2 });

/**
 * Limits of the registry. Ten thousand event types are more than a deployment has streams for. A
 * thousand versions are one a day for three years.
 */
export const REGISTRY_LIMITS = { subjects: 10_000, versions: 1_000, texts: 20_000 } as const;

export interface SchemaRegistration {
  readonly subject: string;
  readonly fingerprint: string;
  readonly schema: Omit<StoredSchema, 'id' | 'fingerprint'>;
  readonly textHash: string;
  /** Ids that the schema may have; the first free one is taken. */
  readonly ids: readonly number[];
  /** Id of the schema under a fingerprint of an older form; null: there is none. */
  readonly sameAs: number | null;
  /** Id and version of the schema in a registry that was lost. */
  readonly had: { readonly id: number; readonly version: number } | null;
  readonly by: string;
  readonly gitRevision: string;
  /** State of the subject that the schema was judged by. */
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
   * @throws CorruptDataError where the subject's key is of another type; RegistryInputError for an
   *   invalid name
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

  /** Returns all ids that were given, in no order. */
  async ids(): Promise<number[]> {
    return ((await this.#command('HKEYS', this.#keys.registry('ids'))) as string[])
      .map(idOrNull)
      .filter((id) => id !== null);
  }

  /**
   * Returns the schemas in the order of the ids; null: no schema has the id.
   * @throws CorruptDataError naming the first unreadable schema. Ask for each id by itself if the
   *   others matter
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
   * Returns the versions that each schema is, in the order of the ids; null: no schema has the id.
   */
  async usesOf(ids: readonly number[]): Promise<(SchemaUse[] | null)[]> {
    if (ids.length === 0) return [];
    const found = (await this.#command('HMGET', this.#keys.registry('uses'), ...ids)) as (
      string | null
    )[];
    return found.map((lines) => (lines === null ? null : readUses(lines)));
  }

  /** Returns the versions that a schema is, softly deleted ones too. */
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
   * Registers a schema. May be sent again: a registered schema is answered with its id and version.
   * @throws RegistryFullError, UnknownOutcomeError, RedisReplyError
   */
  async register(registration: SchemaRegistration): Promise<RegistrationReply> {
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
    // After a repeated sending the version was most likely deleted by an earlier one, whose reply
    // was lost.
    if (sent > 1 && (kind === 'already' || (how === 'permanent' && kind === 'unknown')))
      return { kind: 'deleted' };
    return { kind: kind as 'deleted' | 'unknown' | 'already' | 'live' };
  }

  /**
   * @param subject null: the global level
   * @param level null: no level of its own
   */
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

  /** A read. It may be repeated. */
  #command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.#retry(() => this.#connection.command(name, ...args));
  }

  #retry<T>(call: () => Promise<T>): Promise<T> {
    return withRetry(call, { deadlineMs: DEADLINE_MS });
  }
}
