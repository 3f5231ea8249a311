/** Reads the marks, for pages and commands. Reads only. */
import type { RedisSpace } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import { MOST_MARKS, unpackMark, type Mark, type MarkKind } from './mark.ts';
import { MINUTE_MS } from './trend-times.ts';

export interface MarksRequest {
  /** Time to look back, hours. Null: as far as marks are kept. */
  readonly hours: number | null;
  /** Most marks of the answer, the newest: MOST_MARKS at most. */
  readonly most: number;
  /** Marks of this function, and those that concern no function alone. Default: all. */
  readonly function?: string | undefined;
  /** Default: all kinds. */
  readonly kinds?: readonly MarkKind[] | undefined;
}

export interface Marks {
  /** Newest first. Each has the id of its entry. */
  readonly marks: readonly (Mark & { readonly id: string })[];
  /** Whether older marks within the time were left out. */
  readonly isCut: boolean;
}

/**
 * Reads the newest marks.
 *
 * Cost: TIME, and one XREVRANGE of `most` + 1 entries; of MOST_MARKS entries where a function or
 * kinds are asked for.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readMarks(space: RedisSpace, request: MarksRequest): Promise<Marks> {
  const { connection, keys } = space;
  const { hours, function: fn, kinds } = request;
  const most = Math.min(MOST_MARKS, Math.max(1, Math.floor(request.most)));
  const fromMs = hours === null ? 0 : (await serverTime(space)) - hours * 60 * MINUTE_MS;
  const count = fn === undefined && kinds === undefined ? most + 1 : MOST_MARKS;
  const entries = (await connection.command(
    'XREVRANGE',
    keys.trend('marks'),
    '+',
    // A mark is written at its time or later.
    Math.max(0, Math.floor(fromMs)),
    'COUNT',
    count,
  )) as [string, string[]][];
  const marks = entries
    .flatMap(([id, flat]) => {
      const mark = unpackMark(flat);
      return mark === null ? [] : [{ ...mark, id }];
    })
    .filter((mark) => mark.atMs >= fromMs)
    .filter((mark) => fn === undefined || mark.function === null || mark.function === fn)
    .filter((mark) => kinds === undefined || kinds.includes(mark.kind))
    .sort((a, b) => b.atMs - a.atMs);
  return { marks: marks.slice(0, most), isCut: marks.length > most };
}
