/**
 * Spans as the stages make them. The port is implemented by src/tracing over OpenTelemetry's API,
 * which is an optional package. No call of a span throws, except `run`, for the work's own errors.
 */
import type { TraceContext } from './trace-context.ts';

export type SpanAttributes = Readonly<Record<string, string | number>>;

export interface SpanStart {
  readonly name: string;
  readonly kind: 'producer' | 'consumer' | 'client';
  readonly attributes: SpanAttributes;
  /** Parent of the span. Null: none. Default: the active span. */
  readonly parent?: TraceContext | null;
  readonly links?: readonly TraceContext[];
}

export interface TraceSpan {
  /** Null: nothing is to be passed on. */
  readonly context: TraceContext | null;
  set(attributes: SpanAttributes): void;
  link(to: TraceContext): void;
  /** Does the work with the span as the active one, also behind its awaits. */
  run<T>(work: () => T): T;
  /** @param error failure of the work; undefined: there was none */
  end(error?: unknown): void;
}

export interface Tracer {
  start(span: SpanStart): TraceSpan;
  /** Returns a span that was made elsewhere, for its `run`. */
  adopt(context: TraceContext): TraceSpan;
  /** Context of the active span. Null: there is none. */
  active(): TraceContext | null;
}

export interface Tracing {
  /** Returns the thread's tracer. Null: no SDK is registered in this thread (yet). */
  tracer(): Tracer | null;
  /** Resolves when the SDK has exported the ended spans, or has failed to. */
  flush(): Promise<void>;
}

/** Most links of a span. OpenTelemetry's SDKs drop further ones. */
export const MOST_LINKS = 128;
