/**
 * Runs a batch so that an event which kills its thread costs itself and nothing else.
 *
 * When a thread dies, the shared cells say which events were running.
 *
 * - A single running event is the culprit.
 * - Several are suspects: each runs again alone. Only an event that kills a thread alone is charged
 *   an attempt.
 * - Completed events are not run again, unless their effects died with the thread. Those run again
 *   before all others: they come before the running events of their subjects.
 * - Events that were not running run in a later round, uncharged. Such an event was not reached
 *   yet, or it failed and its details died with the thread.
 *
 *   alone (events that killed a thread before) → all → done
 *   all → a thread died → again → blame → alone (suspects) → all
 *
 * Where whole dispatchers have died (SoloSearch), every event runs alone from the start.
 */
import type { SetupFailed } from '../../core/thread-protocol.ts';
import { monotonicMs } from '../../core/clock.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import { CELL, recycleCells, type ProgressCells } from '../../core/progress-cells.ts';
import { prepareBatch, type Batch, type PreparedBatch } from '../batch/batch.ts';
import type { BatchResult } from './batch-result.ts';
import { EventLocator } from './event-locator.ts';
import { RunOutcomes } from './run-outcomes.ts';
import { follow, isLate } from './stragglers.ts';
import type { RunLimits, RunResult, Straggler, ThreadDeath } from './thread-run.ts';
import type { WorkerPool } from './worker-pool.ts';

/**
 * The search for an event that kills whole dispatchers. Every event runs alone, and is marked
 * before it runs.
 */
export interface SoloSearch {
  readonly suspect: { readonly address: string; readonly deaths: number } | null;
  /** Number of owners that died of the event, as far as is known now. */
  deathsOf(address: string): Promise<number>;
  /** Runs a marked event while no other one runs so. @returns false where the lease is lost */
  alone<T>(address: string, run: () => Promise<T>): Promise<T | false>;
}

/** Says until when events may start. Without a control, all events are run. */
export interface RunControl {
  /** Time after which a turn starts nothing further, ms. */
  readonly turnMs: number;
  readonly mayStart: boolean;
  /**
   * Called with the cells each time before events are sent to a thread, and with null when the
   * cells are no longer shared with it.
   */
  observe(cells: ProgressCells | null, events: number): void;
  /** Handlers of a reported batch run on, each until its promise in `ends` settles. */
  beside(cells: ProgressCells, ends: readonly Promise<unknown>[]): void;
}

export interface RunCall {
  readonly pool: Pick<WorkerPool, 'run'>;
  readonly batch: Batch;
  readonly spec: FunctionSpec;
  /** Subjects whose stream events wait behind parked ones. Default: none. */
  readonly blockedSubjects?: readonly string[];
  /** Aborts when the dispatcher ends its threads. */
  readonly cancel: AbortSignal;
  /** Default: no dispatcher has died of the batch's events. */
  readonly search?: SoloSearch | null;
  /** Default: all events are run. */
  readonly control?: RunControl | null;
  /** States before the run. An event that is SKIP is not run, and stays SKIP. Default: TODO. */
  readonly before?: Uint8Array | null;
  /** Whether slow handlers may go on behind the result. Default false. */
  readonly detach?: boolean;
}

/** Deaths without a running handler, after which the events are run one by one all the same. */
const BLIND_DEATHS = 2;
/**
 * Most dispatchers that an event may cost. A function's attempts are meant for outages of the
 * services it calls; an event that ends whole processes gets fewer.
 */
const MOST_DISPATCHER_DEATHS = 5;
/** Times completed events are run again together, before each runs alone. */
const GROUP_TRIES = 2;

export function runIsolating(
  call: RunCall,
): Promise<BatchResult | SetupFailed | { readonly kind: 'stopped' }> {
  return new IsolatedRun(call).run();
}

/**
 * The end of a run. `stopped`: no outcome of the batch counts. `halted`: events without an outcome
 * were not started, or were cut off.
 */
