/**
 * Replays many dead letters at a chosen pace: first a canary, then the others, until too many fail.
 *
 *   canary (n letters, then their outcomes) → letters at a rate → outcomes of the last ones
 *
 * Only letters that were there at the start are replayed. So an event that dies again is not
 * replayed again. The progress is kept in Redis after each chunk. A replay that was interrupted
 * goes on behind the last letter handled.
 */
import { randomBytes } from 'node:crypto';
import { monotonicMs, sleep } from '../core/clock.ts';
import {
  listDeadLetters,
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterSource,
} from '../pipeline/dead/dead-letters.ts';
import { readPlaces } from '../pipeline/dead/letter-groups.ts';
import { replayDeadLetter } from '../pipeline/dead/replay.ts';
import { readPartitions } from '../redis/counters.ts';
import { serverTime } from '../redis/server-time.ts';
import { lastLetterIds, ReplayedOutcomes, type OutcomeCounts } from './replayed-outcomes.ts';
import {
  readReplayRun,
  saveReplayRun,
  type ReplayEnd,
  type ReplayFilter,
  type ReplayPace,
  type ReplayRunState,
} from './replay-state.ts';

export interface ProceedOptions {
  /** Ends the replay before its next letter. */
  readonly signal: AbortSignal;
  /**
   * Time in which the canary, and the last events, get their outcomes, ms. Default 60,000. It also
   * bounds a wait without any outcome.
   */
  readonly outcomesMs?: number;
  /** Told after each chunk, and after each look for the outcomes that are awaited. */
  readonly progress?: (state: ReplayRunState) => void;
  /** Told of each letter that holds no event. */
  readonly notReplayable?: (letter: DeadLetter) => void;
}

const OUTCOMES_MS = 60_000;
/** Pause between two looks for outcomes, ms. */
const LOOK_MS = 200;
/** Letters between two states in Redis, and the time after which one is written anyway, ms. */
const CHUNK = { letters: 100, ms: 2000 } as const;
/** Most events that are followed. The replay waits for outcomes then. */
const MOST_OPEN = 1000;
/** Outcomes from which on their share of failures counts. */
const ENOUGH_OUTCOMES = 20;
const NO_OUTCOMES: OutcomeCounts = { done: 0, dead: 0, retrying: 0, open: 0 };

/** Thrown inside a run, to end it. */
class Ended extends Error {
  readonly end: ReplayEnd;
  constructor(end: ReplayEnd) {
    super(end);
    this.end = end;
  }
}

export class ReplayRun {
  readonly #source: DeadLetterSource;
  readonly #outcomes: ReplayedOutcomes;
  /** Ordering of each function, by name. */
  readonly #orderings: ReadonlyMap<string, 'key' | 'none'>;
  /** Outcomes of earlier tries. Their open events are not followed any more. */
  readonly #earlier: OutcomeCounts;
  #state: ReplayRunState;
  #saved = true;
  #sinceSave = { letters: 0, atMs: monotonicMs() };
  /** Letters of this try, and the time of its first one. */
  #paced = { letters: 0, fromMs: 0 };
  #lookedMs = 0;

  private constructor(
    source: DeadLetterSource,
    state: ReplayRunState,
    found: Pick<Begun, 'orderings' | 'last'>,
  ) {
    this.#source = source;
    this.#state = state;
    this.#earlier = state.outcomes;
    this.#orderings = found.orderings;
    this.#outcomes = new ReplayedOutcomes(source, found.last);
  }

  /**
   * Begins a replay of the letters that are there now and pass the filter. Nothing is replayed yet.
   * @throws UnknownFunctionError, LetterGroupError, RedisReplyError, UnknownOutcomeError
   */
  static async begin(
    source: DeadLetterSource,
    filter: ReplayFilter,
    pace: ReplayPace,
  ): Promise<ReplayRun> {
    const found = await lookAround(source);
    const state: ReplayRunState = {
      id: randomBytes(6).toString('hex'),
      startedMs: await serverTime(source),
      filter,
      pace,
      upTo: Object.fromEntries(found.last),
      after: null,
      canaryPassed: pace.canary === null,
      replayed: 0,
      gone: 0,
      notReplayable: 0,
      outcomes: NO_OUTCOMES,
      end: null,
    };
    return new ReplayRun(source, state, found);
  }

