/**
 * Which event it is, for whoever remembers events (`dedupe`, `dedupe_ms`). CloudEvents: source and
 * id together.
 *
 * The id alone where the source is the default one, or none: that is what earlier versions have
 * remembered. Else a digest of the source, a newline, and the id. So a long source takes no more
 * room than a short one. The source of an event that names none is its batch's, so it does not
 * matter by whom, in which batch or at which attempt the event comes.
 */
import { createHash } from 'node:crypto';
import { CorruptDataError } from '../core/errors.ts';
import { envelopeProblem } from './envelope-problem.ts';
import { readEvent } from './batch-reader.ts';

/** Of publishers and event stores that are given none. */
export const DEFAULT_SOURCE = 'millrace';

/** Sources whose digests are kept: a deployment has few. */
const KEPT = 1000;
const digests = new Map<string, string>();

/** Two events have the same one if, and only if, they are the same event. */
export function identityOf(id: string, source: string): string {
  const known = source === '' ? DEFAULT_SOURCE : source;
  // An id with a newline could pass for that of another source.
  return known === DEFAULT_SOURCE && !id.includes('\n') ? id : `${digestOf(known)}\n${id}`;
}

/**
 * Of an Event message that left its batch.
 * @param batchSource the source of that batch
 * @returns '' where its attributes are none: nothing remembers such an event
 */
export function identityOfEvent(event: Uint8Array, batchSource: Uint8Array | undefined): string {
  try {
    const header = readEvent(event, batchSource);
    return envelopeProblem(header) === null ? identityOf(header.id, header.source) : '';
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return '';
  }
}

function digestOf(source: string): string {
  let digest = digests.get(source);
  if (digest === undefined) {
    if (digests.size >= KEPT) digests.clear();
    digest = createHash('sha256').update(source).digest('base64url').slice(0, 22);
    digests.set(source, digest);
  }
  return digest;
}
