/**
 * The trend in Redis. All keys share the hash tag `{trend}`.
 *
 * - `1m:<function>`, `10m:<function>`: streams of samples with exact bounds. The id of an entry is
 *   the sample's time. Without a function: the whole deployment. The keys end by themselves, so
 *   those of a removed function do.
 * - `marks`: stream of marks.
 * - `state`: the state that marks were found from, the times of the last samples, `#revision`.
 * - `lease`: the process that takes samples.
 */
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { TrendStep } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import type { RedisSpace } from '../redis/source.ts';
import { packKnown, unpackKnown, type Known } from './known-state.ts';
import { MOST_MARKS, packMark, type Mark } from './mark.ts';
import { DEPLOYMENT_FIGURES, FUNCTION_FIGURES, type TrendFigures } from './trend-figures.ts';
import { packSample, unpackSample, type TrendSample } from './trend-sample.ts';
import { keptMs, keptSamples, MINUTE_MS } from './trend-times.ts';

const holdScript = defineScript({ url: new URL('./hold-trend.lua', import.meta.url), keys: 2 });
const addScript = defineScript({
  url: new URL('./add-samples.lua', import.meta.url),
  keys: 'variable',
});
const saveScript = defineScript({ url: new URL('./save-marks.lua', import.meta.url), keys: 2 });

/** Streams that one call of a script writes. So no call holds Redis up for long. */
const STREAMS_AT_ONCE = 100;
/** Distance by which a stored sample may be ahead of the clock, ms. */
export const AHEAD_MS = 3_600_000;

/** The state in Redis. */
export interface TrendState {
  /** '': there is no state yet. */
  readonly revision: string;
  /** Time of the last sample by the minute, and of the last one that was folded. 0: none. */
  readonly sampledMs: number;
  readonly foldedMs: number;
  /** Null: there was no look yet. */
  readonly known: Known | null;
}

/** Answer to the attempt to hold the lease. */
export interface TrendLease {
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  readonly isOwner: boolean;
  /** Whether Redis has a state. */
  readonly hasState: boolean;
}

/** Samples of one time, by function. Null stands for the whole deployment. */
export type SamplesOf = ReadonlyMap<string | null, TrendSample>;

export function figuresOf(fn: string | null): TrendFigures {
  return fn === null ? DEPLOYMENT_FIGURES : FUNCTION_FIGURES;
}

export class TrendStore {
  readonly #space: RedisSpace;
  readonly #owner: string;
  readonly #minuteMs: number;
  /** Texts in Redis, by field: only changed fields are written. */
  #written: ReadonlyMap<string, string> = new Map();
  #revisions = 0;

  /**
   * @param owner name of this process, unlike all others
   * @param minuteMs length of a minute, ms: shorter in tests
   */
  constructor(space: RedisSpace, owner: string, minuteMs = MINUTE_MS) {
    this.#space = space;
    this.#owner = owner;
    this.#minuteMs = minuteMs;
  }

