import { InvalidEventError } from './errors/input-errors.ts';
import { didYouMean } from './suggest.ts';

/**
 * Refuses an option that nobody reads. Without this check, `{ delay: 5000 }` would publish at once.
 * @param known the names of all options
 * @throws InvalidEventError naming the option and the known name nearest to it
 */
export function checkOptions(type: string, options: object, known: ReadonlySet<string>): void {
  for (const name in options) {
    if (known.has(name)) continue;
    if ((options as Record<string, unknown>)[name] === undefined) continue;
    throw new InvalidEventError(
      String(type),
      name,
      `there is no such option${didYouMean(name, known)}; there are ${[...known].join(', ')}`,
    );
  }
}

/** Options of publish(), beside the type and the data. */
export const PUBLISH_OPTIONS: ReadonlySet<string> = new Set([
  'id',
  'subject',
  'source',
  'time',
  'extensions',
  'deliverAt',
  'delayMs',
]);
/** Fields of an item of publishMany(). */
export const PUBLISH_ITEM: ReadonlySet<string> = new Set(['type', 'data', ...PUBLISH_OPTIONS]);
/** Fields of an event that is appended to a history. */
export const APPEND_EVENT: ReadonlySet<string> = new Set([
  'type',
  'data',
  'id',
  'source',
  'time',
  'extensions',
]);
/** Options of ctx.emit(). */
export const EMIT_OPTIONS: ReadonlySet<string> = new Set([
  'subject',
  'id',
  'deliverAt',
  'delayMs',
  'cause',
]);
