/**
 * The recent values of the figures whose change a rule asks for. A series has at most POINTS + 2
 * values, whatever the length of its window, and there are at most MOST_SERIES series. All is pure.
 */
import { changeOf, type Point } from '../lag/rates.ts';
import {
  isCounter,
  labelsKey,
  type FigureName,
  type Readings,
  type FigureSample,
} from './figures.ts';
import type { Operand } from './expression.ts';

/** By figure, then by labels. */
export type History = ReadonlyMap<FigureName, ReadonlyMap<string, readonly Point[]>>;

/** By figure: the longest and the shortest window that is asked for, ms. */
export type Windows = ReadonlyMap<
  FigureName,
  { readonly longest: number; readonly shortest: number }
>;

/** Values kept of a window. The change of a window is exact to a tenth of the window. */
const POINTS = 10;
/** Most series that are kept. Further series have no change. */
export const MOST_SERIES = 1000;

export const NO_HISTORY: History = new Map();

/** Joins the windows that operands ask for. */
export function windowsOf(operands: Iterable<Pick<Operand, 'figure' | 'change'>>): Windows {
  const windows = new Map<FigureName, { longest: number; shortest: number }>();
  for (const { figure, change } of operands) {
    if (!change) continue;
    const { longest = 0, shortest = Infinity } = windows.get(figure) ?? {};
    const { windowMs } = change;
    windows.set(figure, {
      longest: Math.max(longest, windowMs),
      shortest: Math.min(shortest, windowMs),
    });
  }
  return windows;
}

/**
 * Adds the readings to the history. A figure that was not read keeps its values. A series that is
 * gone loses its values. A counter that began within the window counts from 0.
 * @param createdMs time at which the deployment was created, ms since 1970; 0: it is not known
 */
export function remember(
  history: History,
  windows: Windows,
  { samples, unread }: Readings,
  nowMs: number,
  createdMs = 0,
): History {
  const known = [...history.values()].reduce((sum, series) => sum + series.size, 0);
  const next = new Map<FigureName, ReadonlyMap<string, readonly Point[]>>();
  let left = MOST_SERIES;
  for (const [figure, { longest, shortest }] of windows) {
    const before = history.get(figure);
    if (unread.has(figure)) {
      if (before) next.set(figure, before);
      left -= before?.size ?? 0;
      continue;
    }
    // The first look at a young deployment, or a series that the look before did not have. Beyond
    // the bound a series may be missing although it is old.
    const isYoung = before ? known < MOST_SERIES : createdMs > nowMs - shortest;
    const start: readonly Point[] = isYoung && isCounter(figure) ? [[nowMs - 1, 0]] : [];
    const series = new Map<string, readonly Point[]>();
    for (const { labels, value } of samples.get(figure) ?? []) {
      if (left-- <= 0) break;
      const key = labelsKey(labels);
      series.set(key, withPoint(before?.get(key) ?? start, longest, [nowMs, value]));
    }
    next.set(figure, series);
  }
  return next;
}

function withPoint(points: readonly Point[], windowMs: number, point: Point): readonly Point[] {
  const [nowMs] = point;
  // A clock that went back makes later values worthless.
  const past = points.filter(([atMs]) => atMs <= nowMs);
  // One value before the window stands for its start.
  const inside = past.findIndex(([atMs]) => atMs > nowMs - windowMs);
  const kept = inside < 0 ? past.slice(-1) : past.slice(Math.max(0, inside - 1));
  const previous = kept.at(-2);
  // The last value is replaced until it is a tenth of the window behind the one before it.
  const replaces =
    previous !== undefined && (kept.at(-1) as Point)[0] - previous[0] < windowMs / POINTS;
  return [...(replaces ? kept.slice(0, -1) : kept), point];
}

/** Returns the change of each series of the operand within its window. */
export function changesOf(
  history: History,
  operand: Operand,
  samples: readonly FigureSample[],
): FigureSample[] {
  const { figure, change } = operand;
  if (change === null) return [...samples];
  const series = history.get(figure);
  return samples.flatMap(({ labels }) => {
    const points = series?.get(labelsKey(labels));
    if (!points) return [];
    const [, value] = changeOf(points, change.kind, change.windowMs);
    return [{ labels, value }];
  });
}

/** Returns a form for JSON. */
export function packHistory(history: History): unknown {
  return [...history].map(([figure, series]) => [figure, [...series]]);
}

/** Reads what packHistory() has written. Null: it cannot be read. */
export function unpackHistory(packed: unknown): History | null {
  try {
    const history = new Map<FigureName, ReadonlyMap<string, readonly Point[]>>();
    for (const [figure, series] of packed as [FigureName, [string, Point[]][]][]) {
      const read = new Map<string, readonly Point[]>();
      for (const [key, points] of series) {
        const usable = points.every((point) => point.length === 2 && point.every(Number.isFinite));
        if (usable) read.set(key, points);
      }
      history.set(figure, read);
    }
    return history;
  } catch {
    return null;
  }
}
