/**
 * Identity of an event, for code that remembers events (`dedupe`, `dedupe_ms`). By CloudEvents,
 * source and id together identify an event.
 *
 * The identity is the id alone where the source is the default one, or none. Else the identity is a
 * digest of the source, a newline, and the id. So a long source takes no more room than a short
 * one.
 *
 * An event that names no source has its batch's source. So its identity is the same for each
 * sender, batch and attempt.
 */
import { createHash } from 'node:crypto';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { envelopeProblem } from './envelope-problem.ts';
import { readEvent } from './batch-reader.ts';

/** Source of publishers and event stores that are given none. */
export const DEFAULT_SOURCE = 'millrace';

/** Most sources whose digests are kept: a deployment has few sources. */
const KEPT = 1000;
const digests = new Map<string, string>();

/**
 * Returns an event's identity. Two events have the same identity if, and only if, they are the same
 * event.
 */
export function identityOf(id: string, source: string): string {
  const known = source === '' ? DEFAULT_SOURCE : source;
  // An id with a newline could look like an identity with another source.
  return known === DEFAULT_SOURCE && !id.includes('\n') ? id : `${digestOf(known)}\n${id}`;
}

/**
 * Returns the identity of an Event message that left its batch.
 * @param batchSource the source of that batch
 * @returns '' where its attributes are invalid: such an event is never remembered
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
