/**
 * Runs a batch so that an event which kills its thread costs itself and nothing else.
 *
 * When a thread dies, the shared cells say which events were running. A single one is the culprit.
 * Several are suspects: each runs again alone, and only what kills a thread alone is charged an
 * attempt. Completed events are not run again. What was not running when the thread died (a failed
 * sibling whose details died with the thread, an event not yet reached) runs in a later round,
 * uncharged. Completed events whose effects died with the thread run again before anything else
 * does: they come before whatever was running of their subjects.
 *
 * Where whole dispatchers have died (SoloSearch) everything runs alone from the start.
 */
import type {
  BatchReport,
  DeadEntry,
  EventRef,
  Failure,
  SetupFailed,
} from '../../core/thread-protocol.ts';
import { monotonicMs } from '../../core/clock.ts';
import type { Emitted } from '../../core/emitted.ts';
import { DispatcherDeathError, HandlerTimeoutError, ThreadDeathError } from '../../core/errors.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import { CELL, recycleCells, type ProgressCells } from '../../core/progress-cells.ts';
import { packBatch, type Batch } from '../batch/batch.ts';
import { EventLocator } from './event-locator.ts';
import {
  TIMEOUT_GRACE_MS,
  type Straggler,
  type ThreadDeath,
  type WorkerPool,
} from './worker-pool.ts';

/**
 * What became of a handler that still ran when its batch was answered. `again`: it died with its
 * thread and is not known to be to blame; it runs again uncharged, by itself where it may be.
 * `stopped`: the dispatcher ended it.
 */
export type Ended =
  | { readonly kind: 'done'; readonly emitted: Emitted | null; readonly ages: readonly number[] }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'again'; readonly isolate: boolean }
  | { readonly kind: 'stopped' };

/** A handler that still runs. */
export interface Running {
  readonly ref: EventRef;
  /** monotonicMs() */
  readonly startedMs: number;
  /** Never rejects. */
  readonly ended: Promise<Ended>;
}

export interface BatchResult {
  readonly kind: 'result';
  /**
   * Final state per event: DONE, FAILED, BLOCKED, SKIP as asked for, or RUNNING; TODO where it was
   * not started, or cut off (see untouched.ts).
   */
  readonly states: Uint8Array;
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** In the order in which they are to be written. */
  readonly effects: readonly Uint8Array[];
  /** In the order in which it is to be written. */
  readonly emitted: readonly Emitted[];
  readonly ages: readonly number[];
  readonly busyMs: number;
  /** Threads it cost. */
  readonly deaths: number;
  /** What is RUNNING. Absent: nothing. */
  readonly running?: readonly Running[];
}

/**
 * What is known of an event that kills whole dispatchers: then everything runs alone, marked before
 * it does.
 */
export interface SoloSearch {
  readonly suspect: { readonly address: string; readonly deaths: number } | null;
  /** Owners that died of it, as far as is known now. */
  deathsOf(address: string): Promise<number>;
  /** Runs it, marked, while no other one runs so. @returns false where the lease is lost */
  alone<T>(address: string, run: () => Promise<T>): Promise<T | false>;
}

/** How long events may start. Without one, all of them are run. */
export interface RunControl {
  /** A turn that has run so long starts nothing further, in ms. */
  readonly turnMs: number;
  readonly mayStart: boolean;
  /**
   * Told of the cells each time events are sent to a thread, before; null when they are no longer
   * shared with it.
   */
  observe(cells: ProgressCells | null, events: number): void;
  /** Handlers of a batch that was reported run on, until then. */
  beside(cells: ProgressCells, ended: Promise<unknown>): void;
}

/** Deaths with no handler running before the events are run one by one all the same. */
const BLIND_DEATHS = 2;
/**
 * Attempts are for outages of what a function calls; an event that ends whole processes gets fewer.
 */
const MOST_DISPATCHER_DEATHS = 5;
/** Times completed events are run again together, before each runs alone. */
const GROUP_TRIES = 2;

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
  /** States before the run: what is SKIP there is not run, and stays SKIP. Default: TODO. */
  readonly before?: Uint8Array | null;
  /** Slow handlers may go on behind the result. Default false. */
  readonly detach?: boolean;
}

