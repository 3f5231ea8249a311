/** The outcomes of a batch's events, over all rounds of its run. */
import type {
  BatchReport,
  BatchTraces,
  DeadEntry,
  EventRef,
  Failure,
} from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import { CELL, moveTo, type CellState, type ProgressCells } from '../../core/progress-cells.ts';
import type { Batch } from '../batch/batch.ts';
import type { BatchResult, Running } from './batch-result.ts';
import { dispatcherDeath, threadDeath } from './death-failures.ts';
import type { EventLocator } from './event-locator.ts';

export class RunOutcomes {
  readonly states: Uint8Array;
  readonly failures: Failure[] = [];
  readonly blocked: EventRef[] = [];
  readonly deadEntries: DeadEntry[] = [];
  readonly effects: Uint8Array[] = [];
  readonly emitted: Emitted[] = [];
  readonly ages: number[] = [];
  readonly running: Running[] = [];
  readonly traces: BatchTraces[] = [];
  /** Subjects whose stream events wait behind an event that failed or is parked. */
  readonly stopped: Set<string>;
  busyMs = 0;
  deaths = 0;
  /** Units of retries in which an event has failed. */
  readonly #failedUnits = new Set<number>();
  readonly #batch: Batch;
  readonly #spec: FunctionSpec;
  readonly #locator: EventLocator;

  constructor(
    locator: EventLocator,
    batch: Batch,
    spec: FunctionSpec,
    before: Uint8Array | null,
    blockedSubjects: readonly string[],
  ) {
    this.#locator = locator;
    this.#batch = batch;
    this.#spec = spec;
    this.states = before?.slice() ?? new Uint8Array(batch.events);
    this.stopped = new Set(blockedSubjects);
  }

  /**
   * Takes over a thread's report. An event that still ran at the report stays RUNNING. Its handler
   * may have ended since, because the thread goes on writing the shared cells. The thread tells
   * that outcome in a report of its own.
   * @param only the events that ran; null: all that were left
   */
  take(report: BatchReport, cells: ProgressCells, only: readonly number[] | null): void {
    for (const { index } of report.running ?? []) moveTo(this.states, index, CELL.RUNNING);
    if (only) for (const index of only) this.#observe(cells, index);
    else for (let index = 0; index < this.#batch.events; index++) this.#observe(cells, index);
    for (const failure of report.failures) this.#fail(failure);
    this.blocked.push(...report.blocked);
    // The run of a single event says nothing of other entries: they have their own round.
    if (!only) this.deadEntries.push(...report.deadEntries);
    if (report.effects) this.effects.push(report.effects);
    if (report.emitted) this.emitted.push(report.emitted);
    if (report.traces) this.traces.push(report.traces);
    for (const n of report.ages) this.ages.push(n);
    this.busyMs += report.busyMs;
  }

  /** The thread has died. A completed event without effects is done all the same. */
  takeDone(cells: ProgressCells): void {
    for (let index = 0; index < this.#batch.events; index++)
      if (cells.states[index] === CELL.DONE) moveTo(this.states, index, CELL.DONE);
  }

  /** Charges an event with the death of its thread. */
  charge(index: number, { cause, timeout }: { cause: string; timeout: boolean }): void {
    const ref = this.#locator.refOf(index);
    moveTo(this.states, index, CELL.FAILED);
    this.#fail(threadDeath(ref, this.#spec, cause, timeout));
  }

  /** Charges an event with the deaths of so many dispatchers. */
  chargeDispatchers(index: number, deaths: number): void {
    const ref = this.#locator.refOf(index);
    moveTo(this.states, index, CELL.FAILED);
    this.#fail(dispatcherDeath(ref, this.#spec, deaths));
  }

  /** Whether an earlier event of the same unit or subject has failed, or is parked. */
  isBehindFailure(index: number): boolean {
    if (index < this.#batch.retryEvents) return this.isInFailedUnit(index);
    if (this.#spec.ordering !== 'key' || this.stopped.size === 0) return false;
    return this.stopped.has(this.#locator.refOf(index).subject);
  }

  /** Whether the event is a retry whose unit has failed in this run. */
  isInFailedUnit(index: number): boolean {
    return this.#failedUnits.size > 0 && this.#failedUnits.has(this.#locator.unitOf(index));
  }

  /** The event waits behind an earlier one. */
  block(index: number): void {
    moveTo(this.states, index, CELL.BLOCKED);
    if (index >= this.#batch.retryEvents) this.blocked.push(this.#locator.refOf(index));
  }

  result(): BatchResult {
    const { states, failures, blocked, deadEntries, effects, emitted, ages } = this;
    return {
      kind: 'result',
      states,
      failures,
      blocked,
      deadEntries,
      effects,
      emitted,
      ages,
      busyMs: this.busyMs,
      deaths: this.deaths,
      ...(this.running.length > 0 ? { running: this.running } : {}),
      ...(this.traces.length > 0 ? { traces: this.traces } : {}),
    };
  }

  #observe(cells: ProgressCells, index: number): void {
    const state = cells.states[index] as CellState;
    if (state === CELL.SKIP || this.states[index] === CELL.RUNNING) return;
    // CAUSED: the event's effects are in the report.
    moveTo(this.states, index, state === CELL.CAUSED ? CELL.DONE : state);
  }

  #fail(failure: Failure): void {
    this.failures.push(failure);
    const { entry, index, subject } = failure.ref;
    if (entry < 0) this.#failedUnits.add(this.#locator.unitOf(index));
    else if (this.#spec.ordering === 'key' && subject !== '') this.stopped.add(subject);
  }
}
