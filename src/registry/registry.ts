/**
 * The schema registry: subjects, their versions, and schemas under global ids. A subject is an
 * event type, or any name that a client of the Confluent API uses.
 *
 * A registration is optimistic. It reads the subject and judges the candidate against its versions.
 * register-schema.lua takes the candidate only if the subject and its level have not changed since.
 * So of two incompatible schemas that are registered at the same time only one is taken.
 */
import {
  checkLevel,
  DeletionError,
  IncompatibleSchemaError,
  readable,
  RegistryInputError,
  SchemaReferencedError,
  UnknownSchemaError,
  UnknownSubjectError,
  UnknownVersionError,
} from './schema-errors.ts';
import { cut } from '../core/well-formed.ts';
import {
  schemaIdentityOf,
  idsOf,
  judge,
  prepareSchema,
  type Finding,
  type Level,
  type PreparedSchema,
} from './schema-tools.ts';
import type { RegisteredBy } from './registered-by.ts';
import type { RegistryStore } from './registry-store.ts';
import { textHash, type SchemaDraft } from './schema-draft.ts';
import type { StoredSchema, SubjectState, SubjectVersion } from './stored-records.ts';
import {
  checkSubject,
  chooseVersions,
  DEFAULT_LEVEL,
  levelOf,
  liveVersions,
  storedLevel,
  unknownVersion,
} from './subject.ts';

/**
 * Rounds of a registration, while others change the same subject. Each round judges the candidate
 * again.
 */
const ROUNDS = 20;
/**
 * Parsed schemas kept, so that a subject's next candidate is judged without parsing all versions
 * again.
 */
const PARSED = 256;

export interface Registered {
  readonly id: number;
  readonly version: number;
  /** Whether the schema was not registered before. */
  readonly isNew: boolean;
}

export interface Verdict {
  readonly compatible: boolean;
  readonly level: Level;
  readonly findings: readonly Finding[];
  /**
   * Findings that refuse nothing, but that somebody should know. An example is a new name in JSON
   * and in handlers.
   */
  readonly warnings: readonly Finding[];
  /** Versions that the schema was compared with. */
  readonly against: readonly number[];
}

export interface VersionWithSchema extends SubjectVersion {
  readonly schema: StoredSchema;
}

export class SchemaRegistry {
  readonly store: RegistryStore;
  /** Parsed schemas by id; the oldest is removed first. The schema under an id never changes. */
  readonly #parsed = new Map<number, PreparedSchema>();

  constructor(store: RegistryStore) {
    this.store = store;
  }