export async function runIsolating(
  call: RunCall,
): Promise<BatchResult | SetupFailed | { kind: 'stopped' }> {
  const { pool, batch, spec, cancel } = call;
  const { blockedSubjects = [], search = null, control = null, before = null } = call;
  const { detach = false } = call;
  const locator = new EventLocator(batch);
  const most = mostOf(spec);
  const stillRunning: Running[] = [];
  const states = before?.slice() ?? new Uint8Array(batch.events);
  const failures: Failure[] = [];
  const blocked: EventRef[] = [];
  const deadEntries: DeadEntry[] = [];
  const effects: Uint8Array[] = [];
  const emitted: Emitted[] = [];
  const ages: number[] = [];
  const stopped = new Set(blockedSubjects);
  const failedUnits = new Set<number>();
  let deaths = 0;
  let blind = 0;
  let busyMs = 0;

  const take = (
    report: BatchReport,
    cells: ProgressCells,
    only: readonly number[] | null,
  ): void => {
    const settle = (i: number): void => {
      const state = cells.states[i] as number;
      if (state !== CELL.SKIP) states[i] = state === CELL.CAUSED ? CELL.DONE : state;
    };
    if (only) only.forEach(settle);
    else for (let i = 0; i < batch.events; i++) settle(i);
    for (const failure of report.failures) {
      failures.push(failure);
      stop(failure.ref);
    }
    blocked.push(...report.blocked);
    // Run alone, an event says nothing of the other entries: they have their own round.
    if (!only) deadEntries.push(...report.deadEntries);
    if (report.effects) effects.push(report.effects);
    if (report.emitted) emitted.push(report.emitted);
    for (const n of report.ages) ages.push(n);
  };
  const stop = (ref: EventRef): void => {
    if (ref.entry < 0) failedUnits.add(locator.unitOf(ref.index));
    else if (spec.ordering === 'key' && ref.subject !== '') stopped.add(ref.subject);
  };
  const charge = (index: number, cause: string, timeout: boolean): void => {
    const ref = locator.refOf(index);
    states[index] = CELL.FAILED;
    failures.push(failureOf(ref, spec, cause, timeout));
    stop(ref);
  };

  const chargeDispatcher = (index: number, deaths: number): void => {
    const ref = locator.refOf(index);
    const error = new DispatcherDeathError(spec.name, ref.id, deaths);
    states[index] = CELL.FAILED;
    failures.push({
      ref,
      error: { name: error.name, message: error.message, stack: '' },
      retryable: false,
      reason: 'dispatcher-death',
    });
    stop(ref);
  };

  /** @param only run these alone; null: all that is left */
  const round = async (
    only: readonly number[] | null,
  ): Promise<SetupFailed | Halt | 'ok' | Suspects> => {
    const skip = new Uint8Array(batch.events);
    for (let i = 0; i < batch.events; i++) {
      const settled = states[i] !== CELL.TODO;
      const behind = i < batch.retryEvents && failedUnits.has(locator.unitOf(i));
      if (settled || (behind && only === null)) skip[i] = CELL.SKIP;
      if (behind && !settled && only === null) states[i] = CELL.BLOCKED;
      if (only && !only.includes(i)) skip[i] = CELL.SKIP;
    }
    if (skip.every((s) => s === CELL.SKIP)) return 'ok';
    const packed = packBatch(batch, skip, only ? [] : [...stopped], only !== null, [...effects]);
    control?.observe(packed.cells, batch.events);
    const sentMs = monotonicMs();
    const result = await pool.run(
      packed,
      {
        timeoutMs: spec.timeoutMs,
        concurrency: spec.concurrency,
        ...(most ? { most } : {}),
        alone: only !== null || deaths > 0,
        solo: only !== null,
        detach: detach && only === null && !search,
        turnMs: control?.turnMs ?? Infinity,
      },
      cancel,
    );
    control?.observe(null, 0);
    if (result.kind === 'setup-failed') return result;
    if (result.kind === 'report') {
      busyMs += result.busyMs;
      take(result, packed.cells, only);
      if (!result.stragglers) recycleCells(packed.cells);
      else {
        const behind = result.stragglers.map((one) => follow(one, packed.cells, spec));
        stillRunning.push(...behind);
        control?.beside(packed.cells, Promise.all(behind.map(({ ended }) => ended)));
      }
      return control && skip.some((state, i) => state !== CELL.SKIP && states[i] === CELL.TODO)
        ? 'halted'
        : 'ok';
    }
    if (cancel.aborted) {
      // What was done is done, also where nobody could report it. Effects are lost with the thread.
      for (let i = 0; i < batch.events; i++)
        if (packed.cells.states[i] === CELL.DONE) states[i] = CELL.DONE;
      return control ? 'halted' : 'stopped';
    }
    deaths++;
    const now = monotonicMs();
    busyMs += now - sentMs;
    const running: number[] = [];
    const late: number[] = [];
    const lost: number[] = [];
    for (let i = 0; i < batch.events; i++) {
      const state = packed.cells.states[i];
      if (state === CELL.DONE) states[i] = CELL.DONE;
      if (state === CELL.CAUSED) lost.push(i);
      if (state !== CELL.RUNNING) continue;
      running.push(i);
      if (
        now - (packed.cells.starts[i] as number) >=
        spec.timeoutMs + TIMEOUT_GRACE_MS / 2 + result.stoodStillMs
      )
        late.push(i);
    }
    const certain =
      result.innocent || (result.timeout && result.alive && !spec.batch) ? late : null;
    return {
      cause: result.cause,
      timeout: result.timeout,
      certain,
      shared: result.shared ?? false,
      innocent: result.innocent ?? false,
      running,
      lost,
    };
  };

  // Events whose last attempt killed its thread run alone from the start.
  const firstAlone: number[] = [];
  let index = 0;
  for (const unit of batch.retries) {
    if (unit.isolate) firstAlone.push(index);
    index += unit.records.length;
  }
  const behindFailure = (index: number): boolean =>
    index < batch.retryEvents
      ? failedUnits.has(locator.unitOf(index))
      : spec.ordering === 'key' && stopped.size > 0 && stopped.has(locator.refOf(index).subject);
  const alone = async (suspects: readonly number[]): Promise<SetupFailed | Halt | 'ok'> => {
    const sinceMs = monotonicMs();
    let settled = false;
    for (const suspect of locator.inOrder(suspects)) {
      if (states[suspect] === CELL.SKIP) continue;
      // Among suspects of one death the culprit is to be found in this turn: else they would kill a
      // thread together again.
      const long =
        search !== null && settled && monotonicMs() - sinceMs > (control?.turnMs ?? Infinity);
      if (control && (!control.mayStart || long)) return 'halted';
      // A call of handleBatch runs several events of a subject: once an earlier one has failed, the
      // later ones wait behind it.
      if (behindFailure(suspect)) {
        states[suspect] = CELL.BLOCKED;
        if (suspect >= batch.retryEvents) blocked.push(locator.refOf(suspect));
        continue;
      }
      let outcome: Awaited<ReturnType<typeof round>>;
      if (!search) outcome = await round([suspect]);
      else {
        const address = locator.addressOf(suspect);
        const known = await search.deathsOf(address);
        if (known >= Math.min(spec.retry.attempts, MOST_DISPATCHER_DEATHS)) {
          chargeDispatcher(suspect, known);
          settled = true;
          continue;
        }
        outcome = (await search.alone(address, () => round([suspect]))) || 'stopped';
      }
      settled = true;
      if (outcome === 'ok') continue;
      if (outcome === 'stopped' || outcome === 'halted' || 'kind' in outcome) return outcome;
      charge(suspect, outcome.cause, outcome.timeout);
    }
    return 'ok';
  };

  /** Completed, but their effects died with the thread. */
  const again = async (lost: readonly number[]): Promise<SetupFailed | Halt | 'ok'> => {
    for (let tries = 0; tries < GROUP_TRIES; tries++) {
      const outcome = await round(lost);
      if (outcome === 'ok' || outcome === 'stopped' || outcome === 'halted' || 'kind' in outcome)
        return outcome;
    }
    return alone(lost);
  };

  let outcome: SetupFailed | Halt | 'ok' | Suspects = await alone(
    search ? locator.locatable() : firstAlone,
  );
  while (outcome === 'ok') {
    outcome = await round(null);
    if (outcome === 'ok') break;
    if (outcome === 'stopped' || outcome === 'halted' || 'kind' in outcome) break;
    const { cause, timeout, lost, shared, innocent } = outcome;
    let { certain, running } = outcome;
    if (lost.length > 0) {
      outcome = await again(lost);
      if (outcome !== 'ok') break;
      // What now stands behind a failure is held by the next round.
      certain = certain?.filter((i) => !behindFailure(i)) ?? null;
      running = running.filter((i) => !behindFailure(i));
    }
    if (certain && certain.length > 0) {
      for (const i of certain) charge(i, cause, timeout);
      outcome = 'ok';
    } else if (innocent) outcome = 'ok';
    else if (running.length === 1 && !shared) {
      charge(running[0] as number, cause, timeout);
      outcome = 'ok';
    } else if (running.length > 0) outcome = await alone(running);
    else {
      // Nobody was running: a late throw of an event already settled, or death while decoding. Try
      // again, then look closer.
      outcome = 'ok';
      if (!shared && ++blind > BLIND_DEATHS) {
        const first = states.findIndex(
          (s, i) =>
            s === CELL.TODO && !(i < batch.retryEvents && failedUnits.has(locator.unitOf(i))),
        );
        if (first >= 0) outcome = await alone([first]);
      }
    }
  }
  if (outcome === 'stopped') return { kind: 'stopped' };
  if (outcome !== 'ok' && outcome !== 'halted')
    return 'kind' in outcome ? outcome : { kind: 'stopped' };
  return {
    kind: 'result',
    states,
    failures,
    blocked,
    deadEntries,
    effects,
    emitted,
    ages,
    busyMs,
    deaths,
    ...(stillRunning.length > 0 ? { running: stillRunning } : {}),
  };
}

