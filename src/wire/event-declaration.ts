/** The declaration of an event type: the option (millrace.v1.event) of a message. */
import protobuf from 'protobufjs';
import { DEFAULT_MAX_BYTES } from './event-type.ts';

export interface Declaration {
  readonly type: string;
  readonly subject: string;
  readonly maxBytes: number;
  readonly dedupeMs: number;
}

/**
 * Reads a message's declaration. Null: it declares no event type, or a wrong one; then a problem is
 * added.
 */
export function declarationOf(
  message: protobuf.Type,
  where: string,
  problems: string[],
): Declaration | null {
  for (const option of (message.parsedOptions ?? []) as Record<string, unknown>[]) {
    const value = (option['(millrace.v1.event)'] ?? option['(.millrace.v1.event)']) as
      Record<string, unknown> | undefined;
    if (!value) continue;
    const unknown = Object.keys(value).filter(
      (key) => !['type', 'subject', 'max_bytes', 'maxBytes', 'dedupe_ms', 'dedupeMs'].includes(key),
    );
    const maxBytes = value['max_bytes'] ?? value['maxBytes'] ?? 0;
    const dedupeMs = value['dedupe_ms'] ?? value['dedupeMs'] ?? 0;
    if (unknown.length > 0)
      problems.push(
        `${where}: its option (millrace.v1.event) has no ${unknown.join(', ')}; it has type, subject, max_bytes, dedupe_ms`,
      );
    else if (
      typeof maxBytes !== 'number' ||
      !Number.isInteger(maxBytes) ||
      maxBytes < 0 ||
      maxBytes > 0xffffffff
    ) {
      problems.push(
        `${where}: max_bytes must be a whole number of bytes, it is ${JSON.stringify(maxBytes)}`,
      );
    } else if (
      typeof dedupeMs !== 'number' ||
      !Number.isInteger(dedupeMs) ||
      dedupeMs > 0xffffffff ||
      (dedupeMs !== 0 && dedupeMs < 1000)
    ) {
      problems.push(
        `${where}: dedupe_ms must be a whole number of ms, 1000 or more, it is ${JSON.stringify(dedupeMs)}`,
      );
    } else
      return {
        type: String(value['type'] ?? ''),
        subject: String(value['subject'] ?? ''),
        maxBytes: maxBytes > 0 ? maxBytes : DEFAULT_MAX_BYTES,
        dedupeMs,
      };
    return null;
  }
  return null;
}

/**
 * Returns the unsupported features of a message, and of the messages in it:
 * - Default values: leaving out zeros, as proto3 does, would turn a 0 into another default.
 * - Required fields: a missing one would be invented.
 * - Fields named like a member of every object: they would always seem set.
 */
export function unsupported(
  message: protobuf.Type,
  seen: Set<protobuf.Type> = new Set(),
): string[] {
  if (seen.has(message)) return [];
  seen.add(message);
  return message.fieldsArray.flatMap((field) => {
    const name = `field ${field.name} of ${message.fullName.slice(1)}`;
    if (field.required) return [`${name} is required, which is not supported: make it optional`];
    if (field.delimited) return [`${name} is a group, which is not supported: make it a message`];
    if (field.name in Object.prototype)
      return [`${name} has the name of a member of every JavaScript object: rename it`];
    if (!field.repeated && !field.map && !isZero(field.typeDefault))
      return [`${name} has a default other than zero, which is not supported`];
    return field.resolvedType instanceof protobuf.Type ? unsupported(field.resolvedType, seen) : [];
  });
}

function isZero(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return !value;
  // The value is a Long, or bytes.
  return 'low' in value && 'high' in value
    ? value.low === 0 && value.high === 0
    : (value as ArrayLike<unknown>).length === 0;
}