type End = { readonly kind: 'ok' | 'halted' | 'stopped' } | SetupFailed;

/** A thread died in a round. */
interface RoundDeath {
  readonly kind: 'death';
  readonly death: ThreadDeath;
  /** Events whose handlers were running. */
  readonly running: readonly number[];
  /** Running events that are certainly to blame; null: the blame is not known. */
  readonly certain: readonly number[] | null;
  /** Completed events whose effects died with the thread. */
  readonly lost: readonly number[];
}

type Next =
  /** Run all events that are left. */
  | { readonly step: 'all' }
  /** Run these one by one. */
  | { readonly step: 'alone'; readonly events: readonly number[] }
  /** Run the completed events again whose effects are lost. */
  | { readonly step: 'again'; readonly round: RoundDeath }
  /** Charge the culprit, or find it among the suspects. */
  | { readonly step: 'blame'; readonly round: RoundDeath }
  | { readonly step: 'done'; readonly end: End };

const OK = { kind: 'ok' } as const;
const HALTED = { kind: 'halted' } as const;
const STOPPED = { kind: 'stopped' } as const;
const ALL: Next = { step: 'all' };

class IsolatedRun {
  readonly #call: RunCall;
  readonly #batch: Batch;
  readonly #spec: FunctionSpec;
  readonly #search: SoloSearch | null;
  readonly #control: RunControl | null;
  readonly #locator: EventLocator;
  readonly #outcomes: RunOutcomes;
  readonly #limits: Required<Pick<RunLimits, 'timeoutMs' | 'concurrency' | 'turnMs'>> &
    Pick<RunLimits, 'most'>;
  /** Number of deaths without a running handler. */
  #blind = 0;

