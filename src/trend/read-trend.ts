/**
 * Reads the trend, for pages and commands. Reads only, and bounded: the cost in Redis depends on
 * the number of samples, never on the events of the deployment.
 */
import type { RedisSpace } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import { unpackKnown } from './known-state.ts';
import { foldSamples, type TrendSample } from './trend-sample.ts';
import { figuresOf, readSamples } from './trend-store.ts';
import { seriesOfSamples, type TrendSeries } from './trend-series.ts';
import { keptSamples, MINUTE_MS, MOST_HOURS, stepFor, stepMs } from './trend-times.ts';

/** Most points of an answer. */
export const MOST_POINTS = 500;
const LEAST_POINTS = 2;

export interface TrendRequest {
  /** Null: the whole deployment. */
  readonly function: string | null;
  /** Time to look back, hours: MOST_HOURS at most. Parts of an hour are fine. */
  readonly hours: number;
  /** Most points of the answer: 2 to MOST_POINTS. */
  readonly points: number;
}

/** Figures: FUNCTION_FIGURES or DEPLOYMENT_FIGURES. */
export interface Trend extends TrendSeries {
  readonly function: string | null;
  /** Time of the answer by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /** Time between two samples, ms. A point may stand for several. */
  readonly everyMs: number;
  /** Number of samples of this distance that were found. 0: there is no trend of it. */
  readonly samples: number;
}

/**
 * Reads the trend of a function, or of the whole deployment. Numbers beyond their bounds are cut.
 *
 * Cost: TIME, and an XRANGE of 433 entries at most; beyond three hours another one of 181 entries.
 * Up to three hours come from samples by the minute, more from samples by ten minutes.
 * @param minuteMs length of a minute, ms: shorter in tests
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readTrend(
  space: RedisSpace,
  { function: fn, hours, points }: TrendRequest,
  minuteMs = MINUTE_MS,
): Promise<Trend> {
  const nowMs = await serverTime(space);
  const spanMs = Math.min(MOST_HOURS, Math.max(0, hours)) * 60 * minuteMs;
  const step = stepFor(spanMs, minuteMs);
  const everyMs = stepMs(step, minuteMs);
  const fromMs = nowMs - spanMs;
  // The sample before the first one gives its rates.
  const range = { fn, fromMs: fromMs - everyMs, toMs: nowMs };
  const samples =
    step === '1m'
      ? await readSamples(space, { ...range, step, most: keptSamples(step) + 1 })
      : await readTens(space, range, everyMs);
  const grid = {
    fromMs,
    toMs: nowMs,
    everyMs,
    points: Math.min(MOST_POINTS, Math.max(LEAST_POINTS, Math.floor(points))),
  };
  return {
    function: fn,
    nowMs,
    everyMs,
    samples: samples.length,
    ...seriesOfSamples(samples, figuresOf(fn), grid),
  };
}

interface TensRange {
  readonly fn: string | null;
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Reads the samples by ten minutes. The last minutes have none yet, and make one of their own. A
 * point has the time of its beginning, so these samples get it, too.
 */
async function readTens(
  space: RedisSpace,
  range: TensRange,
  everyMs: number,
): Promise<TrendSample[]> {
  const tens = await readSamples(space, { ...range, step: '10m', most: keptSamples('10m') + 1 });
  const doneMs = tens.at(-1)?.slotMs ?? 0;
  const minutes = await readSamples(space, {
    ...range,
    step: '1m',
    fromMs: Math.max(range.fromMs, doneMs),
    most: keptSamples('1m') + 1,
  });
  return [...tens, ...foldSamples(minutes, everyMs, figuresOf(range.fn), doneMs)].map((sample) => ({
    ...sample,
    slotMs: sample.slotMs - everyMs,
  }));
}

/** Functions that have a trend. */
export interface TrendFunctions {
  /** By name. */
  readonly functions: readonly string[];
  /** Number of functions beyond the bound of MOST_TREND_FUNCTIONS. */
  readonly others: number;
}

/**
 * Lists the functions that have a trend.
 *
 * Cost: one HMGET of three fields; the list has 500 functions at most.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export async function readTrendFunctions({
  connection,
  keys,
}: RedisSpace): Promise<TrendFunctions> {
  const names = ['atMs', 'functions', 'untracked'] as const;
  const texts = (await connection.command('HMGET', keys.trend('state'), ...names)) as (
    string | null
  )[];
  const fields = new Map<string, string>();
  for (const [i, name] of names.entries()) {
    const text = texts[i] ?? null;
    if (text !== null) fields.set(name, text);
  }
  const known = unpackKnown(fields);
  return {
    functions: [...(known?.functions?.keys() ?? [])].sort(),
    others: known?.untracked ?? 0,
  };
}
