/**
 * Pages of dead letters for people: the newest first, over all functions and partitions, with a
 * bound on the letters that are looked at. A page says how many that were.
 */
import { compareEntryIds } from '../../core/position.ts';
import {
  chooseLetters,
  newestLetters,
  parseLetterId,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterSource,
} from './dead-letters.ts';

export interface LetterPage {
  /** The newest first. */
  readonly letters: readonly DeadLetter[];
  /** Letters that were looked at for this page. */
  readonly looked: number;
  /** Id of the letter behind which the next page begins. Null: there is none. */
  readonly next: string | null;
}

export interface LetterPageOptions {
  /** `next` of the page before. Default: the newest letters. */
  readonly before?: string | undefined;
  /** Most letters of the page. Default 50. */
  readonly limit?: number;
  /** Most letters to look at. Default 1,000. */
  readonly look?: number;
}

/** Letters read from one place at a time. Each may have some hundred kilobytes. */
const READ = 10;

/** A place with its next letters, the newest first. */
interface OpenPlace {
  readonly fn: string;
  readonly partition: number;
  buffer: DeadLetter[];
  /** Begin of the next read; null: all letters were read. */
  from: string | null;
}

/**
 * Reads a page of letters. Letters that arrive or go meanwhile do not disturb the others.
 * @throws UnknownFunctionError, UnknownEventTypeError, DeadLetterIdError, LetterGroupError,
 *   InvalidTextError, RedisReplyError, UnknownOutcomeError
 */
export async function readLetterPage(
  source: DeadLetterSource,
  filter: Omit<DeadLetterFilter, 'ids' | 'limit' | 'after' | 'upTo'>,
  { before, limit = 50, look = 1000 }: LetterPageOptions = {},
): Promise<LetterPage> {
  const choice = await chooseLetters(source, filter);
  const start = before === undefined ? null : parseLetterId(before, source.partitions);
  const places = choice.places.map(({ fn, partition }): OpenPlace => {
    if (start === null) return { fn, partition, buffer: [], from: '+' };
    // Letters with the id of the last one are behind it where their place is.
    const behind = fn === start.fn ? partition > start.partition : fn > start.fn;
    return { fn, partition, buffer: [], from: `${behind ? '' : '('}${start.letterId}` };
  });
  const letters: DeadLetter[] = [];
  let looked = 0;
  let last: DeadLetter | null = null;
  while (letters.length < limit && looked < look) {
    await Promise.all(places.map((place) => fill(source, place)));
    const newest = newestOf(places);
    if (newest === null) return { letters, looked, next: null };
    last = newest;
    looked++;
    if (choice.has(newest)) letters.push(newest);
  }
  return { letters, looked, next: last?.id ?? before ?? null };
}

async function fill(source: DeadLetterSource, place: OpenPlace): Promise<void> {
  if (place.buffer.length > 0 || place.from === null) return;
  place.buffer = await newestLetters(source, place, place.from, READ);
  const last = place.buffer.at(-1);
  place.from = last && place.buffer.length === READ ? `(${last.letterId}` : null;
}

/** Takes the newest letter off its place. Null: no letter is left. */
function newestOf(places: readonly OpenPlace[]): DeadLetter | null {
  let best: OpenPlace | null = null;
  for (const place of places) {
    const [letter] = place.buffer;
    const [newest] = best?.buffer ?? [];
    if (letter && (!newest || compareEntryIds(letter.letterId, newest.letterId) > 0)) best = place;
  }
  return best?.buffer.shift() ?? null;
}
