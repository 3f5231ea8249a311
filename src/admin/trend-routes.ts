/**
 * `/api/trend` and `/api/marks`: the history of the deployment as JSON. Each answer costs Redis
 * three commands at most, whatever the deployment holds.
 */
import type { Context } from 'hono';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { RedisSpace } from '../redis/source.ts';
import { isMarkKind, MARK_KINDS, MOST_MARKS, type MarkKind } from '../trend/mark.ts';
import { readMarks } from '../trend/read-marks.ts';
import { MOST_POINTS, readTrend, readTrendFunctions } from '../trend/read-trend.ts';
import { MOST_HOURS } from '../trend/trend-times.ts';
import type { RouteGroup } from './server.ts';

/** Points of an answer: over 72 hours, one for each 20 minutes. */
const POINTS = 217;
const MARKS = 50;

export function trendRoutes(space: RedisSpace): RouteGroup {
  return {
    prefixes: ['/api/trend', '/api/marks'],
    access: 'guarded',
    mount(app) {
      app.get('/api/trend', (c) => answer(c, () => trendAsJson(space, c)));
      app.get('/api/trend/functions', (c) => answer(c, () => readTrendFunctions(space)));
      app.get('/api/marks', (c) => answer(c, () => marksAsJson(space, c)));
    },
  };
}

/** A parameter of the request that cannot be used. */
class WrongParameter extends Error {}

async function answer(c: Context, read: () => Promise<object>): Promise<Response> {
  try {
    return c.json(await read());
  } catch (error) {
    if (error instanceof WrongParameter) return c.json({ error: error.message }, 400);
    if (error instanceof MillraceError && error.retryable)
      return c.json({ error: error.message }, 503);
    throw error;
  }
}

async function trendAsJson(space: RedisSpace, c: Context): Promise<object> {
  const { nowMs, times, ...trend } = await readTrend(space, {
    function: c.req.query('function') ?? null,
    hours: numberIn(c, 'hours', 0.1, MOST_HOURS, MOST_HOURS),
    points: numberIn(c, 'points', 2, MOST_POINTS, POINTS),
  });
  return { ...trend, at: isoOf(nowMs), times: times.map(isoOf) };
}

async function marksAsJson(space: RedisSpace, c: Context): Promise<object> {
  const kinds = c.req.query('kinds')?.split(',');
  const unknown = kinds?.find((kind) => !isMarkKind(kind));
  if (unknown !== undefined)
    throw new WrongParameter(`kinds must be some of ${Object.keys(MARK_KINDS).join(', ')}`);
  const { marks, isCut } = await readMarks(space, {
    hours: numberIn(c, 'hours', 0.1, MOST_HOURS, MOST_HOURS),
    most: numberIn(c, 'limit', 1, MOST_MARKS, MARKS),
    function: c.req.query('function'),
    kinds: kinds as readonly MarkKind[] | undefined,
  });
  return { marks: marks.map(({ atMs, ...mark }) => ({ at: isoOf(atMs), ...mark })), isCut };
}

/** @throws WrongParameter */
function numberIn(c: Context, name: string, min: number, max: number, unset: number): number {
  const text = c.req.query(name);
  if (text === undefined) return unset;
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max))
    throw new WrongParameter(`${name} must be a number from ${min} to ${max}`);
  return value;
}

/** Null: the stored number is no time. */
function isoOf(ms: number): string | null {
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null;
}