  /**
   * Takes a replay up again. Its letters are those of its beginning.
   * @param pace replaces parts of the pace of the beginning
   * @throws ReplayRunError, RedisReplyError, UnknownOutcomeError
   */
  static async resume(
    source: DeadLetterSource,
    id: string,
    pace: Partial<ReplayPace> = {},
  ): Promise<ReplayRun> {
    const known = await readReplayRun(source, id);
    const state = { ...known, pace: { ...known.pace, ...pace }, end: null };
    return new ReplayRun(source, state, await lookAround(source));
  }

  get state(): ReplayRunState {
    const { done, dead, retrying, open } = this.#outcomes.counts;
    const before = this.#earlier;
    return {
      ...this.#state,
      outcomes: {
        done: before.done + done,
        dead: before.dead + dead,
        retrying: before.retrying + retrying,
        open,
      },
    };
  }

  /** Whether the last progress is in Redis. False: Redis takes no writes. */
  get saved(): boolean {
    return this.#saved;
  }

  /**
   * Replays until all letters are handled, or the replay ends for another reason. Such a replay may
   * be taken up again by resume().
   * @throws UnknownOutcomeError, RedisReplyError: the progress is kept as far as it is known
   */
  async proceed(options: ProceedOptions): Promise<ReplayEnd> {
    const end = await this.#run(options).then(
      (): ReplayEnd => 'finished',
      (error: unknown) => {
        if (error instanceof Ended) return error.end;
        throw error;
      },
    );
    this.#state = { ...this.#state, end };
    // A replay of nothing leaves no record.
    if (this.#handled > 0 || end !== 'finished') await this.#save(options);
    return end;
  }

  async #run(options: ProceedOptions): Promise<void> {
    const { filter, upTo, after, pace } = this.#state;
    const bounds: DeadLetterFilter = {
      ...filter,
      limit: filter.limit === undefined ? undefined : filter.limit - this.#handled,
      upTo: new Map(Object.entries(upTo)),
      after: after ?? undefined,
    };
    let canaryLeft = this.#state.canaryPassed ? 0 : (pace.canary ?? 0);
    let isFirst = true;
    for await (const letter of listDeadLetters(this.#source, bounds)) {
      // Names that nobody knows are refused before the first letter: they leave no record.
      if (isFirst) await this.#save(options);
      isFirst = false;
      await this.#pace(options.signal);
      const replayed = await this.#replay(letter, options);
      if (canaryLeft > 0 && replayed && --canaryLeft === 0) await this.#judgeCanary(options);
      await this.#watch(options);
    }
    if (!this.#state.canaryPassed) await this.#judgeCanary(options);
    if (this.#follows) await this.#settle(options);
    this.#judgeRate();
  }

  get #handled(): number {
    const { replayed, gone, notReplayable } = this.#state;
    return replayed + gone + notReplayable;
  }

  /** Whether outcomes count: until the canary has passed, or for the bound of failures. */
  get #follows(): boolean {
    return this.#state.pace.stopAt !== null || !this.#state.canaryPassed;
  }

