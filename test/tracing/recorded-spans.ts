/** Spans of the test's thread and of pool threads, in one list, and their trace as text. */
import { BroadcastChannel } from 'node:worker_threads';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
  type ReadableSpan,
  type Sampler,
} from '@opentelemetry/sdk-trace-node';
import type { TestLike } from '../../scripts/lab/redis-server.ts';

export interface RecordedSpan {
  readonly name: string;
  readonly kind: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | undefined;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly failed: boolean;
  readonly events: readonly string[];
}

/** SDK of a pool thread, as a module for `--import`. It tells each ended span to the test. */
export const THREAD_SDK = `import { BroadcastChannel, isMainThread } from 'node:worker_threads';
import { NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
if (!isMainThread) {
  const channel = new BroadcastChannel(process.env.SPANS_CHANNEL);
  channel.unref();
  const exporter = {
    export(spans, done) {
      for (const span of spans) channel.postMessage({
        name: span.name, kind: span.kind, context: span.spanContext(),
        parentSpanContext: span.parentSpanContext, attributes: span.attributes,
        links: span.links.map(({ context }) => ({ context })), status: span.status,
        events: span.events.map(({ name }) => ({ name })),
      });
      done({ code: 0 });
    },
    shutdown: async () => {},
  };
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
}
`;

/** A span as a thread tells it: without methods. */
type ToldSpan = Pick<
  ReadableSpan,
  'name' | 'kind' | 'attributes' | 'links' | 'status' | 'events' | 'parentSpanContext'
> & { readonly context: ReturnType<ReadableSpan['spanContext']> };

/** Registers the SDK in this thread, and listens to those of the pool threads. */
export function recordSpans(t: TestLike, sampler?: Sampler) {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(exporter)],
    ...(sampler ? { sampler } : {}),
  });
  provider.register();
  const name = `spans-${process.pid}-${Math.random()}`;
  const channel = new BroadcastChannel(name);
  const told: RecordedSpan[] = [];
  channel.onmessage = (event: unknown) => told.push(plain((event as { data: ToldSpan }).data));
  channel.unref();
  t.teardown(async () => {
    channel.close();
    trace.disable();
    context.disable();
    await provider.shutdown();
  });
  return {
    /** Name of the channel, for SPANS_CHANNEL. */
    channel: name,
    spans: (): RecordedSpan[] => [
      ...exporter
        .getFinishedSpans()
        .map((span) => plain(Object.assign(Object.create(span) as ReadableSpan, toldOf(span)))),
      ...told,
    ],
  };
}

const toldOf = (span: ReadableSpan): { context: ToldSpan['context'] } => ({
  context: span.spanContext(),
});

function plain(span: ToldSpan): RecordedSpan {
  const { traceId, spanId } = span.context;
  return {
    name: span.name,
    kind: SpanKind[span.kind],
    traceId,
    spanId,
    parentId: span.parentSpanContext?.spanId,
    attributes: span.attributes,
    links: span.links.map(({ context: { traceId, spanId } }) => ({ traceId, spanId })),
    failed: span.status.code === SpanStatusCode.ERROR,
    events: span.events.map(({ name }) => name),
  };
}

/** Returns a trace as a tree, one span a line: name, function, kind, and an attempt that failed. */
export function treeOf(spans: readonly RecordedSpan[], traceId: string): string {
  const own = spans.filter((span) => span.traceId === traceId);
  const labelOf = ({ name, kind, attributes, failed }: RecordedSpan): string => {
    const attempt = Number(attributes['messaging.millrace.attempt'] ?? 1);
    const result = failed ? `attempt ${attempt}, failed` : attempt > 1 ? `attempt ${attempt}` : '';
    return [name, attributes['messaging.consumer.group.name'], kind, result]
      .filter((part) => part !== undefined && part !== '')
      .join('  ');
  };
  const childrenOf = (parentId: string | undefined): RecordedSpan[] =>
    own
      .filter((span) => span.parentId === parentId)
      .sort((one, other) => (labelOf(one) < labelOf(other) ? -1 : 1));
  const lines: string[] = [];
  const draw = (span: RecordedSpan, indent: string, branch: string, below: string): void => {
    lines.push(`${indent}${branch}${labelOf(span)}`);
    const children = childrenOf(span.spanId);
    children.forEach((child, i) => {
      const last = i === children.length - 1;
      draw(child, indent + below, last ? '└─ ' : '├─ ', last ? '   ' : '│  ');
    });
  };
  for (const root of childrenOf(undefined)) draw(root, '', '', '');
  return lines.join('\n');
}
