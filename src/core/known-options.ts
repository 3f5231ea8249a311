import { InvalidEventError } from './errors.ts';
import { didYouMean } from './suggest.ts';

/**
 * Refuses an option that nobody reads: `{ delay: 5000 }` would publish at once.
 * @param known the names there are
 * @throws InvalidEventError naming the option and the one that was most likely meant
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

/** Of publish(), beside the type and the data. */
export const PUBLISH_OPTIONS: ReadonlySet<string> = new Set([
  'id',
  'subject',
  'source',
  'time',
  'extensions',
  'deliverAt',
  'delayMs',
]);
/** Of an item of publishMany(). */
export const PUBLISH_ITEM: ReadonlySet<string> = new Set(['type', 'data', ...PUBLISH_OPTIONS]);
/** Of an event that is appended to a history. */
export const APPEND_EVENT: ReadonlySet<string> = new Set([
  'type',
  'data',
  'id',
  'source',
  'time',
  'extensions',
]);
/** Of ctx.emit(). */
export const EMIT_OPTIONS: ReadonlySet<string> = new Set([
  'subject',
  'id',
  'deliverAt',
  'delayMs',
  'cause',
]);
