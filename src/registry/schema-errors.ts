/**
 * What the registry refuses. The admin server turns each class into one error code of the Confluent
 * API.
 */
import { CorruptDataError, MillraceError } from '../core/errors.ts';
import type { Finding } from '../schema/finding.ts';
import { LEVELS, type Level } from '../schema/model.ts';

/**
 * A schema that its subject's compatibility level forbids. Nothing was registered. `findings` lists
 * every reason with its cure.
 */
export class IncompatibleSchemaError extends MillraceError {
  readonly code = 'INCOMPATIBLE_SCHEMA';
  readonly subject: string;
  readonly level: string;
  readonly findings: readonly Finding[];
  /** Versions it was compared with, oldest first. */
  readonly against: readonly number[];
  constructor(
    subject: string,
    level: string,
    findings: readonly Finding[],
    against: readonly number[] = [],
  ) {
    super(
      `the schema of "${subject}" is not compatible with what is registered (level ${level}), ${findings.length} finding${findings.length === 1 ? '' : 's'}:\n` +
        describeFindings(findings)
          .map((line) => `  - ${line}`)
          .join('\n'),
    );
    this.subject = subject;
    this.level = level;
    this.findings = findings;
    this.against = against;
  }
}

/** One line: rule, place, what is wrong, what to do. */
export function describeFinding(finding: Finding): string {
  return `${finding.rule} ${finding.path}: ${finding.what}. ${finding.cure}`;
}

/**
 * The first hundred, and how many more there are: enough to be read, and no message of megabytes.
 */
export function describeFindings(findings: readonly Finding[]): string[] {
  const lines = findings.slice(0, MOST_LINES).map(describeFinding);
  return findings.length > MOST_LINES
    ? [...lines, `… and ${findings.length - MOST_LINES} more`]
    : lines;
}
const MOST_LINES = 100;

/** No version of this subject is registered (or all are deleted). */
export class UnknownSubjectError extends MillraceError {
  readonly code = 'UNKNOWN_SUBJECT';
  readonly subject: string;
  constructor(subject: string) {
    super(`no schema is registered for "${subject}"; millrace schema list shows what is`);
    this.subject = subject;
  }
}

/** The subject has no such version (any more). */
export class UnknownVersionError extends MillraceError {
  readonly code = 'UNKNOWN_VERSION';
  readonly subject: string;
  readonly version: number;
  constructor(subject: string, version: number) {
    super(`"${subject}" has no version ${version}`);
    this.subject = subject;
    this.version = version;
  }
}

/** Nothing is registered under this id, or not this schema. */
export class UnknownSchemaError extends MillraceError {
  readonly code = 'UNKNOWN_SCHEMA';
  constructor(message: string) {
    super(message);
  }
}

/**
 * Deleting something that was deleted before (`already`), or for good something that is not deleted
 * yet (`live`).
 */
export class DeletionError extends MillraceError {
  readonly code = 'SCHEMA_DELETION';
  readonly subject: string;
  readonly version: number | null;
  readonly problem: 'already' | 'live';
  constructor(subject: string, version: number | null, problem: 'already' | 'live') {
    const what = version === null ? `"${subject}"` : `version ${version} of "${subject}"`;
    super(
      problem === 'already'
        ? `${what} was deleted before`
        : `${what} is not deleted: delete it first, then for good`,
    );
    this.subject = subject;
    this.version = version;
    this.problem = problem;
  }
}

/** Other schemas import this version. */
export class SchemaReferencedError extends MillraceError {
  readonly code = 'SCHEMA_REFERENCED';
  readonly by: readonly string[];
  constructor(subject: string, version: number, by: readonly string[]) {
    super(
      `version ${version} of "${subject}" is imported by ${by.join(', ')}: delete ${by.length === 1 ? 'that' : 'those'} first`,
    );
    this.by = by;
  }
}

/** The registry holds as much as it may. */
export class RegistryFullError extends MillraceError {
  readonly code = 'REGISTRY_FULL';
  readonly what: string;
  readonly limit: number;
  constructor(what: string, limit: number) {
    super(`the registry holds ${limit} ${what}, which is the limit. Nothing was registered`);
    this.what = what;
    this.limit = limit;
  }
}

/** A subject, version or level that is no such thing. */
export class RegistryInputError extends MillraceError {
  readonly code = 'REGISTRY_INPUT';
  readonly what: 'subject' | 'version' | 'level' | 'references';
  constructor(what: RegistryInputError['what'], message: string) {
    super(message);
    this.what = what;
  }
}

/** @throws RegistryInputError */
export function checkLevel(level: unknown): Level {
  const found = LEVELS.find((one) => one === level);
  if (!found)
    throw new RegistryInputError(
      'level',
      `${JSON.stringify(level)} is no compatibility level; levels are ${LEVELS.join(', ')}`,
    );
  return found;
}

/**
 * Null: the record cannot be read. For lists, which give the others; whoever asks for that one is
 * told.
 */
export async function readable<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof CorruptDataError) return null;
    throw error;
  }
}
