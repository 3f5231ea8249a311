/**
 * Format of the events that functions emit. The pool thread, the commit and the relay agree on it.
 *
 * The way of an emitted event:
 *
 *   ctx.emit → checked and encoded in the thread → one block per report → commit.lua:
 *   - own partition: into its streams, or into its schedule
 *   - other partitions: into the outbox → src/outbox/relay.ts
 *
 * The block is a flat list (src/wire/message-pack.ts). The dispatcher passes the block on unread.
 * The block holds one flush after the other. The fields of a flush:
 *
 * - 0 (the own partition) or the target partition + 1
 * - size in bytes
 * - P, then P x {type, number of events, CRC-32, EventBatch bytes}
 * - S, then S x {id, '1' a delay | '0' a time, ms, type, Event message}
 */
export interface Emitted {
  /** Types of the events for the own partition's streams: the commit has to name these keys. */
  readonly types: readonly string[];
  readonly block: Uint8Array;
  readonly bytes: number;
}

export const EMIT_LIMITS = {
  /** Most events that one event's handler emits. */
  events: 1000,
  /** Most encoded bytes that one event's handler emits. */
  eventBytes: 1_048_576,
  /** Emitted bytes from which on a turn starts no further events. The next turn runs them. */
  turnBytes: 4_194_304,
  /** Most emitted bytes of a turn: an emit beyond them throws OversizeError. */
  turnMostBytes: 16_777_216,
  /** Longest chain of events that were emitted because of one another. */
  depth: 64,
} as const;

/**
 * CloudEvents extension attributes of an emitted event: its cause, the first event of the chain,
 * and the number of emits since that first event.
 */
export const CAUSATION = {
  cause: 'causationid',
  correlation: 'correlationid',
  depth: 'emitdepth',
} as const;

/**
 * Size at which an outbox is full: the lanes of functions that emit to other partitions wait then.
 * A turn that already runs may go beyond.
 */
export const OUTBOX_LIMITS = { entries: 10_000, bytes: 67_108_864 } as const;

/** Content of a partition's outbox. */
export interface OutboxSize {
  readonly entries: number;
  readonly bytes: number;
}
