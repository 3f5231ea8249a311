/**
 * Names of OpenTelemetry's semantic conventions for messaging, version 1.44, which are in status
 * "Development". The conventions ask instrumentations to copy such names instead of importing them.
 * https://github.com/open-telemetry/semantic-conventions/blob/v1.44.0/docs/messaging/messaging-spans.md
 */
import type { SpanAttributes } from './tracing.ts';

export const MESSAGING = {
  system: 'messaging.system',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destination: 'messaging.destination.name',
  partition: 'messaging.destination.partition.id',
  group: 'messaging.consumer.group.name',
  messages: 'messaging.batch.message_count',
  messageId: 'messaging.message.id',
  conversationId: 'messaging.message.conversation_id',
  clientId: 'messaging.client.id',
  /** Attributes of one system are below its own name. */
  attempt: 'messaging.millrace.attempt',
  outcomes: {
    done: 'messaging.millrace.done',
    retried: 'messaging.millrace.retried',
    dead: 'messaging.millrace.dead',
  },
} as const;

/** Stable since version 1.23. */
export const ERROR_TYPE = 'error.type';

/** Operations: name of the span and `messaging.operation.name`, and the type. */
const OPERATIONS = {
  publish: 'send',
  append: 'send',
  emit: 'create',
  process: 'process',
  commit: 'settle',
} as const;

export type MessagingOperation = keyof typeof OPERATIONS;

/**
 * Returns name and attributes of a span.
 * @param destination event type; undefined: there are several
 */
export function messagingSpan(
  operation: MessagingOperation,
  destination: string | undefined,
): { name: string; attributes: Record<string, string | number> } {
  const attributes: SpanAttributes = {
    [MESSAGING.system]: 'millrace',
    [MESSAGING.operationName]: operation,
    [MESSAGING.operationType]: OPERATIONS[operation],
  };
  if (destination === undefined) return { name: operation, attributes: { ...attributes } };
  return {
    name: `${operation} ${destination}`,
    attributes: { ...attributes, [MESSAGING.destination]: destination },
  };
}
