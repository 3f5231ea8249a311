/**
 * The effects of a change of a subject: a new version, or the deletion of one. Both are judged by
 * the versions of the registry and by those that a sample has found in use. The check of every
 * event that is there is deployCheck().
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { Finding } from '../schema/finding.ts';
import type { Verdict } from './registry.ts';
import type { SchemaDraft } from './schema-draft.ts';
import {
  InvalidSchemaError,
  prepareSchema,
  readingProblems,
  type PreparedSchema,
} from './schema-tools.ts';
import { UnknownSchemaError, UnknownVersionError } from './schema-errors.ts';
import type { SchemaUsers, UsersSource, WrittenSchema } from './schema-users.ts';
import { textDifferences, type FileDifference } from './text-difference.ts';

export interface ChangeEffect {
  /** Verdict of a registration, at the subject's level. */
  readonly verdict: Verdict;
  /** Difference from the latest live version. Empty: the texts are the same, or there is none. */
  readonly text: readonly FileDifference[];
  /** Effect on each version that is live or in use, the newest first. */
  readonly versions: readonly VersionEffect[];
  /** Versions that were not compared, because there are too many. */
  readonly notCompared: number;
}

export interface VersionEffect {
  readonly schema: number;
  /** Null: the id is no version of the subject. */
  readonly version: number | null;
  /** Events of it in the sample. */
  readonly events: number;
  /** `<function> in <dispatcher>`, that read with it. */
  readonly readers: readonly string[];
  /** Findings that keep the new schema from reading its events. */
  readonly unreadable: readonly Finding[];
  /** Findings that keep its readers from reading events of the new schema. */
  readonly misread: readonly Finding[];
  /** Reason for which it cannot be compared. Null: it was. */
  readonly problem: string | null;
}

/** Most versions that are compared. Each is parsed. */
const MOST = 50;

/**
 * Judges a new version of a subject.
 * @param users from readSchemaUsers()
 * @throws InvalidSchemaError for the draft; UnknownOutcomeError, RedisReplyError
 */
export async function judgeChange(
  { registry }: Pick<UsersSource, 'registry'>,
  draft: SchemaDraft,
  users: SchemaUsers,
): Promise<ChangeEffect> {
  const candidate = await prepareSchema(draft.subject, draft.files);
  const verdict = await registry.check(draft);
  const live = users.versions.filter(({ deleted }) => !deleted);
  const latest = live.at(-1);
  const text =
    latest === undefined
      ? []
      : textDifferences((await registry.schema(latest.id)).files, draft.files);
  const ids = [
    ...new Set([
      ...live.map(({ id }) => id).reverse(),
      ...users.written.map(({ schema }) => schema),
      ...readSchemas(users),
    ]),
  ].filter((id) => id !== 0);
  const versions: VersionEffect[] = [];
  for (const id of ids.slice(0, MOST)) {
    const facts = factsOf(users, id);
    try {
      const other = await registry.prepared(id, draft.subject);
      versions.push({ ...facts, ...compared(candidate, other), problem: null });
    } catch (error) {
      const isIts =
        error instanceof UnknownSchemaError ||
        error instanceof InvalidSchemaError ||
        error instanceof CorruptDataError;
      if (!isIts) throw error;
      versions.push({ ...facts, unreadable: [], misread: [], problem: error.message });
    }
  }
  return { verdict, text, versions, notCompared: Math.max(0, ids.length - MOST) };
}

function compared(
  candidate: PreparedSchema,
  other: PreparedSchema,
): Pick<VersionEffect, 'unreadable' | 'misread'> {
  if (candidate.meaning === other.meaning) return { unreadable: [], misread: [] };
  return {
    unreadable: readingProblems(candidate, other),
    misread: readingProblems(other, candidate),
  };
}

export interface DeletionEffect {
  readonly version: number;
  readonly schema: number;
  readonly deleted: boolean;
  /** Versions of other subjects that import it. They prevent a permanent deletion. */
  readonly referencedBy: readonly { readonly subject: string; readonly version: number }[];
  /**
   * Its events in the sample: somebody still writes it. Such events are decoded after a deletion
   * too. In production mode their writers no longer start; in development they register it again.
   */
  readonly written: WrittenSchema | null;
  /** `<function> in <dispatcher>`, that read with it: they no longer start in production mode. */
  readonly readers: readonly string[];
  /** Whether no version is live afterwards: the next one is then compared with nothing. */
  readonly isLast: boolean;
}

/**
 * Judges the deletion of a version.
 * @param users from readSchemaUsers()
 * @throws UnknownVersionError, UnknownOutcomeError, RedisReplyError
 */
export async function judgeDeletion(
  { registry }: Pick<UsersSource, 'registry'>,
  version: number,
  users: SchemaUsers,
): Promise<DeletionEffect> {
  const { subject } = users;
  const found = users.versions.find((one) => one.version === version);
  if (!found) throw new UnknownVersionError(subject, version);
  return {
    version,
    schema: found.id,
    deleted: found.deleted,
    referencedBy: await registry.store.referencedBy(subject, version),
    written: users.written.find(({ schema }) => schema === found.id) ?? null,
    readers: readersOf(users, found.id),
    isLast: !users.versions.some((one) => !one.deleted && one.version !== version),
  };
}

function factsOf(
  users: SchemaUsers,
  schema: number,
): Pick<VersionEffect, 'schema' | 'version' | 'events' | 'readers'> {
  const written = users.written.find((one) => one.schema === schema);
  return {
    schema,
    version: users.versions.findLast(({ id }) => id === schema)?.version ?? null,
    events: written?.events ?? 0,
    readers: readersOf(users, schema),
  };
}

function readersOf({ readers }: SchemaUsers, schema: number): string[] {
  return readers.flatMap(({ name, dispatchers }) =>
    dispatchers
      .filter((one) => one.schema === schema)
      .map(({ dispatcher }) => `${name} in ${dispatcher}`),
  );
}

function readSchemas({ readers }: SchemaUsers): number[] {
  return readers.flatMap(({ dispatchers }) => dispatchers.flatMap(({ schema }) => schema ?? []));
}