/** What becomes of a handler that goes on behind its batch's report. */
function follow({ ref, ended }: Straggler, cells: ProgressCells, spec: FunctionSpec): Running {
  const startedMs = cells.starts[ref.index] as number;
  const judge = (death: ThreadDeath): Ended => {
    const state = cells.states[ref.index];
    if (state === CELL.DONE) return { kind: 'done', emitted: null, ages: [] };
    if (death.cause === 'stopped') return { kind: 'stopped' };
    // It had settled, and what it came to died with the thread.
    if (state !== CELL.RUNNING) return { kind: 'again', isolate: false };
    const late =
      monotonicMs() - startedMs >= spec.timeoutMs + TIMEOUT_GRACE_MS / 2 + death.stoodStillMs;
    if (death.timeout && death.alive ? late : death.sole) {
      return { kind: 'failed', failure: failureOf(ref, spec, death.cause, death.timeout) };
    }
    return { kind: 'again', isolate: !death.innocent };
  };
  return {
    ref,
    startedMs,
    ended: ended.then((end) => {
      if (end.kind === 'death') return judge(end);
      const [failure] = end.failures;
      return failure
        ? { kind: 'failed', failure }
        : { kind: 'done', emitted: end.emitted ?? null, ages: end.ages };
    }),
  };
}

