/**
 * A sample: the figures of one moment, as one short text. All is pure.
 *
 * The text begins with the distance of the look from the sample's time in ms. The values follow in
 * the order of their figures, with spaces between. `-` stands for an unknown value. A total with
 * `!` was set back since the sample before.
 */
import type { FunctionLag } from '../lag/lag.ts';
import type { FUNCTION_FIGURES, TrendFigures, TrendValues } from './trend-figures.ts';

export interface TrendSample {
  /** Aligned time of the sample by the server's clock, ms since 1970. */
  readonly slotMs: number;
  /** Time of the look. */
  readonly atMs: number;
  readonly values: Readonly<Record<string, number | null>>;
  /** Totals whose growth since the sample before is not known. Default: none. */
  readonly setBack?: ReadonlySet<string>;
}

export function packSample(
  { slotMs, atMs, values, setBack }: TrendSample,
  figures: TrendFigures,
): string {
  const texts = Object.keys(figures).map((name) => {
    const value = values[name] ?? null;
    return value === null ? '-' : `${Math.round(value)}${setBack?.has(name) ? '!' : ''}`;
  });
  return [Math.round(atMs - slotMs), ...texts].join(' ');
}

const WORD = /^(?:-|(-?\d{1,17})(!?))$/;

/**
 * Reads a sample. A figure that the sample lacks is null.
 * @returns null: another program has written the text
 */
export function unpackSample(
  slotMs: number,
  text: string,
  figures: TrendFigures,
): TrendSample | null {
  const words = text.split(' ').map((word) => WORD.exec(word));
  const late = Number(words[0]?.[1]);
  if (words.includes(null) || !Number.isFinite(slotMs + late)) return null;
  const values: Record<string, number | null> = {};
  const setBack = new Set<string>();
  for (const [i, name] of Object.keys(figures).entries()) {
    const [, value, mark] = words[i + 1] ?? [];
    values[name] = value === undefined ? null : Number(value);
    if (mark === '!') setBack.add(name);
  }
  return { slotMs, atMs: slotMs + late, values, ...(setBack.size > 0 && { setBack }) };
}

export function functionValues(lag: FunctionLag): TrendValues<typeof FUNCTION_FIGURES> {
  return {
    appended: lag.appended,
    done: lag.done,
    skipped: lag.skipped,
    died: lag.dead,
    lag: lag.lag,
    pending: lag.pending,
    parked: lag.parked,
    held: lag.states.held.events,
    dead: lag.dead - lag.purged,
    oldestMs: lag.oldestMs ?? 0,
  };
}

/**
 * Returns the totals whose growth between two samples is not known. A rewind, a removal and a flush
 * of the server set totals back. The function then counts anew.
 */
export function setBackSince(
  before: TrendSample,
  sample: TrendSample,
  figures: TrendFigures,
): ReadonlySet<string> {
  const counts = Object.entries(figures).filter(([, { kind }]) => kind === 'count');
  const isNewer = sample.atMs > before.atMs;
  const fell = (name: string): boolean =>
    !isNewer || (sample.values[name] ?? Infinity) < (before.values[name] ?? -Infinity);
  const together = counts.some(([name, { falls, alone }]) => !falls && !alone && fell(name));
  const names = counts.filter(([name, { alone }]) => (alone ? fell(name) : together));
  return new Set([...(sample.setBack ?? []), ...names.map(([name]) => name)]);
}

/**
 * Makes samples of a longer step: the last totals, and the highest levels. A step ends with its
 * last sample, and has its time.
 * @param samples oldest first. Those up to `afterMs` belong to steps that were made before
 */
export function foldSamples(
  samples: readonly TrendSample[],
  everyMs: number,
  figures: TrendFigures,
  afterMs: number,
): TrendSample[] {
  const steps = new Map<number, TrendSample>();
  for (const [i, sample] of samples.entries()) {
    if (sample.slotMs <= afterMs) continue;
    const endMs = Math.ceil(sample.slotMs / everyMs) * everyMs;
    const before = samples[i - 1];
    const setBack = before ? setBackSince(before, sample, figures) : new Set<string>();
    const one = { ...sample, slotMs: endMs, setBack };
    const earlier = steps.get(endMs);
    steps.set(endMs, earlier ? joined(earlier, one, figures) : one);
  }
  return [...steps.values()];
}

function joined(a: TrendSample, b: TrendSample, figures: TrendFigures): TrendSample {
  const values = Object.entries(figures).map(([name, { kind }]) => {
    const [first, last] = [a.values[name] ?? null, b.values[name] ?? null];
    if (first === null || last === null) return [name, last ?? first] as const;
    return [name, kind === 'count' ? last : Math.max(first, last)] as const;
  });
  return {
    slotMs: b.slotMs,
    atMs: b.atMs,
    values: Object.fromEntries(values),
    setBack: new Set([...(a.setBack ?? []), ...(b.setBack ?? [])]),
  };
}