  /**
   * Registers a schema as the next version of its subject. A schema that is a version already is
   * answered with that version.
   *
   * @param had id and version of the schema in a registry that was lost. The schema gets them again
   *   if they are free. It must be compatible with each live version, as the older or as the newer
   *   one
   * @throws InvalidSchemaError: the text is no schema, or a schema that is not accepted
   * @throws IncompatibleSchemaError with every finding; RegistryInputError for the name;
   *   RegistryFullError
   */
  async register(
    draft: SchemaDraft,
    by: RegisteredBy,
    had: Pick<Registered, 'id' | 'version'> | null = null,
  ): Promise<Registered> {
    checkSubject(draft.subject);
    const candidate = await prepareSchema(draft.subject, draft.files);
    const fingerprint = schemaIdentityOf(candidate, draft.references);
    for (let round = 0; round < ROUNDS; round++) {
      const state = await this.store.state(draft.subject);
      const known = await this.#idOf(candidate, draft, liveVersions(state));
      if (!liveVersions(state).some((one) => one.id === known.id)) {
        const verdict = await (had === null
          ? this.#judge(candidate, state, liveVersions(state))
          : this.#judgeLost(candidate, state));
        if (!verdict.compatible)
          throw new IncompatibleSchemaError(
            draft.subject,
            verdict.level,
            verdict.findings,
            verdict.against,
          );
      }
      const reply = await this.store.register({
        subject: draft.subject,
        fingerprint,
        schema: {
          message: candidate.message,
          files: draft.files,
          references: draft.references ?? [],
        },
        textHash: textHash(draft.subject, draft.files, draft.references),
        ids: idsOf(fingerprint),
        sameAs: known.exact ? null : known.id,
        had,
        by: cut(by.by, 200),
        gitRevision: cut(by.gitRevision, 100),
        judgedBy: state,
      });
      if (reply.kind !== 'changed')
        return { id: reply.id, version: reply.version, isNew: reply.kind === 'registered' };
    }
    throw new RegistryInputError(
      'subject',
      `"${draft.subject}" was changed by others ${ROUNDS} times while its schema was being judged; nothing was registered, try again`,
    );
  }

  /**
   * Returns the verdict of a registration, without registering. A subject without versions accepts
   * every schema.
   * @param version the only version to compare with, whatever the level; it must exist
   * @throws InvalidSchemaError, UnknownVersionError, RegistryInputError
   */
  async check(draft: SchemaDraft, version?: number): Promise<Verdict> {
    checkSubject(draft.subject);
    const candidate = await prepareSchema(draft.subject, draft.files);
    const state = await this.store.state(draft.subject);
    const { id } = await this.#idOf(candidate, draft, liveVersions(state));
    if (version === undefined) return this.#judge(candidate, state, liveVersions(state), id);
    const found = state.versions.find((one) => one.version === version);
    if (!found) throw unknownVersion(state, version);
    return this.#judge(candidate, state, [found], id);
  }

  /**
   * Finds the live version of the subject that is this schema; null: none is.
   * @throws InvalidSchemaError
   */
  async find(draft: SchemaDraft, deletedToo = false): Promise<SubjectVersion | null> {
    const candidate = await prepareSchema(draft.subject, draft.files);
    const { versions } = await this.store.state(draft.subject);
    const { id } = await this.#idOf(candidate, draft, versions);
    return versions.findLast((one) => one.id === id && (deletedToo || !one.deleted)) ?? null;
  }

  /** Returns the names of the subjects that have a live version. */
  async subjects(deletedToo = false): Promise<string[]> {
    const subjects = await this.store.subjects();
    const listed = await Promise.all(
      subjects.map(async (subject) => {
        const state = await readable(this.store.state(subject));
        // An unreadable subject is listed. A request for that subject gets the error.
        return (
          state === null ||
          state.damaged.length > 0 ||
          (deletedToo ? state.versions : liveVersions(state)).length > 0
        );
      }),
    );
    return subjects.filter((_, i) => listed[i]);
  }

  /**
   * Returns the versions, oldest first.
   * @throws UnknownSubjectError; CorruptDataError where no version can be read
   */
  async versions(subject: string, deletedToo = false): Promise<readonly SubjectVersion[]> {
    return chooseVersions(await this.store.state(subject), deletedToo);
  }

  /**
   * @throws UnknownSubjectError, UnknownVersionError; CorruptDataError where the version's record,
   *   or its schema's, is damaged
   */
  async version(
    subject: string,
    version: number | 'latest',
    deletedToo = false,
  ): Promise<VersionWithSchema> {
    const state = await this.store.state(subject);
    const versions = chooseVersions(state, deletedToo);
    const last = versions.at(-1);
    const wanted = version === 'latest' ? Math.max(last?.version ?? 0, ...state.damaged) : version;
    const found = versions.find((one) => one.version === wanted);
    if (!found) throw unknownVersion(state, wanted);
    return { ...found, schema: await this.schema(found.id) };
  }

  /** @throws UnknownSchemaError, CorruptDataError */
  async schema(id: number): Promise<StoredSchema> {
    const [schema] = await this.store.schemas([id]);
    if (!schema) throw new UnknownSchemaError(`no schema is registered under id ${id}`);
    return schema;
  }

  /** Whether the schema under this id is this one. An unreadable schema is not. */
  async isIdOf(id: number, draft: SchemaDraft): Promise<boolean> {
    const [stored] = (await readable(this.store.schemas([id]))) ?? [];
    if (!stored) return false;
    const candidate = await prepareSchema(draft.subject, draft.files);
    return [schemaIdentityOf(candidate, draft.references), candidate.meaning].includes(
      stored.fingerprint,
    );
  }

  /** Returns the parsed schema, for comparisons. @throws UnknownSchemaError, InvalidSchemaError */
  async prepared(id: number, subject: string): Promise<PreparedSchema> {
    const kept = this.#parsed.get(id);
    if (kept) return kept;
    const schema = await this.schema(id);
    const prepared = { ...(await prepareSchema(subject, schema.files)), message: schema.message };
    if (this.#parsed.size >= PARSED)
      this.#parsed.delete(this.#parsed.keys().next().value as number);
    this.#parsed.set(id, prepared);
    return prepared;
  }

  /** Returns the level of a subject, or the global one without a subject. */
  async level(subject?: string): Promise<{ readonly level: Level; readonly own: boolean }> {
    if (subject === undefined) {
      const level = await this.store.globalLevel();
      return { level: level === '' ? DEFAULT_LEVEL : storedLevel(level, ''), own: level !== '' };
    }
    const state = await this.store.state(subject);
    return { level: levelOf(state), own: state.ownLevel !== null };
  }

  /**
   * @param subject null: the global level
   * @param level null: back to the global level; for the global level, back to the default
   * @throws RegistryInputError, RegistryFullError
   */
  async setLevel(subject: string | null, level: string | null): Promise<void> {
    if (subject !== null) checkSubject(subject);
    await this.store.setLevel(subject, level === null ? null : checkLevel(level));
  }

  /**
   * Deletes versions. A soft deletion (default): the version is no longer offered, and new versions
   * are not compared with it. A permanent one removes softly deleted versions only. Events with the
   * schema's id are still decoded, even then.
   * @returns the deleted versions
   * @throws UnknownSubjectError, UnknownVersionError, DeletionError, SchemaReferencedError
   */
  async delete(
    subject: string,
    which: number | 'latest' | 'all',
    permanent = false,
  ): Promise<number[]> {
    const { versions } = await this.store.state(subject);
    if (versions.length === 0) throw new UnknownSubjectError(subject);
    const live = versions.filter((one) => !one.deleted);
    let chosen: readonly SubjectVersion[];
    if (which === 'all') {
      if (permanent && live.length > 0) throw new DeletionError(subject, null, 'live');
      if (!permanent && live.length === 0) throw new DeletionError(subject, null, 'already');
      chosen = permanent ? versions : live;
    } else {
      const found =
        which === 'latest' ? live.at(-1) : versions.find((one) => one.version === which);
      if (!found) throw new UnknownVersionError(subject, which === 'latest' ? 0 : which);
      chosen = [found];
    }
    const deleted: number[] = [];
    // The references of an unreadable schema are not known. Its version can be deleted all the
    // same.
    const schemas = await Promise.all(
      chosen.map(async (one) => (await readable(this.store.schemas([one.id])))?.[0]),
    );
    for (const [i, { version }] of chosen.entries()) {
      const reply = await this.store.delete(
        subject,
        version,
        permanent ? 'permanent' : 'soft',
        schemas[i]?.references ?? [],
      );
      if (reply.kind === 'unknown') throw new UnknownVersionError(subject, version);
      if (reply.kind === 'already' || reply.kind === 'live')
        throw new DeletionError(subject, version, reply.kind);
      if (reply.kind === 'referenced')
        throw new SchemaReferencedError(
          subject,
          version,
          reply.by.map((one) => `version ${one.version} of "${one.subject}"`),
        );
      deleted.push(version);
    }
    return deleted;
  }

  /**
   * Finds the candidate's id; null: it has none yet. `exact`: found under the current form of its
   * fingerprint.
   */
  async #idOf(
    candidate: PreparedSchema,
    draft: SchemaDraft,
    versions: readonly SubjectVersion[],
  ): Promise<{ readonly id: number | null; readonly exact: boolean }> {
    const references = draft.references ?? [];
    const exact = await this.store.idOfFingerprint(schemaIdentityOf(candidate, references));
    if (exact !== null) return { id: exact, exact: true };
    // Millrace registers its own schemas with all files, and without references.
    const whole =
      references.length === 0
        ? null
        : await this.store.idOfFingerprint(schemaIdentityOf(candidate));
    if (whole !== null && versions.some((one) => one.id === whole))
      return { id: whole, exact: false };
    // A fingerprint of an older form stood for several schemas. So the stored schema is compared.
    const older = await this.store.idOfFingerprint(candidate.meaning);
    if (older === null) return { id: null, exact: false };
    const stored = (await readable(this.store.schemas([older])))?.[0];
    if (!stored) return { id: null, exact: false };
    const same =
      schemaIdentityOf(await this.prepared(older, draft.subject), stored.references) ===
      schemaIdentityOf(candidate, references);
    return { id: same ? older : null, exact: false };
  }

  /**
   * @param own id of the candidate, if it is registered. That version is compared with the
   *   candidate itself
   */
  async #judge(
    candidate: PreparedSchema,
    state: SubjectState,
    versions: readonly SubjectVersion[],
    own: number | null = null,
  ): Promise<Verdict> {
    const level = levelOf(state);
    const [damaged] = level === 'NONE' ? [] : state.damaged;
    // The schema of a damaged version is not known, so the candidate cannot be compared with it.
    if (damaged !== undefined) throw unknownVersion(state, damaged);
    if (level === 'NONE' || versions.length === 0)
      return { compatible: true, level, findings: [], warnings: [], against: [] };
    const compared = level.endsWith('_TRANSITIVE') ? versions : versions.slice(-1);
    const previous = function* (registry: SchemaRegistry): Generator<Promise<PreparedSchema>> {
      for (const one of compared)
        yield one.id === own
          ? Promise.resolve(candidate)
          : registry.prepared(one.id, state.subject);
    };
    const { compatible, findings, warnings } = await judge(level, candidate, previous(this));
    return { compatible, level, findings, warnings, against: compared.map((one) => one.version) };
  }

  /**
   * Judges a schema of a lost registry. The original order of the versions is not known, so either
   * order will do.
   */
  async #judgeLost(candidate: PreparedSchema, state: SubjectState): Promise<Verdict> {
    const level = levelOf(state);
    for (const one of level === 'NONE' ? [] : liveVersions(state)) {
      const other = await this.prepared(one.id, state.subject);
      const asNewer = await judge(level, candidate, [other]);
      if (asNewer.compatible || (await judge(level, other, [candidate])).compatible) continue;
      return { ...asNewer, level, against: [one.version] };
    }
    return { compatible: true, level, findings: [], warnings: [], against: [] };
  }
}
