/**
 * Errors of the registry. The admin server turns each class into one error code of the Confluent
 * API.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { Finding } from '../schema/finding.ts';
import { LEVELS, type Level } from '../schema/model.ts';

/**
 * The subject's compatibility level forbids the schema. Nothing was registered. `findings` lists
 * every reason with its cure.
 */
export class IncompatibleSchemaError extends MillraceError {
  readonly code = 'INCOMPATIBLE_SCHEMA';
  readonly subject: string;
  readonly level: string;
  readonly findings: readonly Finding[];
  /** Versions that the schema was compared with, oldest first. */
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

/** Describes a finding in one line: rule, place, fault, cure. */
export function describeFinding(finding: Finding): string {
  return `${finding.rule} ${finding.path}: ${finding.what}. ${finding.cure}`;
}

/**
 * Describes the first hundred findings, and counts the rest. So a message can be read, and never
 * has megabytes.
 */
export function describeFindings(findings: readonly Finding[]): string[] {
  const lines = findings.slice(0, MOST_LINES).map(describeFinding);
  return findings.length > MOST_LINES
    ? [...lines, `… and ${findings.length - MOST_LINES} more`]
    : lines;
}
const MOST_LINES = 100;

/** No version of the subject is registered, or all are deleted. */
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

/** No schema is registered under the id, or another one is. */
export class UnknownSchemaError extends MillraceError {
  readonly code = 'UNKNOWN_SCHEMA';
  constructor(message: string) {
    super(message);
  }
}

/**
 * The version was deleted before (`already`), or a permanent deletion found it not deleted yet
 * (`live`).
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
        : `${what} is not deleted: delete it first, then permanently`,
    );
    this.subject = subject;
    this.version = version;
    this.problem = problem;
  }
}

/** Other schemas import the version. */
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

/** The registry has reached one of its limits. */
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

/** The subject, version or level is not valid. */
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
 * Awaits a record; null: the record is damaged. Lists use it to go on with the others. A request
 * for that record gets the error.
 */
export async function readable<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof CorruptDataError) return null;
    throw error;
  }
}
