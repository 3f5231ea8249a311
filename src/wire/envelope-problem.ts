/**
 * Problems of an event's attributes, although its bytes can be decoded. Millrace's own publishers
 * refuse such events, but a foreign producer may have written one. Only the event itself is
 * dead-lettered, not the events around it.
 */
import { EnvelopeError } from '../core/errors/data-errors.ts';
import { extensionProblem, type Extensions } from '../core/extensions.ts';
import { LIMITS } from './event-attributes.ts';
import type { EventHeader } from './event-header.ts';

/**
 * Returns the first problem; null: none. Runs for each event of a batch, so a valid event costs a
 * few comparisons and no call.
 */
export function envelopeProblem(event: EventHeader): EnvelopeError | null {
  const { id, subject } = event;
  const ids = id.length > 0 && id.length * 3 <= LIMITS.id;
  const subjects = subject.length > 0 && subject.length * 3 <= LIMITS.subject;
  if (ids && subjects && event.invalid === null && event.extensions === null) return null;
  return problemOf(event);
}

function problemOf(event: EventHeader): EnvelopeError | null {
  if (event.invalid !== null) {
    return new EnvelopeError(event.invalid, 'decode', 'is not valid UTF-8');
  }
  return (
    lengthProblem('subject', event.subject) ??
    lengthProblem('id', event.id) ??
    (event.extensions === null ? null : namesProblem(event.extensions))
  );
}

/**
 * Returns the problem of extensions that publishers refuse. An extension named `type` or `data`
 * would pass for the event's own attribute.
 */
function namesProblem(extensions: Extensions): EnvelopeError | null {
  const problem = extensionProblem(extensions);
  if (problem === null) return null;
  const name = JSON.stringify(problem.path.slice('extensions.'.length));
  return new EnvelopeError('extensions', 'envelope', `have one named ${name}: ${problem.what}`);
}

/** Returns a valid id or subject, else ''. */
export function nameOr(field: 'id' | 'subject', text: string): string {
  return lengthProblem(field, text) === null ? text : '';
}

function lengthProblem(field: 'id' | 'subject', text: string): EnvelopeError | null {
  const limit = LIMITS[field];
  if (text.length > 0 && text.length * 3 <= limit) return null;
  if (text === '')
    return new EnvelopeError(field, 'envelope', `is empty; it must have 1 to ${limit} bytes`);
  const bytes = Buffer.byteLength(text);
  if (bytes <= limit) return null;
  return new EnvelopeError(
    field,
    'envelope',
    `has ${bytes} bytes, the limit is ${limit}; it begins with ${JSON.stringify(text.slice(0, 40))}`,
  );
}
