/**
 * Spans over OpenTelemetry's API: the only file that imports the package, and only when it is
 * installed. The SDK belongs to the user, who registers it in each thread that is to make spans.
 *
 * A fault of the SDK costs spans, never an event. The first one is logged.
 */
import type * as Api from '@opentelemetry/api';
import { ERROR_TYPE } from '../core/messaging-conventions.ts';
import { packageVersion } from '../core/package-info.ts';
import type { TraceContext } from '../core/trace-context.ts';
import {
  type SpanAttributes,
  type SpanStart,
  type Tracer,
  type TraceSpan,
  type Tracing,
} from '../core/tracing.ts';

/** Name of the instrumentation scope. */
const SCOPE = 'millrace';
/** `isRemote` of a context that came with an event. */
const REMOTE = true;

/** The API's provider, which stands before the SDK's. Other copies of the API may lack a method. */
interface Provider extends Api.TracerProvider {
  /** Undefined: no SDK is registered. */
  getDelegateTracer?(name: string, version?: string): Api.Tracer | undefined;
  getDelegate?(): { forceFlush?(): Promise<void> };
}

/**
 * Loads the API.
 * @param broken told of the first fault of the package or of the SDK
 * @returns null: the package is not installed
 */
export async function loadTracing(broken: (error: unknown) => void): Promise<Tracing | null> {
  try {
    return new OpenTelemetry(await import('@opentelemetry/api'), broken);
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_MODULE_NOT_FOUND') broken(error);
    return null;
  }
}

class OpenTelemetry implements Tracing {
  readonly #api: typeof Api;
  readonly #broken: (error: unknown) => void;
  readonly #version = packageVersion();
  #last: { readonly of: Api.Tracer; readonly tracer: Tracer } | null = null;
  #told = false;

  constructor(api: typeof Api, broken: (error: unknown) => void) {
    this.#api = api;
    this.#broken = broken;
  }

  tracer(): Tracer | null {
    return this.#safely<Tracer | null>(() => {
      const of = this.#sdkTracer();
      if (of === undefined) return null;
      if (this.#last?.of !== of)
        this.#last = { of, tracer: new SafeTracer(this.#api, of, this.#safely) };
      return this.#last.tracer;
    }, null);
  }

  async flush(): Promise<void> {
    try {
      await this.#provider.getDelegate?.().forceFlush?.();
    } catch (error) {
      this.#tell(error);
    }
  }

  get #provider(): Provider {
    return this.#api.trace.getTracerProvider();
  }

  #sdkTracer(): Api.Tracer | undefined {
    const provider = this.#provider;
    return provider.getDelegateTracer
      ? provider.getDelegateTracer(SCOPE, this.#version)
      : provider.getTracer(SCOPE, this.#version);
  }

  readonly #safely = <T>(step: () => T, otherwise: T): T => {
    try {
      return step();
    } catch (error) {
      this.#tell(error);
      return otherwise;
    }
  };

  #tell(error: unknown): void {
    if (this.#told) return;
    this.#told = true;
    this.#broken(error);
  }
}

type Safely = <T>(step: () => T, otherwise: T) => T;

/** A span that could not be started. */
const NO_SPAN: TraceSpan = {
  context: null,
  set: () => undefined,
  link: () => undefined,
  run: (work) => work(),
  end: () => undefined,
};

class SafeTracer implements Tracer {
  readonly #api: typeof Api;
  readonly #tracer: Api.Tracer;
  readonly #safely: Safely;

  constructor(api: typeof Api, tracer: Api.Tracer, safely: Safely) {
    this.#api = api;
    this.#tracer = tracer;
    this.#safely = safely;
  }

  start({ name, kind, attributes, parent, links = [] }: SpanStart): TraceSpan {
    const { SpanKind, ROOT_CONTEXT, context, trace } = this.#api;
    const kinds = {
      producer: SpanKind.PRODUCER,
      consumer: SpanKind.CONSUMER,
      client: SpanKind.CLIENT,
    };
    return this.#safely<TraceSpan>(() => {
      const base =
        parent === undefined
          ? context.active()
          : parent === null
            ? ROOT_CONTEXT
            : trace.setSpanContext(ROOT_CONTEXT, this.#remote(parent));
      const options: Api.SpanOptions = {
        kind: kinds[kind],
        attributes: { ...attributes },
        links: links.map((link) => ({ context: this.#remote(link) })),
      };
      const span = this.#tracer.startSpan(name, options, base);
      return new SafeSpan(this.#api, span, trace.setSpan(base, span), this.#safely);
    }, NO_SPAN);
  }

  adopt(of: TraceContext): TraceSpan {
    const { trace, ROOT_CONTEXT } = this.#api;
    return this.#safely<TraceSpan>(() => {
      const span = trace.wrapSpanContext(this.#remote(of));
      return new SafeSpan(this.#api, span, trace.setSpan(ROOT_CONTEXT, span), this.#safely);
    }, NO_SPAN);
  }

  active(): TraceContext | null {
    const { trace } = this.#api;
    return this.#safely(() => {
      const span = trace.getActiveSpan();
      return span === undefined ? null : contextOf(this.#api, span.spanContext());
    }, null);
  }

  #remote({ traceId, spanId, sampled, state }: TraceContext): Api.SpanContext {
    const { TraceFlags, createTraceState } = this.#api;
    return {
      traceId,
      spanId,
      traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
      isRemote: REMOTE,
      ...(state === '' ? {} : { traceState: createTraceState(state) }),
    };
  }
}

class SafeSpan implements TraceSpan {
  readonly context: TraceContext | null;
  readonly #api: typeof Api;
  readonly #span: Api.Span;
  readonly #active: Api.Context;
  readonly #safely: Safely;

  /** @param active context in which the span is the active one */
  constructor(api: typeof Api, span: Api.Span, active: Api.Context, safely: Safely) {
    this.#api = api;
    this.#span = span;
    this.#active = active;
    this.#safely = safely;
    this.context = contextOf(api, span.spanContext());
  }

  set(attributes: SpanAttributes): void {
    this.#safely(() => void this.#span.setAttributes({ ...attributes }), undefined);
  }

  link(to: TraceContext): void {
    const { traceId, spanId, sampled } = to;
    const traceFlags = sampled ? 1 : 0;
    this.#safely(
      () => void this.#span.addLink({ context: { traceId, spanId, traceFlags, isRemote: REMOTE } }),
      undefined,
    );
  }

  run<T>(work: () => T): T {
    return this.#api.context.with(this.#active, work);
  }

  end(error?: unknown): void {
    this.#safely(() => {
      if (error !== undefined) this.#fail(error);
      this.#span.end();
    }, undefined);
  }

  #fail(error: unknown): void {
    const thrown = error instanceof Error ? error : new Error(String(error));
    this.#span.recordException(thrown);
    this.#span.setAttribute(ERROR_TYPE, thrown.name);
    this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: thrown.message });
  }
}

function contextOf(api: typeof Api, of: Api.SpanContext): TraceContext | null {
  if (!api.isSpanContextValid(of)) return null;
  return {
    traceId: of.traceId,
    spanId: of.spanId,
    sampled: (of.traceFlags & api.TraceFlags.SAMPLED) !== 0,
    state: of.traceState?.serialize() ?? '',
  };
}
