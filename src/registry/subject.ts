/** The meaning of a subject's record: the versions that it offers, and its compatibility level. */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { textProblem } from '../core/well-formed.ts';
import { LEVELS, type Level } from '../schema/model.ts';
import { RegistryInputError, UnknownSubjectError, UnknownVersionError } from './schema-errors.ts';
import type { SubjectState, SubjectVersion } from './stored-records.ts';

export const DEFAULT_LEVEL: Level = 'FULL_TRANSITIVE';
const SUBJECT_BYTES = 255;

export function liveVersions(state: SubjectState): readonly SubjectVersion[] {
  return state.versions.filter((one) => !one.deleted);
}

export function levelOf(state: SubjectState): Level {
  return state.level === '' ? DEFAULT_LEVEL : storedLevel(state.level, state.subject);
}

/** @throws CorruptDataError */
export function storedLevel(text: string, subject: string): Level {
  const found = LEVELS.find((level) => level === text);
  if (found) return found;
  throw new CorruptDataError(
    'decode',
    `the compatibility level in the registry is not valid: ${JSON.stringify(text.slice(0, 60))}. To set it again: millrace schema level ${subject} ${DEFAULT_LEVEL}`.replaceAll(
      '  ',
      ' ',
    ),
  );
}

/** @throws UnknownSubjectError; CorruptDataError where none of its versions can be read */
export function chooseVersions(
  state: SubjectState,
  deletedToo: boolean,
): readonly SubjectVersion[] {
  const versions = deletedToo ? state.versions : liveVersions(state);
  const [damaged] = state.damaged;
  if (versions.length === 0 && damaged !== undefined) throw unknownVersion(state, damaged);
  if (versions.length === 0) throw new UnknownSubjectError(state.subject);
  return versions;
}

/** Returns the error for a version that cannot be found: damaged, or not there. */
export function unknownVersion({ subject, damaged }: SubjectState, version: number): Error {
  if (!damaged.includes(version)) return new UnknownVersionError(subject, version);
  return new CorruptDataError(
    'decode',
    `version ${version} of "${subject}" cannot be read: its record in the registry has no schema id. The other versions can be read. Set the field id:${version} of its key to the schema's id, or delete the field: the version is then gone`,
  );
}

/**
 * Accepts event types, file names, topics with "-value": any printable text. @throws
 * RegistryInputError
 */
export function checkSubject(subject: string): void {
  const unfit = textProblem(subject);
  if (unfit !== null) throw new RegistryInputError('subject', `the subject ${unfit}`);
  if (
    subject === '' ||
    Buffer.byteLength(subject) > SUBJECT_BYTES ||
    /[\u0000-\u001f\u007f]/.test(subject)
  ) {
    throw new RegistryInputError(
      'subject',
      `a subject has 1 to ${SUBJECT_BYTES} bytes and no control characters, got ${JSON.stringify(subject.slice(0, 100))}`,
    );
  }
}
