/**
 * An entry of an outbox, as commit.lua writes it: the events of one flush for one other partition.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';

export interface OutboxEntry {
  readonly id: string;
  /** The target partition. */
  readonly to: number;
  readonly bytes: number;
  readonly parts: readonly OutboxPart[];
  readonly scheduled: readonly OutboxScheduled[];
}

export interface OutboxPart {
  readonly type: string;
  readonly count: string;
  readonly crc: string;
  readonly bytes: Buffer;
}

export interface OutboxScheduled {
  readonly id: string;
  readonly type: string;
  readonly dueMs: number;
  readonly bytes: Buffer;
}

/**
 * Reads an entry with these fields:
 * - `to`, `size`
 * - for each type appended `type`, `n`, `c`, `b`, as in a stream's entry
 * - for each event scheduled `when` and `event`. `when` is `0 <time>` or `1 <delay>`, a space, the
 *   type, a space, the id.
 *
 * A delay counts from the commit, whose time is in the entry's id.
 *
 * @param partitions number of partitions of the deployment. Default: any number is a target
 * @throws CorruptDataError: commit.lua does not write such an entry. Nothing of it may be relayed
 */
export function readOutboxEntry(
  entry: readonly [Buffer, readonly Buffer[]],
  partitions = Infinity,
): OutboxEntry {
  const [idBytes, fields] = entry;
  const id = idBytes.toString();
  const corrupt = (problem: string): never => {
    throw new CorruptDataError('decode', `outbox entry ${id}: ${problem}`);
  };
  const valueOf = (at: number, name: string): Buffer => {
    if (fields[at]?.toString() !== name) corrupt(`its field ${at / 2} is not "${name}"`);
    return fields[at + 1] ?? corrupt(`its field "${name}" has no value`);
  };
  const numberOf = (at: number, name: string, most: number): number => {
    const text = valueOf(at, name).toString();
    if (!/^\d{1,16}$/.test(text) || Number(text) > most)
      corrupt(`its field "${name}" is not a number from 0 to ${most}`);
    return Number(text);
  };
  const typeOf = (text: string): string =>
    TYPE_PATTERN.test(text) ? text : corrupt('it names an event type that is none');
  const to = numberOf(0, 'to', partitions - 1);
  const bytes = numberOf(2, 'size', Number.MAX_SAFE_INTEGER);
  const parts: OutboxPart[] = [];
  const scheduled: OutboxScheduled[] = [];
  for (let at = 4; at < fields.length;) {
    if (fields[at]?.toString() === 'type') {
      const type = typeOf(valueOf(at, 'type').toString());
      const count = numberOf(at + 2, 'n', 65_536);
      if (count === 0) corrupt('it brings no events of a type');
      const crc = numberOf(at + 4, 'c', 2 ** 32 - 1);
      parts.push({ type, count: String(count), crc: String(crc), bytes: valueOf(at + 6, 'b') });
      at += 8;
      continue;
    }
    const when = /^([01]) (\d{1,16}) (\S+) (.*)$/s.exec(valueOf(at, 'when').toString());
    const [kind, ms, type, eventId] =
      when?.slice(1) ?? corrupt('its field "when" does not say when which event is due');
    const dueMs = Number(ms) + (kind === '1' ? Number(id.split('-')[0]) : 0);
    scheduled.push({
      id: eventId as string,
      type: typeOf(type as string),
      dueMs,
      bytes: valueOf(at + 2, 'event'),
    });
    at += 4;
  }
  return { id, to, bytes, parts, scheduled };
}

/** Describes an unreadable entry, for its dead letter. */
export function describeEntry([id, fields]: readonly [Buffer, readonly Buffer[]]): {
  readonly place: string;
  readonly type: string;
  readonly events: number;
  readonly outboxBytes: number;
} {
  let [type, events, outboxBytes] = ['', 0, 0];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at]?.toString();
    const value = fields[at + 1]?.subarray(0, 200).toString() ?? '';
    const count = /^\d{1,9}$/.test(value) ? Number(value) : 0;
    if (name === 'type' && type === '' && TYPE_PATTERN.test(value)) type = value;
    else if (name === 'n') events += Math.min(count, 65_536);
    else if (name === 'when') events++;
    else if (name === 'size') outboxBytes = count;
  }
  return { place: id.toString(), type, events: Math.max(1, events), outboxBytes };
}
