import type { InspectOptions } from 'node:util';
import type { Logger } from 'pino';
import { monotonicMs, wallClockMs } from '../core/clock.ts';
import { INSPECT, shown } from '../core/shown.ts';
import { readTraceContext, traceFields, type TraceContext } from '../core/trace-context.ts';
import { EmitClosedError, HandlerTimeoutError } from '../core/errors/handler-errors.ts';
import type {
  BatchContext,
  BatchEmitOptions,
  EmitOptions,
  FunctionContext,
} from '../define/define-function.ts';
import type { BatchTrace } from './batch-trace.ts';
import type { Emits } from './emits.ts';
import type { RunningEvent } from './running-event.ts';

/** Parts that all contexts of one batch share. */
export interface ContextShared {
  readonly functionName: string;
  readonly timeoutMs: number;
  readonly logger: Logger;
  readonly resources: unknown;
  readonly emits: Emits;
  /** Spans of the batch. Null: no SDK is registered in the thread. */
  readonly trace: BatchTrace | null;
  /** Reason for which the running handlers' outcomes are discarded. */
  ended?: Error;
}

/**
 * `ctx` of one attempt. One context is made for every event. So it holds two references, and makes
 * the logger, the AbortController and the Date only on demand.
 */
export class EventContext implements FunctionContext {
  readonly #shared: ContextShared;
  readonly #event: RunningEvent;
  #controller: AbortController | null = null;
  #logger: Logger | null = null;

  constructor(shared: ContextShared, event: RunningEvent) {
    this.#shared = shared;
    this.#event = event;
  }
  get logger(): Logger {
    this.#logger ??= this.#shared.logger.child({
      function: this.#shared.functionName,
      eventId: this.#event.view.id,
      attempt: this.#event.attempt,
      ...traceFields(this.#trace),
    });
    return this.#logger;
  }
  get #trace(): TraceContext | null {
    const { trace } = this.#shared;
    return trace?.contextOf(this.#event) ?? readTraceContext(this.#event.view.extensions);
  }
  get attempt(): number {
    return this.#event.attempt;
  }
  get idempotencyKey(): string {
    return `${this.#shared.functionName}:${this.#event.view.id}`;
  }
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#event.timedOut) this.expire();
      if (this.#shared.ended) this.abort(this.#shared.ended);
    }
    return this.#controller.signal;
  }
  get deadline(): Date {
    return new Date(wallClockMs() + this.#event.startedMs + this.#shared.timeoutMs - monotonicMs());
  }
  get resources(): unknown {
    return this.#shared.resources;
  }
  emit(type: string, data: unknown, options: EmitOptions = {}): string {
    return this.#shared.emits.add(this.#event, type, data, options);
  }
  toJSON(): Record<string, unknown> {
    return { attempt: this.attempt, idempotencyKey: this.idempotencyKey, deadline: this.deadline };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('FunctionContext', this.toJSON(), options, inspect);
  }
  /**
   * Event of the context, for the runner. The getter is on the prototype, so that no log shows it.
   */
  get event(): RunningEvent {
    return this.#event;
  }
  abort(reason: Error): void {
    this.#controller?.abort(reason);
  }
  /** Aborts the signal: the attempt's time is over. */
  expire(): void {
    this.#controller?.abort(
      new HandlerTimeoutError(
        this.#shared.functionName,
        this.#event.view.id,
        this.#shared.timeoutMs,
      ),
    );
  }
}

/** `ctx` of one call of handleBatch. */
export class EventsContext implements BatchContext {
  readonly #shared: ContextShared;
  readonly #events: readonly RunningEvent[];
  readonly #attempts: Map<string, number>;
  #byView: Map<unknown, RunningEvent> | null = null;
  #over = false;
  readonly #startedMs: number;
  readonly #controller = new AbortController();

  constructor(shared: ContextShared, events: readonly RunningEvent[], startedMs: number) {
    this.#shared = shared;
    this.#events = events;
    this.#attempts = new Map(events.map((e) => [e.view.id, e.attempt]));
    this.#startedMs = startedMs;
  }
  get logger(): Logger {
    return this.#shared.logger.child({
      function: this.#shared.functionName,
      events: this.#attempts.size,
    });
  }
  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  get deadline(): Date {
    return new Date(wallClockMs() + this.#startedMs + this.#shared.timeoutMs - monotonicMs());
  }
  get resources(): unknown {
    return this.#shared.resources;
  }
  attemptOf(event: { readonly id: string }): number {
    return this.#attempts.get(event.id) ?? 1;
  }
  idempotencyKeyOf(event: { readonly id: string }): string {
    return `${this.#shared.functionName}:${event.id}`;
  }
  emit(type: string, data: unknown, options: BatchEmitOptions): string {
    this.#byView ??= new Map(this.#events.map((event) => [event.view, event]));
    const cause = this.#byView.get((options as BatchEmitOptions | undefined)?.cause);
    if (!cause)
      throw new TypeError(
        'emit in handleBatch needs { cause }: the event of the batch because of which it is emitted',
      );
    if (this.#over) throw new EmitClosedError(this.#shared.functionName, cause.view.id);
    return this.#shared.emits.add(cause, type, data, options);
  }
  toJSON(): Record<string, unknown> {
    return { events: this.#attempts.size, deadline: this.deadline };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('BatchContext', this.toJSON(), options, inspect);
  }
  /** Ends emits: the call has settled. */
  close(): void {
    this.#over = true;
  }
  abort(reason: Error): void {
    this.#controller.abort(reason);
  }
  expire(firstEventId: string): void {
    this.#controller.abort(
      new HandlerTimeoutError(this.#shared.functionName, firstEventId, this.#shared.timeoutMs),
    );
  }
}
