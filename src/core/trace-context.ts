/**
 * W3C trace context (https://www.w3.org/TR/trace-context/), as events carry it in two extension
 * attributes (CloudEvents "Distributed Tracing"). Events are passed on with it also where no SDK
 * makes spans.
 */
import type { Extensions } from './extensions.ts';

export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
  /** Value of `tracestate`; '': none. */
  readonly state: string;
}

/** Names of the extension attributes. */
export const TRACE_PARENT = 'traceparent';
export const TRACE_STATE = 'tracestate';

/** A later version may have more fields behind the flags. */
const PARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads the context of an event. Null: it has none, or one that W3C does not allow. */
export function readTraceContext(extensions: Extensions): TraceContext | null {
  const parent = extensions[TRACE_PARENT];
  if (parent === undefined) return null;
  const found = PARENT.exec(parent);
  if (found === null) return null;
  const [, version, traceId, spanId, flags, more] = found as unknown as readonly string[];
  if (version === '00' && more !== undefined) return null;
  return {
    traceId: traceId as string,
    spanId: spanId as string,
    sampled: (parseInt(flags as string, 16) & 1) === 1,
    state: extensions[TRACE_STATE] ?? '',
  };
}

/** Returns the extension attributes of a context. */
export function traceExtensions(context: TraceContext): Record<string, string> {
  const { traceId, spanId, sampled, state } = context;
  const parent = `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
  return { [TRACE_PARENT]: parent, ...(state === '' ? {} : { [TRACE_STATE]: state }) };
}

/** Returns the trace attributes among an event's extensions, unread. */
export function inheritedTrace(extensions: Extensions): Record<string, string> {
  const { [TRACE_PARENT]: parent, [TRACE_STATE]: state } = extensions;
  if (parent === undefined) return {};
  return { [TRACE_PARENT]: parent, ...(state === undefined ? {} : { [TRACE_STATE]: state }) };
}

/** Returns the fields of a log line, named as OpenTelemetry names them outside of OTLP. */
export function traceFields(context: TraceContext | null): Record<string, string> {
  return context === null ? {} : { trace_id: context.traceId, span_id: context.spanId };
}
