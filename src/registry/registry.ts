/**
 * The schema registry: subjects (event types, or any name a client of the Confluent API comes
 * with), their versions, and schemas under global ids.
 *
 * Registering is optimistic: read the subject, judge the candidate against its versions, and have
 * register.lua take it only if the subject and its level are still what the candidate was judged
 * by. So two incompatible schemas never both get in, whoever registers at the same time.
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
  identityOf,
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

/** Somebody else registering the same subject at the same moment: judged again, so many times. */
const ROUNDS = 20;
/** Parsed schemas kept: judging a subject again must not parse its history again. */
const PARSED = 256;

export interface Registered {
  readonly id: number;
  readonly version: number;
  /** False: it was registered before. */
  readonly isNew: boolean;
}

export interface Verdict {
  readonly compatible: boolean;
  readonly level: Level;
  readonly findings: readonly Finding[];
  /** Not refused, but somebody should know: names that JSON and handlers see, for one. */
  readonly warnings: readonly Finding[];
  /** Versions it was compared with. */
  readonly against: readonly number[];
}

export interface VersionWithSchema extends SubjectVersion {
  readonly schema: StoredSchema;
}

export class SchemaRegistry {
  readonly store: RegistryStore;
  /** By id: a schema under an id never changes. Oldest out first. */
  readonly #parsed = new Map<number, PreparedSchema>();

  constructor(store: RegistryStore) {
    this.store = store;
  }

  /**
   * Registers a schema as the next version of its subject. One that is a version of it already is
   * answered with it.
   *
   * @param had what it was in a registry that was lost: it gets that id and version again where
   *   they are free, and stands beside versions that are compatible with it as the older or as the
   *   newer one
   * @throws InvalidSchemaError: the text is no schema, or not one that is accepted
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
    const fingerprint = identityOf(candidate, draft.references);
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
   * What registering would say, without registering. A subject without versions accepts every
   * schema.
   * @param version only against this one, whatever the level says of how many; it must exist
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
   * Where this schema is a live version of the subject; null where it is none.
   * @throws InvalidSchemaError
   */
  async find(draft: SchemaDraft, deletedToo = false): Promise<SubjectVersion | null> {
    const candidate = await prepareSchema(draft.subject, draft.files);
    const { versions } = await this.store.state(draft.subject);
    const { id } = await this.#idOf(candidate, draft, versions);
    return versions.findLast((one) => one.id === id && (deletedToo || !one.deleted)) ?? null;
  }

  /** Names of the subjects that have a live version. */
  async subjects(deletedToo = false): Promise<string[]> {
    const subjects = await this.store.subjects();
    const listed = await Promise.all(
      subjects.map(async (subject) => {
        const state = await readable(this.store.state(subject));
        // One that cannot be read is there: whoever asks for it is told.
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
   * Oldest first.
   * @throws UnknownSubjectError; CorruptDataError where none of its versions can be read
   */
  async versions(subject: string, deletedToo = false): Promise<readonly SubjectVersion[]> {
    return chooseVersions(await this.store.state(subject), deletedToo);
  }

  /**
   * @throws UnknownSubjectError, UnknownVersionError; CorruptDataError where its record, or that of
   *   its schema, is damaged
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

  /** Whether the schema under this id is this one. One that cannot be read is none. */
  async isIdOf(id: number, draft: SchemaDraft): Promise<boolean> {
    const [stored] = (await readable(this.store.schemas([id]))) ?? [];
    if (!stored) return false;
    const candidate = await prepareSchema(draft.subject, draft.files);
    return [identityOf(candidate, draft.references), candidate.meaning].includes(
      stored.fingerprint,
    );
  }

  /** The parsed form, for comparing. @throws UnknownSchemaError, InvalidSchemaError */
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

  /** The level that holds for a subject; without a subject the global one. */
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
   * @param level null: the subject follows the global level again (the global one: its default)
   * @throws RegistryInputError, RegistryFullError
   */
  async setLevel(subject: string | null, level: string | null): Promise<void> {
    if (subject !== null) checkSubject(subject);
    await this.store.setLevel(subject, level === null ? null : checkLevel(level));
  }

  /**
   * Softly (default): the version is no longer offered, and new ones are not compared with it. For
   * good: only what is deleted softly. What bears its schema's id is still decoded, also then.
   * @returns the versions deleted
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
    // What a schema refers to that cannot be read is not known: the version can be deleted all the
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

  /** Null: none yet. `exact`: found under the fingerprint that it has now. */
  async #idOf(
    candidate: PreparedSchema,
    draft: SchemaDraft,
    versions: readonly SubjectVersion[],
  ): Promise<{ readonly id: number | null; readonly exact: boolean }> {
    const references = draft.references ?? [];
    const exact = await this.store.idOfFingerprint(identityOf(candidate, references));
    if (exact !== null) return { id: exact, exact: true };
    // Millrace's own registrations hold the files, and refer to nothing.
    const whole =
      references.length === 0 ? null : await this.store.idOfFingerprint(identityOf(candidate));
    if (whole !== null && versions.some((one) => one.id === whole))
      return { id: whole, exact: false };
    // Fingerprints of an older form stood for several schemas: is it this one?
    const older = await this.store.idOfFingerprint(candidate.meaning);
    if (older === null) return { id: null, exact: false };
    const stored = (await readable(this.store.schemas([older])))?.[0];
    if (!stored) return { id: null, exact: false };
    const same =
      identityOf(await this.prepared(older, draft.subject), stored.references) ===
      identityOf(candidate, references);
    return { id: same ? older : null, exact: false };
  }

  /**
   * @param own id of the candidate where it is registered: it is compared with itself as it is here
   */
  async #judge(
    candidate: PreparedSchema,
    state: SubjectState,
    versions: readonly SubjectVersion[],
    own: number | null = null,
  ): Promise<Verdict> {
    const level = levelOf(state);
    const [damaged] = level === 'NONE' ? [] : state.damaged;
    // What it must be compared with is not known.
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

  /** Nobody knows any more which came first, so either order will do. */
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
