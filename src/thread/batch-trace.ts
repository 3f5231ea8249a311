/**
 * The spans of one batch in its thread. One object is made for a batch, and only where an SDK is
 * registered in the thread.
 *
 * - A batch of several events has a span of its own, without a parent. It links to the sampled
 *   contexts of its events.
 * - Each event whose context is sampled has a span, a child of that context.
 * - The only event of a batch has a span in any case, which is also the batch's.
 * - An event without a span runs in its own context, or else in the batch's.
 */
import { CAUSATION } from '../core/emitted.ts';
import { MESSAGING, messagingSpan } from '../core/messaging-conventions.ts';
import type { BatchTask, BatchTraces } from '../core/thread-protocol.ts';
import { readTraceContext, type TraceContext } from '../core/trace-context.ts';
import { MOST_LINKS, type Tracer, type TraceSpan } from '../core/tracing.ts';
import type { RunningEvent } from './running-event.ts';

type TracedTask = Pick<BatchTask, 'fn' | 'partition' | 'types' | 'retries' | 'events'>;

export class BatchTrace {
  readonly #tracer: Tracer;
  readonly #task: TracedTask;
  /** Spans of the events that run. */
  readonly #open = new Map<RunningEvent, TraceSpan>();
  /** Contexts of the events' own spans, for the commit. */
  readonly #links: TraceContext[] = [];
  /** Span of the batch, or of its only event. Null: no event has begun. */
  #batch: TraceSpan | null = null;
  /** Number of links of the batch's span. */
  #linked = 0;

  constructor(tracer: Tracer, task: TracedTask) {
    this.#tracer = tracer;
    this.#task = task;
  }

  /** Context of the event's span, or the one that came with the event. */
  contextOf(event: RunningEvent): TraceContext | null {
    return this.#open.get(event)?.context ?? readTraceContext(event.view.extensions);
  }

  begin(event: RunningEvent): void {
    this.#open.set(event, this.#begin(event));
  }

  /** Calls the handler in the event's context. */
  call<T>(
    event: RunningEvent,
    handle: (view: RunningEvent['view'], context: T) => unknown,
    context: T,
  ): unknown {
    return this.#spanOf(event).run(() => handle(event.view, context));
  }

  /** Does work for several events, in the batch's context. */
  callAll<T>(events: readonly RunningEvent[], work: () => T): T {
    const [only, another] = events;
    if (only && !another) return this.#spanOf(only).run(work);
    return this.#batch === null ? work() : this.#batch.run(work);
  }

  /** @param error failure of the attempt; undefined: there was none */
  end(event: RunningEvent, error?: unknown): void {
    const span = this.#open.get(event);
    this.#open.delete(event);
    if (span && (span !== this.#batch || this.#isSole)) span.end(error);
  }

  /**
   * Notes an emitted event.
   * @returns its context; null: it has that of its cause
   */
  emit(cause: RunningEvent, type: string, id: string): TraceContext | null {
    const { context } = this.#spanOf(cause);
    if (context === null) return null;
    // A handler that lost its context, e.g. in a pool of connections, emits for its event.
    const active = this.#tracer.active();
    const parent = active?.traceId === context.traceId ? active : context;
    if (!parent.sampled) return parent;
    const { name, attributes } = messagingSpan('emit', type);
    const span = this.#tracer.start({
      name,
      kind: 'producer',
      parent,
      attributes: { ...attributes, [MESSAGING.messageId]: id },
    });
    span.end();
    return span.context ?? parent;
  }

  /** Ends the batch's span. Spans of handlers that still run end with them. */
  report(): BatchTraces | null {
    const batch = this.#batch;
    if (batch === null) return null;
    if (!this.#isSole) batch.end();
    return { batch: batch.context, events: this.#links };
  }

  get #isSole(): boolean {
    return this.#task.events === 1;
  }

  #spanOf(event: RunningEvent): TraceSpan {
    return this.#open.get(event) ?? this.#batch ?? this.#begin(event);
  }

  #begin(event: RunningEvent): TraceSpan {
    const context = readTraceContext(event.view.extensions);
    if (this.#isSole) return (this.#batch = this.#start(event, context, []));
    const batch = (this.#batch ??= this.#startBatch(event));
    if (context === null) return batch;
    if (!context.sampled) return this.#tracer.adopt(context);
    if (this.#linked++ < MOST_LINKS) batch.link(context);
    const span = this.#start(event, context, batch.context?.sampled ? [batch.context] : []);
    if (span.context?.sampled && this.#links.length < MOST_LINKS) this.#links.push(span.context);
    return span;
  }

  #start(
    { view, attempt }: RunningEvent,
    parent: TraceContext | null,
    links: readonly TraceContext[],
  ): TraceSpan {
    const { name, attributes } = this.#process(view.type);
    const conversation = view.extensions[CAUSATION.correlation];
    attributes[MESSAGING.messageId] = view.id;
    attributes[MESSAGING.attempt] = attempt;
    if (conversation) attributes[MESSAGING.conversationId] = conversation;
    return this.#tracer.start({ name, attributes, kind: 'consumer', parent, links });
  }

  #startBatch({ view }: RunningEvent): TraceSpan {
    const { types, retries, events } = this.#task;
    const { name, attributes } = this.#process(
      types.length > 1 || (types.length === 1 && retries.length > 0) ? undefined : view.type,
    );
    attributes[MESSAGING.messages] = events;
    return this.#tracer.start({ name, attributes, kind: 'consumer', parent: null });
  }

  #process(type: string | undefined): ReturnType<typeof messagingSpan> {
    const { fn, partition } = this.#task;
    const { name, attributes } = messagingSpan('process', type);
    attributes[MESSAGING.group] = fn;
    attributes[MESSAGING.partition] = String(partition);
    return { name, attributes };
  }
}
