/** An entry of an outbox, as commit.lua writes it: what one flush brings to one other partition. */

export interface OutboxEntry {
  readonly id: string;
  /** The target partition. */
  readonly to: number;
  readonly bytes: number;
  readonly parts: readonly { readonly type: string; readonly count: string; readonly crc: string; readonly bytes: Buffer }[];
  readonly scheduled: readonly { readonly id: string; readonly type: string; readonly dueMs: number; readonly bytes: Buffer }[];
}

/**
 * Fields: `to`, `size`; per type appended `type`, `n`, `c`, `b` (as in a stream's entry); per event scheduled `when`
 * (`0 <time>` or `1 <delay>`, a space, type, a space, id) and `event`. A delay counts from the commit, which the entry's id tells.
 */
export function readOutboxEntry([id, fields]: readonly [Buffer, readonly Buffer[]]): OutboxEntry {
  const entryId = id.toString();
  const text = (at: number): string => (fields[at] as Buffer).toString();
  const parts: { type: string; count: string; crc: string; bytes: Buffer }[] = [];
  const scheduled: { id: string; type: string; dueMs: number; bytes: Buffer }[] = [];
  for (let at = 4; at < fields.length; ) {
    if (text(at) === 'type') {
      parts.push({ type: text(at + 1), count: text(at + 3), crc: text(at + 5), bytes: fields[at + 7] as Buffer });
      at += 8;
    } else {
      const [, kind, ms, type, eventId] = /^([01]) (\d+) (\S+) (.*)$/s.exec(text(at + 1)) as unknown as [string, string, string, string, string];
      scheduled.push({ id: eventId, type, dueMs: Number(ms) + (kind === '1' ? Number(entryId.split('-')[0]) : 0), bytes: fields[at + 3] as Buffer });
      at += 4;
    }
  }
  return { id: entryId, to: Number(text(1)), bytes: Number(text(3)), parts, scheduled };
}