  constructor(call: RunCall) {
    const { batch, spec } = call;
    this.#call = call;
    this.#batch = batch;
    this.#spec = spec;
    this.#search = call.search ?? null;
    this.#control = call.control ?? null;
    this.#locator = new EventLocator(batch);
    const { before = null, blockedSubjects = [] } = call;
    this.#outcomes = new RunOutcomes(this.#locator, batch, spec, before, blockedSubjects);
    const most = mostOf(spec);
    this.#limits = {
      timeoutMs: spec.timeoutMs,
      concurrency: spec.concurrency,
      most,
      turnMs: this.#control?.turnMs ?? Infinity,
    };
  }

  async run(): Promise<BatchResult | SetupFailed | { readonly kind: 'stopped' }> {
    let next: Next = { step: 'alone', events: this.#aloneFirst() };
    while (next.step !== 'done') next = await this.#take(next);
    const { end } = next;
    if (end.kind === 'setup-failed') return end;
    return end.kind === 'stopped' ? STOPPED : this.#outcomes.result();
  }

  async #take(next: Exclude<Next, { step: 'done' }>): Promise<Next> {
    switch (next.step) {
      case 'all': {
        const end = await this.#round(null);
        return end.kind === 'death' ? { step: 'again', round: end } : { step: 'done', end };
      }
      case 'alone': {
        const end = await this.#alone(next.events);
        return end.kind === 'ok' ? ALL : { step: 'done', end };
      }
      case 'again':
        return this.#again(next.round);
      case 'blame':
        return this.#blame(next.round);
    }
  }

  /** Events that run alone first: in a search all, else retries that killed their thread. */
  #aloneFirst(): readonly number[] {
    if (this.#search) return this.#locator.locatable();
    const events: number[] = [];
    let index = 0;
    for (const { isolate, records } of this.#batch.retries) {
      if (isolate) events.push(index);
      index += records.length;
    }
    return events;
  }

  async #again(round: RoundDeath): Promise<Next> {
    const { lost } = round;
    if (lost.length === 0) return { step: 'blame', round };
    const end = await this.#together(lost);
    if (end.kind !== 'ok') return { step: 'done', end };
    // Events that now stand behind a failure are held by the next round.
    const free = (index: number): boolean => !this.#outcomes.isBehindFailure(index);
    const certain = round.certain?.filter(free) ?? null;
    return { step: 'blame', round: { ...round, certain, running: round.running.filter(free) } };
  }

  async #together(events: readonly number[]): Promise<End> {
    for (let tries = 0; tries < GROUP_TRIES; tries++) {
      const end = await this.#round(events);
      if (end.kind !== 'death') return end;
    }
    return this.#alone(events);
  }

  #blame({ death, certain, running }: RoundDeath): Next {
    const shared = death.shared ?? false;
    if (certain && certain.length > 0) {
      for (const index of certain) this.#outcomes.charge(index, death);
      return ALL;
    }
    if (death.innocent) return ALL;
    if (running.length === 1 && !shared) {
      this.#outcomes.charge(running[0] as number, death);
      return ALL;
    }
    if (running.length > 0) return { step: 'alone', events: running };
    // No handler was running: an event threw after it had settled, or the thread died while it
    // decoded. Try again, then look closer.
    if (shared || ++this.#blind <= BLIND_DEATHS) return ALL;
    const { states } = this.#outcomes;
    const first = states.findIndex(
      (state, index) => state === CELL.TODO && !this.#outcomes.isInFailedUnit(index),
    );
    return first >= 0 ? { step: 'alone', events: [first] } : ALL;
  }

  /** Runs events one by one, in order. An event that kills its thread is charged. */
  async #alone(suspects: readonly number[]): Promise<End> {
    const sinceMs = monotonicMs();
    let settled = false;
    for (const suspect of this.#locator.inOrder(suspects)) {
      // The event was settled before this run, or by a round of several.
      if (this.#outcomes.states[suspect] !== CELL.TODO) continue;
      if (!this.#mayStart(settled ? sinceMs : null)) return HALTED;
      // A call of handleBatch runs several events of a subject. Once an earlier one has failed, the
      // later ones wait behind it.
      if (this.#outcomes.isBehindFailure(suspect)) {
        this.#outcomes.block(suspect);
        continue;
      }
      const end = await this.#suspect(suspect);
      settled = true;
      if (end.kind === 'death') this.#outcomes.charge(suspect, end.death);
      else if (end.kind !== 'ok') return end;
    }
    return OK;
  }

  /**
   * Whether the next suspect may start. The suspects of one death all run in one turn: otherwise
   * they would kill a thread together again. In a search the turn ends when its time is over.
   * @param sinceMs time at which the first suspect could start; null: none has run yet
   */
  #mayStart(sinceMs: number | null): boolean {
    const { turnMs, mayStart } = this.#control ?? { turnMs: Infinity, mayStart: true };
    const long = this.#search !== null && sinceMs !== null && monotonicMs() - sinceMs > turnMs;
    return mayStart && !long;
  }

  /** Runs one event alone. In a search it is marked, unless it has cost too many dispatchers. */
  async #suspect(index: number): Promise<End | RoundDeath> {
    if (!this.#search) return this.#round([index]);
    const address = this.#locator.addressOf(index);
    const known = await this.#search.deathsOf(address);
    if (known >= Math.min(this.#spec.retry.attempts, MOST_DISPATCHER_DEATHS)) {
      this.#outcomes.chargeDispatchers(index, known);
      return OK;
    }
    return (await this.#search.alone(address, () => this.#round([index]))) || STOPPED;
  }

  /** Sends one round to a thread. @param only events of the round; null: all that are left */
  async #round(only: readonly number[] | null): Promise<End | RoundDeath> {
    const outcomes = this.#outcomes;
    const skip = this.#skipped(only);
    if (skip.every((state) => state === CELL.SKIP)) return OK;
    const blocked = only ? [] : [...outcomes.stopped];
    const prepared = prepareBatch(this.#batch, {
      skip,
      blocked,
      isolate: only !== null,
      caused: [...outcomes.effects],
    });
    const { cells } = prepared;
    const sentMs = monotonicMs();
    const result = await this.#send(prepared, only);
    if (result.kind === 'setup-failed') return result;
    if (result.kind === 'report') {
      outcomes.take(result, cells, only);
      this.#letGo(cells, result.stragglers ?? null);
      const left = (state: number, i: number): boolean =>
        state !== CELL.SKIP && outcomes.states[i] === CELL.TODO;
      return this.#control && skip.some(left) ? HALTED : OK;
    }
    outcomes.takeDone(cells);
    if (this.#call.cancel.aborted) return this.#control ? HALTED : STOPPED;
    return this.#autopsy(result, cells, sentMs);
  }

  /** Marks as SKIP settled events, retries of failed units, and events that are not in `only`. */
  #skipped(only: readonly number[] | null): Uint8Array {
    const outcomes = this.#outcomes;
    const skip = new Uint8Array(this.#batch.events);
    for (let i = 0; i < this.#batch.events; i++) {
      if (outcomes.states[i] !== CELL.TODO) skip[i] = CELL.SKIP;
      else if (only !== null) skip[i] = only.includes(i) ? CELL.TODO : CELL.SKIP;
      else if (i < this.#batch.retryEvents && outcomes.isInFailedUnit(i)) {
        skip[i] = CELL.SKIP;
        outcomes.block(i);
      }
    }
    return skip;
  }

  async #send(prepared: PreparedBatch, only: readonly number[] | null): Promise<RunResult> {
    const { pool, cancel, detach = false } = this.#call;
    this.#control?.observe(prepared.cells, this.#batch.events);
    const { timeoutMs, concurrency, most, turnMs } = this.#limits;
    const limits = {
      timeoutMs,
      concurrency,
      most,
      turnMs,
      alone: only !== null || this.#outcomes.deaths > 0,
      solo: only !== null,
      detach: detach && only === null && !this.#search,
    };
    const result = await pool.run(prepared, limits, cancel);
    this.#control?.observe(null, 0);
    return result;
  }

  /** The thread has answered: the cells are free, unless handlers go on. */
  #letGo(cells: ProgressCells, stragglers: readonly Straggler[] | null): void {
    if (!stragglers) return recycleCells(cells);
    const behind = stragglers.map((one) => follow(one, cells, this.#spec));
    this.#outcomes.running.push(...behind);
    this.#control?.beside(
      cells,
      behind.map(({ ended }) => ended),
    );
  }

  /** Finds the events that were running when the thread died. */
  #autopsy(death: ThreadDeath, cells: ProgressCells, sentMs: number): RoundDeath {
    const nowMs = monotonicMs();
    this.#outcomes.deaths++;
    this.#outcomes.busyMs += nowMs - sentMs;
    const running: number[] = [];
    const late: number[] = [];
    const lost: number[] = [];
    for (let i = 0; i < this.#batch.events; i++) {
      const state = cells.states[i];
      if (state === CELL.CAUSED) lost.push(i);
      if (state !== CELL.RUNNING) continue;
      running.push(i);
      if (isLate(cells, i, nowMs, this.#spec, death)) late.push(i);
    }
    const known = death.innocent || (death.timeout && death.alive && !this.#spec.batch);
    return { kind: 'death', death, running, certain: known ? late : null, lost };
  }
}

/** A batch's share of `maxConcurrency`; undefined: the function has no such limit. */
function mostOf({
  maxConcurrency,
  concurrency,
  batch,
}: FunctionSpec): { events: number; perBatch: number } | undefined {
  if (maxConcurrency === null) return undefined;
  // A call of handleBatch counts as one, and a thread makes one at a time.
  return { events: maxConcurrency, perBatch: batch ? 1 : Math.min(concurrency, maxConcurrency) };
}
