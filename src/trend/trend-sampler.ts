/**
 * Takes the samples of the trend once a minute, and finds its marks. Any number of processes may
 * run this part. The one that holds the lease in Redis does the work, the others stand by.
 *
 * Nothing relies on the trend: a failure costs samples, which are missing then, and is logged once
 * for each cause.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { failureLevel, type Log } from '../core/log.ts';
import type { LagReport } from '../lag/lag.ts';
import type { Presence } from '../pipeline/ownership/presence.ts';
import type { RedisSource } from '../redis/source.ts';
import { findMarks } from './find-marks.ts';
import { emptyKnown, type Known } from './known-state.ts';
import type { Mark } from './mark.ts';
import { readTrendFacts, type TrendFacts } from './trend-facts.ts';
import type { DEPLOYMENT_FIGURES, TrendValues } from './trend-figures.ts';
import { foldSamples, functionValues, type TrendSample } from './trend-sample.ts';
import { AHEAD_MS, figuresOf, TrendStore, type TrendState } from './trend-store.ts';
import { alignedTo, keptMs, MINUTE_MS, MOST_TREND_FUNCTIONS, stepMs } from './trend-times.ts';

export interface TrendOptions {
  readonly source: RedisSource;
  /** Name of this process in the lease, unlike all others. */
  readonly owner: string;
  readonly log: Log;
  /** Reading that alerts and metrics share. */
  readonly lag: () => Promise<LagReport>;
  /** Length of a minute, ms: shorter in tests. Default MINUTE_MS. */
  readonly minuteMs?: number;
}

/** Parts of a minute: TTL of the lease, pause between two renewals, latest time of a sample. */
const LEASE = 0.75;
const PAUSE = 0.25;
const LATEST = 0.5;
/** Distance of a look from the beginning of its minute, ms: Redis must agree that it has begun. */
const BEHIND_MS = 20;
/** Longest time of stop(), ms. */
const STOP_MS = 3000;

export class TrendSampler implements Lifecycle {
  readonly #options: TrendOptions;
  readonly #minuteMs: number;
  readonly #store: TrendStore;
  readonly #loop: Loop;
  readonly #causes = new Causes();
  /** Null: it is to be read first. */
  #state: TrendState | null = null;
  /** Last state that was read or written under our lease. Null: another process had the lease. */
  #last: TrendState | null = null;
  /** Whether Redis has had a state in the time of this process. */
  #hadState = false;
  /** Time of the server at the last pass, and our own at that moment, ms. */
  #clock = { serverMs: 0, ownMs: 0 };
  #stopped: Promise<void> | null = null;

