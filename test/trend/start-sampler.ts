/** Starts a process's part of the trend, with a short minute. */
import { TrendSampler, type TrendOptions } from '../../src/trend/trend-sampler.ts';
import { readSamples } from '../../src/trend/trend-store.ts';
import { readMarks, type Marks } from '../../src/trend/read-marks.ts';
import type { TrendSample } from '../../src/trend/trend-sample.ts';
import { readLag } from '../../src/lag/lag.ts';
import type { RedisSpace } from '../../src/redis/source.ts';
import type { TestLike } from '../../scripts/lab/redis-server.ts';
import { atLeast, until } from '../../scripts/lab/until.ts';
import type { Bed } from '../pipeline/bare-lane.ts';

/** Length of a minute, ms. */
export const MINUTE = 200;

export interface LoggedLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export interface StartedSampler {
  readonly sampler: TrendSampler;
  readonly log: LoggedLine[];
  readonly owner: string;
}

let owners = 0;

export function startSampler(
  t: TestLike,
  bed: Bed,
  more: Partial<TrendOptions> = {},
): StartedSampler {
  const log: LoggedLine[] = [];
  const owner = `owner-${owners++}`;
  const sampler = new TrendSampler({
    source: bed,
    owner,
    log: (level, message, fields = {}) => void log.push({ level, message, fields }),
    lag: () => readLag(bed),
    minuteMs: MINUTE,
    ...more,
  });
  t.teardown(() => sampler.stop());
  sampler.start();
  return { sampler, log, owner };
}

/** Reads all samples of a step. */
export function samplesIn(
  space: RedisSpace,
  step: '1m' | '10m',
  fn: string | null,
): Promise<TrendSample[]> {
  return readSamples(space, { step, fn, fromMs: 0, toMs: 8.64e15, most: 10_000 });
}

/** Waits until so many more samples of the deployment are there. */
export async function untilSampled(space: RedisSpace, more: number): Promise<void> {
  const newest = async (): Promise<number> =>
    (await samplesIn(space, '1m', null)).at(-1)?.slotMs ?? 0;
  for (let i = 0; i < more; i++) {
    const before = await newest();
    await until('there is a later sample', async () => atLeast(await newest(), before + 1));
  }
}

export async function marksOf(space: RedisSpace, kind?: string): Promise<Marks['marks']> {
  const { marks } = await readMarks(space, { hours: null, most: 500 });
  return marks.filter((mark) => kind === undefined || mark.kind === kind);
}