/** The event has cost its thread. */
function failureOf(ref: EventRef, spec: FunctionSpec, cause: string, timeout: boolean): Failure {
  const { name, message } = timeout
    ? new HandlerTimeoutError(spec.name, ref.id, spec.timeoutMs)
    : new ThreadDeathError(spec.name, cause);
  return {
    ref,
    error: { name, message, stack: '' },
    retryable: true,
    isolate: true,
    reason: timeout ? 'timeout' : 'thread-death',
  };
}

/**
 * `stopped`: nothing of it counts. `halted`: what has no outcome was not started, or was cut off.
 */
type Halt = 'stopped' | 'halted';

interface Suspects {
  readonly cause: string;
  readonly timeout: boolean;
  readonly certain: readonly number[] | null;
  /** Handlers of other batches ran in the thread. */
  readonly shared: boolean;
  /** And they are to blame, not these. */
  readonly innocent: boolean;
  readonly running: readonly number[];
  /** Completed ones whose effects died with the thread. */
  readonly lost: readonly number[];
}

/** What a batch counts against `maxConcurrency`. */
function mostOf({
  maxConcurrency,
  concurrency,
  batch,
}: FunctionSpec): { events: number; perBatch: number } | null {
  if (maxConcurrency === null) return null;
  // handleBatch: a call counts as one, and a thread makes one at a time
  return { events: maxConcurrency, perBatch: batch ? 1 : Math.min(concurrency, maxConcurrency) };
}

/** Unit of a retried event in `batch.retries`. Whoever asks again builds an EventLocator. */
export function unitOf(batch: Batch, index: number): number {
  return new EventLocator(batch).unitOf(index);
}

/** Parked record of a retried event. Whoever asks again builds an EventLocator. */
export function recordOf(batch: Batch, index: number): Buffer {
  return new EventLocator(batch).recordOf(index);
}