  constructor(options: TrendOptions) {
    this.#options = options;
    const { source, owner, minuteMs = MINUTE_MS } = options;
    this.#minuteMs = minuteMs;
    this.#store = new TrendStore(source, owner, minuteMs);
    this.#loop = new Loop({
      pass: () => this.#pass(),
      pauseMs: () => this.#pauseMs(),
      failed: (error) => this.#tell('the trend has a gap, trying again', error),
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** A Redis that does not answer must not hold up the end of the process. */
  async #stop(): Promise<void> {
    const late = new AbortController();
    await Promise.race([this.#end(), sleep(STOP_MS, late.signal)]);
    late.abort();
  }

  async #end(): Promise<void> {
    await this.#loop.stop();
    // Redis may be gone. The lease then ends by itself.
    await this.#store.release().catch(() => undefined);
  }

  async #pass(): Promise<void> {
    const lease = await this.#store.hold(Math.ceil(LEASE * this.#minuteMs));
    const { nowMs, isOwner } = lease;
    this.#clock = { serverMs: nowMs, ownMs: monotonicMs() };
    this.#hadState ||= lease.hasState;
    if (!isOwner) {
      this.#state = this.#last = null;
      return;
    }
    const state = this.#state ?? (await this.#load(nowMs));
    const slotMs = alignedTo(nowMs, this.#minuteMs);
    if (slotMs <= state.sampledMs && !isAhead(state.sampledMs, slotMs)) return;
    // A sample so late would tell of the next minute: this one stays a gap.
    if (nowMs - slotMs > LATEST * this.#minuteMs) return;
    // Until the outcome of the write is known.
    this.#state = null;
    await this.#sample(state, slotMs, nowMs);
    this.#causes.settle();
  }

  /** After FLUSHALL this process goes on from its memory. Without, it knows of the loss only. */
  async #load(nowMs: number): Promise<TrendState> {
    const found = await this.#store.load();
    let state = found;
    if (found.revision === '' && this.#hadState) {
      const known = emptyKnown(nowMs, this.#options.source.partitions);
      state = { ...(this.#last ?? { sampledMs: 0, foldedMs: 0, known }), revision: '' };
    }
    this.#hadState ||= found.revision !== '';
    this.#state = this.#last = state;
    return state;
  }

  async #sample(state: TrendState, slotMs: number, nowMs: number): Promise<void> {
    const { source, lag } = this.#options;
    const failed = (part: string, error: MillraceError): void =>
      this.#tell('a part of the trend could not be read', error, part);
    const facts = await readTrendFacts({ source, lag, failed }, state.known, nowMs);
    const { marks, known } = findMarks(state.known, facts);
    if (known.untracked > 0 && this.#causes.isNew('untracked'))
      this.#options.log('warn', `only ${MOST_TREND_FUNCTIONS} functions have a trend`, {
        others: known.untracked,
      });
    const samples = samplesOf(facts, known, slotMs);
    await this.#try(() => this.#store.add('1m', slotMs, samples));
    const foldedMs = await this.#fold(state, slotMs, [...samples.keys()]);
    const next = { sampledMs: slotMs, foldedMs, known };
    const saved =
      (await this.#store.save(
        state,
        next,
        state.revision === '' ? [...lostMarks(state, nowMs), ...marks] : marks,
      )) ?? (await this.#saveAgain(state, next, marks, nowMs));
    this.#state = saved;
    if (saved === null) return;
    this.#last = saved;
    this.#hadState = true;
  }

  /**
   * Another revision is in Redis. Where Redis has lost the state, the marks were not written. Where
   * another process has written its own, that process has made these marks.
   */
  async #saveAgain(
    state: TrendState,
    next: Omit<TrendState, 'revision' | 'known'> & { readonly known: Known },
    marks: readonly Mark[],
    nowMs: number,
  ): Promise<TrendState | null> {
    const found = await this.#load(nowMs);
    if (found.revision !== '') return null;
    return this.#store.save(found, next, [...lostMarks(state, nowMs), ...marks]);
  }

  /**
   * Makes the samples of the longer step, once its last minute is there.
   * @returns time up to which they are made
   */
  async #fold(
    { foldedMs, sampledMs }: TrendState,
    slotMs: number,
    functions: readonly (string | null)[],
  ): Promise<number> {
    const everyMs = stepMs('10m', this.#minuteMs);
    const upToMs = alignedTo(slotMs, everyMs);
    const doneMs = isAhead(sampledMs, slotMs) ? 0 : foldedMs;
    if (upToMs <= doneMs) return doneMs;
    const fromMs = Math.max(doneMs, upToMs - keptMs('1m', this.#minuteMs));
    const times = new Map<number, Map<string | null, TrendSample>>();
    await Promise.all(
      functions.map(async (fn) => {
        const minutes = await this.#store.read('1m', fn, fromMs, upToMs);
        for (const sample of foldSamples(minutes, everyMs, figuresOf(fn), doneMs)) {
          const ofTime = times.get(sample.slotMs) ?? new Map<string | null, TrendSample>();
          times.set(sample.slotMs, ofTime.set(fn, sample));
        }
      }),
    );
    const inOrder = [...times].sort(([a], [b]) => a - b);
    for (const [atMs, samples] of inOrder)
      if (!(await this.#try(() => this.#store.add('10m', atMs, samples)))) return doneMs;
    return upToMs;
  }

  /** Whether Redis has taken the samples. A refusal does not hold up the marks. */
  async #try(add: () => Promise<void>): Promise<boolean> {
    try {
      await add();
      return true;
    } catch (error) {
      if (!(error instanceof RedisReplyError)) throw error;
      this.#tell('samples of the trend could not be written', error);
      return false;
    }
  }

  /** @param part part of the look that failed; its causes may be rights that nobody needs */
  #tell(message: string, error: unknown, part?: string): void {
    const cause =
      error instanceof RedisReplyError
        ? error.reply
        : error instanceof MillraceError
          ? error.code
          : String(error);
    if (!this.#causes.isNew(part === undefined ? cause : `${cause} of a part`)) return;
    const level = part === undefined ? failureLevel(error) : 'info';
    this.#options.log(level, message, { ...(part !== undefined && { part }), err: error });
  }

  #pauseMs(): number {
    const { serverMs, ownMs } = this.#clock;
    const nowMs = serverMs + monotonicMs() - ownMs;
    const untilNext = this.#minuteMs - (nowMs % this.#minuteMs) + BEHIND_MS;
    return Math.min(PAUSE * this.#minuteMs, untilNext);
  }
}

/** Whether a stored time comes from a clock that was wrong. */
function isAhead(storedMs: number, nowMs: number): boolean {
  return storedMs - nowMs > AHEAD_MS;
}

function lostMarks({ known }: TrendState, nowMs: number): Mark[] {
  if (known === null) return [];
  const text = 'Redis has lost the trend so far: FLUSHALL, or a restored backup';
  return [{ atMs: nowMs, kind: 'redis', function: null, type: null, text, from: 'trend' }];
}

/** Samples of the whole deployment, and of the functions that have a trend. */
function samplesOf(
  facts: TrendFacts,
  { functions }: Known,
  slotMs: number,
): Map<string | null, TrendSample> {
  const atMs = facts.lag?.nowMs ?? facts.nowMs;
  const samples = new Map<string | null, TrendSample>();
  samples.set(null, { slotMs, atMs, values: deploymentValues(facts) });
  for (const fn of facts.lag?.functions ?? [])
    if (functions?.has(fn.name)) samples.set(fn.name, { slotMs, atMs, values: functionValues(fn) });
  return samples;
}

function deploymentValues(facts: TrendFacts): TrendValues<typeof DEPLOYMENT_FIGURES> {
  const { lag, masters, appended, dispatchers } = facts;
  const sum = <T>(all: Iterable<T> | null, of: (one: T) => number): number | null =>
    all === null ? null : [...all].reduce((total, one) => total + of(one), 0);
  const functions = lag?.functions ?? null;
  const serving = dispatchers && [...dispatchers.values()].filter((one) => one !== 'left');
  const presences = serving && serving.filter((one): one is Presence => one !== 'silent');
  return {
    appended,
    done: sum(functions, (one) => one.done),
    died: sum(functions, (one) => one.dead),
    waiting: sum(functions, (one) => one.lag + one.pending + one.parked),
    usedBytes: sum(masters, (one) => one.usedBytes),
    limitBytes: sum(masters, (one) => one.limitBytes),
    dispatchers: sum(serving, () => 1),
    threads: sum(presences, (one) => one.threads),
    busy: sum(presences, (one) => one.busy),
  };
}

/** Causes of failures. Each is told once, until a sample succeeds without it. */
class Causes {
  #before = new Set<string>();
  #now = new Set<string>();

  isNew(cause: string): boolean {
    const isKnown = this.#before.has(cause) || this.#now.has(cause);
    this.#now.add(cause);
    return !isKnown;
  }

  /** A sample has succeeded. */
  settle(): void {
    this.#before = this.#now;
    this.#now = new Set();
  }
}
