/** The looks of `millrace top` so far, and the rates between them. No server, no terminal. */
import type { FunctionSample, TopSample } from './sample.ts';

/** Looks that the trends keep. */
const KEPT = 240;

/** Values of one function over time, the newest last. */
export interface Series {
  /** Events appended for the function, and settled by it, a second. */
  readonly inRate: readonly number[];
  readonly outRate: readonly number[];
  readonly lag: readonly number[];
  /** Age of the oldest event that is not settled, ms. */
  readonly ageMs: readonly number[];
}

export interface TopModel {
  /** Null: there was no look yet. */
  readonly sample: TopSample | null;
  readonly series: ReadonlyMap<string, Series>;
  /** Reason why the last look failed. Null: it did not. */
  readonly problem: string | null;
}

export const NO_LOOK: TopModel = { sample: null, series: new Map(), problem: null };
const NO_SERIES: Series = { inRate: [], outRate: [], lag: [], ageMs: [] };

/** Adds a look. Functions that are gone lose their series. */
export function withSample(model: TopModel, sample: TopSample): TopModel {
  const before = new Map(model.sample?.functions.map((fn) => [fn.name, fn]));
  const seconds = model.sample === null ? 0 : (sample.atMs - model.sample.atMs) / 1000;
  const series = new Map<string, Series>();
  for (const fn of sample.functions)
    series.set(fn.name, extended(model.series.get(fn.name) ?? NO_SERIES, fn, before, seconds));
  return { sample, series, problem: null };
}

/** Notes that a look failed. The last one stays. */
export function withProblem(model: TopModel, problem: string): TopModel {
  return { ...model, problem };
}

export function seriesOf(model: TopModel, fn: string): Series {
  return model.series.get(fn) ?? NO_SERIES;
}

/** Returns the newest value; null without one. */
export function newest(values: readonly number[]): number | null {
  return values.at(-1) ?? null;
}

function extended(
  { inRate, outRate, lag, ageMs }: Series,
  fn: FunctionSample,
  before: ReadonlyMap<string, FunctionSample>,
  seconds: number,
): Series {
  const last = before.get(fn.name);
  const push = (values: readonly number[], value: number): readonly number[] =>
    [...values, value].slice(-KEPT);
  const rate = (values: readonly number[], now: number, then: number | undefined) =>
    // A rewind sets counts back: that is no rate.
    then === undefined || seconds <= 0 ? values : push(values, Math.max(0, now - then) / seconds);
  return {
    inRate: rate(inRate, fn.appended, last?.appended),
    outRate: rate(outRate, settled(fn), last && settled(last)),
    lag: push(lag, waiting(fn)),
    ageMs: push(ageMs, fn.oldestMs ?? 0),
  };
}

function settled({ done, dead }: FunctionSample): number {
  return done + dead;
}

/** Events that are not settled. */
export function waiting({ lag, pending, parked }: FunctionSample): number {
  return lag + pending + parked;
}
