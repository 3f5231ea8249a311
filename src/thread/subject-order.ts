/**
 * Events of a batch that may run, in order. An event behind a failed or parked event of its subject
 * may not.
 */
import type { BatchTask } from '../core/thread-protocol.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import type { BatchSource } from './batch-source.ts';
import type { Emits } from './emits.ts';
import type { Outcomes } from './outcomes.ts';
import type { PayloadDecoder } from './payload-decoder.ts';
import type { RunningEvent } from './running-event.ts';
import type { StartGate } from './start-gate.ts';
import type { ViewRun } from './view-run.ts';

export interface OrderParts {
  readonly task: BatchTask;
  readonly spec: FunctionSpec;
  readonly source: BatchSource;
  readonly gate: StartGate;
  readonly emits: Emits;
  readonly outcomes: Outcomes;
  readonly decoder: PayloadDecoder;
  readonly view: ViewRun | null;
}

export class SubjectOrder {
  readonly byKey: boolean;
  /** Whether the source has nothing left. */
  exhausted = false;
  /** Whether a dead event holds its subject. */
  readonly #holds: boolean;
  /** Subjects with a parked list. */
  readonly #parked: ReadonlySet<string>;
  /** Subjects with an event that failed in this batch. */
  readonly #stopped = new Set<string>();
  readonly #source: BatchSource;
  readonly #gate: StartGate;
  readonly #emits: Emits;
  readonly #outcomes: Outcomes;
  readonly #decoder: PayloadDecoder;
  readonly #view: ViewRun | null;

  constructor({ task, spec, ...parts }: OrderParts) {
    this.byKey = spec.ordering === 'key';
    this.#holds = spec.onDead === 'hold';
    this.#parked = new Set(task.blocked);
    this.#source = parts.source;
    this.#gate = parts.gate;
    this.#emits = parts.emits;
    this.#outcomes = parts.outcomes;
    this.#decoder = parts.decoder;
    this.#view = parts.view;
  }

  /** Returns the next event that may run; null: none is left, or none may start. */
  next(): RunningEvent | null {
    for (;;) {
      if (this.#gate.closed || this.#view?.doubtful) return null;
      const event = this.#source.next();
      if (event === null) {
        this.exhausted = true;
        return null;
      }
      // An event with invalid attributes never runs, so it is in no line. It keeps its place only
      // where it will hold its subject.
      if (event.envelope !== null && (!this.#holds || event.view.subject === '')) {
        this.#decoder.refuse(event, event.envelope);
        continue;
      }
      if (this.#emits.full) {
        this.defer(event);
        continue;
      }
      if (!this.byKey) return event;
      const { subject } = event.view;
      // Retried records of a parked subject run. The subject's events from the streams wait behind
      // them. Mostly no subject is stopped; then the subject need not be hashed.
      const stopped = this.#stopped.size > 0 && this.#stopped.has(subject);
      if (!stopped && (event.entry < 0 || this.#parked.size === 0 || !this.#parked.has(subject)))
        return event;
      this.#outcomes.blocked(event);
    }
  }

  /**
   * Puts an event off to the next turn, because the turn has emitted as much as it may. Events in
   * line behind it are put off too. No attempt was made.
   */
  defer(event: RunningEvent): void {
    this.#outcomes.blocked(event);
    this.stop(event);
  }

  /** Notes a failed event: its subject goes no further in this batch. */
  stop(event: RunningEvent): void {
    if (!this.byKey) return;
    this.#stopped.add(event.view.subject);
    this.blockBehind(event);
    if (event.entry < 0) this.#source.holdUnit(event.index);
  }

  blockBehind(event: RunningEvent): void {
    for (let behind = event.next; behind !== null; behind = behind.next)
      this.#outcomes.blocked(behind);
  }
}