  /**
   * Takes or keeps the lease.
   * @throws RedisReplyError, UnknownOutcomeError
   */
  async hold(ttlMs: number): Promise<TrendLease> {
    const reply = await this.#hold(ttlMs);
    const [now, owner, revision] = reply as [string, string, string];
    return { nowMs: Number(now), isOwner: owner === this.#owner, hasState: revision !== '' };
  }

  /** Gives the lease back, so that another process need not wait for its end. */
  async release(): Promise<void> {
    await this.#hold(0);
  }

  #hold(ttlMs: number): Promise<unknown> {
    const { connection, keys } = this.#space;
    const names = [keys.trend('lease'), keys.trend('state')];
    return holdScript.run(connection, names, [this.#owner, ttlMs]);
  }

  /** @throws RedisReplyError, UnknownOutcomeError */
  async load(): Promise<TrendState> {
    const { connection, keys } = this.#space;
    const flat = (await connection.command('HGETALL', keys.trend('state'))) as string[];
    const fields = new Map<string, string>();
    for (let i = 0; i + 1 < flat.length; i += 2)
      fields.set(flat[i] as string, flat[i + 1] as string);
    this.#written = fields;
    const time = (name: string): number => Number(fields.get(name)) || 0;
    return {
      revision: fields.get('#revision') ?? '',
      sampledMs: time('sampledMs'),
      foldedMs: time('foldedMs'),
      known: unpackKnown(fields),
    };
  }

  /**
   * Adds samples of one time. A sample that is there already stays as it is.
   * @throws RedisReplyError naming the first stream that takes none; UnknownOutcomeError
   */
  async add(step: TrendStep, slotMs: number, samples: SamplesOf): Promise<void> {
    const { connection, keys } = this.#space;
    const all = [...samples];
    let refusal = '';
    for (let from = 0; from < all.length; from += STREAMS_AT_ONCE) {
      const some = all.slice(from, from + STREAMS_AT_ONCE);
      const [, refused] = (await addScript.run(
        connection,
        some.map(([fn]) => keys.trendSamples(step, fn)),
        [
          ...[slotMs, keptSamples(step), keptMs(step, this.#minuteMs), AHEAD_MS],
          ...some.map(([fn, sample]) => packSample(sample, figuresOf(fn))),
        ],
      )) as [number, string];
      if (refusal === '') refusal = refused;
    }
    if (refusal !== '') throw new RedisReplyError(addScript.name, refusal);
  }

  /**
   * Reads samples, oldest first: one command, of `most` entries at most.
   * @param fromMs time of the first sample, included
   * @throws RedisReplyError, UnknownOutcomeError
   */
  read(
    step: TrendStep,
    fn: string | null,
    fromMs: number,
    toMs: number,
    most = keptSamples(step) + 1,
  ): Promise<TrendSample[]> {
    return readSamples(this.#space, { step, fn, fromMs, toMs, most });
  }

  /**
   * Writes marks, and the state that they were found from, in one step.
   * @returns the new state. Null: another process has written a state meanwhile, and nothing was
   *   written
   * @throws RedisReplyError, UnknownOutcomeError
   */
  async save(
    before: TrendState,
    next: Omit<TrendState, 'revision' | 'known'> & { readonly known: Known },
    marks: readonly Mark[],
  ): Promise<TrendState | null> {
    const { connection, keys } = this.#space;
    const revision = `${this.#owner}:${++this.#revisions}`;
    const fields = new Map([
      ...packKnown(next.known),
      ['sampledMs', String(next.sampledMs)] as const,
      ['foldedMs', String(next.foldedMs)] as const,
    ]);
    // A state that was lost is written whole.
    const written = before.revision === '' ? new Map<string, string>() : this.#written;
    const changed = [...fields].filter(([field, text]) => written.get(field) !== text);
    const reply = await saveScript.run(
      connection,
      [keys.trend('state'), keys.trend('marks')],
      [
        ...[before.revision, revision, MOST_MARKS, changed.length],
        ...changed.flat(),
        ...marks.slice(-MOST_MARKS).flatMap(packMark),
      ],
    );
    if (reply !== 1) return null;
    this.#written = fields;
    return { ...next, revision };
  }
}

export interface SampleRange {
  readonly step: TrendStep;
  /** Null: the whole deployment. */
  readonly fn: string | null;
  /** Times of the first and the last sample, both included, ms since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly most: number;
}

/** Reads samples, oldest first. A text that is no sample is left out. */
export async function readSamples(
  { connection, keys }: RedisSpace,
  { step, fn, fromMs, toMs, most }: SampleRange,
): Promise<TrendSample[]> {
  const [from, to] = [Math.max(0, Math.ceil(fromMs)), Math.max(0, Math.floor(toMs))];
  const entries = (await connection.command(
    'XRANGE',
    keys.trendSamples(step, fn),
    from,
    to,
    'COUNT',
    most,
  )) as [string, string[]][];
  return entries.flatMap(([id, flat]) => {
    const text = flat[flat.indexOf('s') + 1] ?? '';
    return unpackSample(Number(id.split('-')[0]), text, figuresOf(fn)) ?? [];
  });
}
