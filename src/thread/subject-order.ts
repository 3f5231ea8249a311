/**
 * Events of a batch that may run, in order: none behind a failed or parked one of its subject.
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
  /** The source has nothing left. */
  exhausted = false;
  /** A dead event holds its subject. */
  readonly #holds: boolean;
  /** Subjects with a parked list. */
  readonly #parked: ReadonlySet<string>;
  /** Subjects of which an event failed in this batch. */
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

  /** The next event that may run; null: none is left, or none may start. */
  next(): RunningEvent | null {
    for (;;) {
      if (this.#gate.closed || this.#view?.doubtful) return null;
      const event = this.#source.next();
      if (event === null) {
        this.exhausted = true;
        return null;
      }
      // An event with bad attributes never runs, so it stands in no line. It keeps its place only
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
      // Retried records of a parked subject run; its events from the streams wait behind them.
      // Mostly nothing is stopped: the subject need not be hashed then.
      const stopped = this.#stopped.size > 0 && this.#stopped.has(subject);
      if (!stopped && (event.entry < 0 || this.#parked.size === 0 || !this.#parked.has(subject)))
        return event;
      this.#outcomes.blocked(event);
    }
  }

  /**
   * The turn emits as much as it may: the event, and those in line behind it, are for the next
   * turn. No attempt was made.
   */
  defer(event: RunningEvent): void {
    this.#outcomes.blocked(event);
    this.stop(event);
  }

  /** An event failed: its subject goes no further in this batch. */
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