  /** @returns whether the letter's event was moved */
  async #replay(letter: DeadLetter, { notReplayable }: ProceedOptions): Promise<boolean> {
    const state = this.#state;
    if (letter.kind !== 'event') {
      notReplayable?.(letter);
      this.#state = { ...state, notReplayable: state.notReplayable + 1, after: letter.id };
      return false;
    }
    const moved = (await replayDeadLetter(this.#source, letter)) === 'replayed';
    if (moved && this.#follows)
      this.#outcomes.follow(letter, this.#orderings.get(letter.function) ?? 'key');
    this.#state = {
      ...state,
      after: letter.id,
      ...(moved ? { replayed: state.replayed + 1 } : { gone: state.gone + 1 }),
    };
    return moved;
  }

  /** Waits for the turn of the next letter. @throws Ended */
  async #pace(signal: AbortSignal): Promise<void> {
    const { rate } = this.#state.pace;
    const nowMs = monotonicMs();
    if (this.#paced.letters === 0) this.#paced.fromMs = nowMs;
    if (rate !== null) {
      const dueMs = this.#paced.fromMs + (this.#paced.letters * 1000) / rate;
      if (dueMs > nowMs) await sleep(dueMs - nowMs, signal);
    }
    this.#paced.letters++;
    if (signal.aborted) throw new Ended('interrupted');
  }

  /** Keeps the progress, and looks for outcomes now and then. @throws Ended */
  async #watch(options: ProceedOptions): Promise<void> {
    if (this.#follows) {
      if (monotonicMs() - this.#lookedMs >= LOOK_MS) await this.#look();
      await this.#untilRoom(options);
    }
    const due = monotonicMs() - this.#sinceSave.atMs >= CHUNK.ms;
    if (++this.#sinceSave.letters >= CHUNK.letters || due) await this.#save(options);
  }

  /** Waits while too many events are without an outcome. @throws Ended */
  async #untilRoom(options: ProceedOptions): Promise<void> {
    const { signal, outcomesMs = OUTCOMES_MS } = options;
    let known = this.#known;
    let sinceMs = monotonicMs();
    while (this.#outcomes.counts.open >= MOST_OPEN) {
      if (monotonicMs() - sinceMs >= outcomesMs) throw new Ended('undecided');
      await sleep(LOOK_MS, signal);
      if (signal.aborted) throw new Ended('interrupted');
      await this.#look();
      options.progress?.(this.state);
      if (this.#known === known) continue;
      known = this.#known;
      sinceMs = monotonicMs();
    }
  }

  /** @throws Ended */
  async #look(): Promise<void> {
    await this.#outcomes.look();
    this.#lookedMs = monotonicMs();
    if (this.#known >= ENOUGH_OUTCOMES) this.#judgeRate();
  }

  /** Outcomes of this try. */
  get #known(): number {
    const { done, dead, retrying } = this.#outcomes.counts;
    return done + dead + retrying;
  }

  /** @throws Ended */
  #judgeRate(): void {
    const { stopAt } = this.#state.pace;
    const { dead, retrying } = this.#outcomes.counts;
    if (stopAt !== null && this.#known > 0 && (dead + retrying) / this.#known > stopAt)
      throw new Ended('failure-rate');
  }

  /** Waits for the outcomes of the canary. @throws Ended */
  async #judgeCanary(options: ProceedOptions): Promise<void> {
    await this.#settle(options);
    const { dead, retrying, open } = this.#outcomes.counts;
    const { stopAt } = this.#state.pace;
    const allowed = (stopAt ?? 0) * this.#known;
    if (dead + retrying > allowed) throw new Ended('canary-failed');
    if (open > 0) throw new Ended('undecided');
    this.#state = { ...this.#state, canaryPassed: true };
    // The pace of the others begins now.
    this.#paced = { letters: 0, fromMs: 0 };
  }

  /** Waits until no followed event is without an outcome, for a bounded time. @throws Ended */
  async #settle({ signal, progress, outcomesMs = OUTCOMES_MS }: ProceedOptions): Promise<void> {
    const untilMs = monotonicMs() + outcomesMs;
    for (;;) {
      await this.#outcomes.look();
      if (this.#outcomes.counts.open === 0 || monotonicMs() >= untilMs) return;
      progress?.(this.state);
      await sleep(LOOK_MS, signal);
      if (signal.aborted) throw new Ended('interrupted');
    }
  }

  async #save({ progress }: ProceedOptions): Promise<void> {
    this.#saved = await saveReplayRun(this.#source, this.state);
    this.#sinceSave = { letters: 0, atMs: monotonicMs() };
    progress?.(this.state);
  }
}

interface Begun {
  readonly orderings: ReadonlyMap<string, 'key' | 'none'>;
  /** Last letter of each place. */
  readonly last: Map<string, string>;
}

async function lookAround(source: DeadLetterSource): Promise<Begun> {
  const states = await readPartitions(source);
  const places = await readPlaces(source, states, undefined);
  const orderings = new Map<string, 'key' | 'none'>();
  for (const { functions } of states)
    for (const { name, ordering } of functions) orderings.set(name, ordering);
  return { orderings, last: await lastLetterIds(source, places) };
}
