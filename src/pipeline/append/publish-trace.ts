/**
 * The span of a publish. Its context goes into each event that brings none of its own. A context
 * that the caller has given is kept, and the span links to it.
 */
import { MESSAGING, messagingSpan } from '../../core/messaging-conventions.ts';
import { MOST_LINKS, type Tracer } from '../../core/tracing.ts';
import {
  readTraceContext,
  TRACE_PARENT,
  traceExtensions,
  type TraceContext,
} from '../../core/trace-context.ts';

/** An event to be published, as far as its span needs it. It is not checked yet. */
interface TracedItem {
  readonly type: string;
  readonly extensions?: Readonly<Record<string, string>>;
}

/** The place of a published event. */
interface Placed {
  readonly id: string;
  readonly position: string;
}

export interface TracedPublish<I, R> {
  readonly operation: 'publish' | 'append';
  readonly items: readonly I[];
  /** Publishes the items, which carry their contexts now. */
  readonly work: (items: readonly I[]) => Promise<R>;
  readonly placesOf: (result: R) => readonly Placed[];
}

export async function tracePublish<I extends TracedItem, R>(
  tracer: Tracer,
  { operation, items, work, placesOf }: TracedPublish<I, R>,
): Promise<R> {
  if (!Array.isArray(items) || items.length === 0) return work(items);
  const types = new Set(items.map((item) => (item as Partial<TracedItem> | null)?.type));
  const [type] = types.size === 1 ? types : [];
  const { name, attributes } = messagingSpan(operation, type);
  if (items.length > 1) attributes[MESSAGING.messages] = items.length;
  const span = tracer.start({ name, attributes, kind: 'producer', links: linksOf(items) });
  const { context } = span;
  try {
    // The work begins at once: the caller may change its objects after the call.
    const result = await span.run(() =>
      work(context === null ? items : items.map((item) => carry(item, context))),
    );
    const [placed, another] = placesOf(result);
    if (placed && !another) {
      const [partition = ''] = placed.position.split('/');
      span.set({
        [MESSAGING.messageId]: placed.id,
        ...(partition === '' ? {} : { [MESSAGING.partition]: partition }),
      });
    }
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

/** Returns the contexts that callers have given. */
function linksOf(items: readonly TracedItem[]): TraceContext[] {
  const links: TraceContext[] = [];
  for (const item of items) {
    if (links.length === MOST_LINKS) break;
    if (!hasContext(item)) continue;
    const context = readTraceContext(item.extensions);
    if (context?.sampled) links.push(context);
  }
  return links;
}

function hasContext<I extends TracedItem>(
  item: I,
): item is I & { readonly extensions: Readonly<Record<string, string>> } {
  const extensions: unknown = (item as Partial<TracedItem> | null)?.extensions;
  return (
    typeof extensions === 'object' &&
    extensions !== null &&
    typeof (extensions as Record<string, unknown>)[TRACE_PARENT] === 'string'
  );
}

/** Items of a wrong kind are passed on as they are: the encoder refuses them. */
function carry<I extends TracedItem>(item: I, context: TraceContext): I {
  if (typeof item !== 'object' || item === null || hasContext(item)) return item;
  const extensions: unknown = item.extensions;
  if (extensions === undefined) return { ...item, extensions: traceExtensions(context) };
  const prototype: unknown =
    typeof extensions === 'object' && extensions !== null
      ? Object.getPrototypeOf(extensions)
      : undefined;
  if (prototype !== Object.prototype && prototype !== null) return item;
  return { ...item, extensions: { ...(extensions as object), ...traceExtensions(context) } };
}
