/**
 * Outcomes of a batch's events, kept until they are reported. Each outcome is in the shared cells
 * at once.
 */
import type { BatchReport, EventRef, Failure, FailureReason } from '../core/thread-protocol.ts';
import { EmitLoopError } from '../core/errors/handler-errors.ts';
import { CELL } from '../core/progress-cells.ts';
import type { Emits } from './emits.ts';
import { errorInfo, isInstance, isNonRetryable } from './error-info.ts';
import { EventAges } from './event-ages.ts';
import type { RunningEvent } from './running-event.ts';

export class Outcomes {
  /** Ages of the events that are done. */
  readonly ages = new EventAges();
  readonly #states: Uint8Array;
  readonly #emits: Emits;
  #failures: Failure[] = [];
  #blocked: EventRef[] = [];

  constructor(states: Uint8Array, emits: Emits) {
    this.#states = states;
    this.#emits = emits;
  }

  failed(failure: Failure): void {
    this.#states[failure.ref.index] = CELL.FAILED;
    this.#failures.push(failure);
  }

  /** Notes that the handler threw: the event has emitted nothing. */
  threw(event: RunningEvent, error: unknown): void {
    event.settled = true;
    this.#emits.drop(event);
    const final = isNonRetryable(error);
    const reason: FailureReason = isInstance(error, EmitLoopError)
      ? 'emit-loop'
      : final
        ? 'non-retryable'
        : event.timedOut
          ? 'timeout'
          : 'attempts';
    this.failed({ ref: event.ref(), error: errorInfo(error), retryable: !final, reason });
  }

  /** Notes that the event is not run: it stays behind the earlier event of its subject. */
  blocked(event: RunningEvent): void {
    this.#states[event.index] = CELL.BLOCKED;
    if (event.entry >= 0) this.#blocked.push(event.ref());
  }

  /** Returns all outcomes since the last call. */
  take(): BatchReport {
    const emitted = this.#emits.report();
    const report: BatchReport = {
      kind: 'report',
      failures: this.#failures,
      blocked: this.#blocked,
      deadEntries: [],
      effects: null,
      ages: this.ages.take(),
      busyMs: 0,
      emitted: emitted ?? undefined,
    };
    this.#failures = [];
    this.#blocked = [];
    return report;
  }
}
