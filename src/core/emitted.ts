/**
 * Events that functions emit: what a pool thread, the commit and the relay have to agree on.
 *
 *   ctx.emit → checked and encoded in the thread → one block per report → commit.lua: the own
 *   partition's events into their streams and its schedule, those of others into the outbox →
 *   src/outbox/relay.ts
 *
 * The block (src/wire/message-pack.ts, a flat list), which the dispatcher passes on unread, is one
 * flush after the other: 0 (the own partition) or the target partition + 1, size in bytes, P, P x
 * {type, number of events, CRC-32, EventBatch bytes}, S, S x {id, '1' a delay | '0' a time, ms,
 * type, Event message}
 */
export interface Emitted {
  /**
   * Types of which events go into the own partition's streams: the commit has to name their keys.
   */
  readonly types: readonly string[];
  readonly block: Uint8Array;
  readonly bytes: number;
}

export const EMIT_LIMITS = {
  /** Of one event. */
  events: 1000,
  /** Of one event, encoded. */
  eventBytes: 1_048_576,
  /** With so much emitted a turn runs no further events; they come with the next one. */
  turnBytes: 4_194_304,
  /** No turn emits more: what would is refused. */
  turnMostBytes: 16_777_216,
  /** How many events in a row may have been emitted because of one another. */
  depth: 64,
} as const;

/**
 * CloudEvents extension attributes of an emitted event: the event that caused it, the one it all
 * began with, and how many lie between.
 */
export const CAUSATION = {
  cause: 'causationid',
  correlation: 'correlationid',
  depth: 'emitdepth',
} as const;

/**
 * What an outbox holds at most: then the lanes of functions that emit to other partitions wait. A
 * turn that ran may go beyond.
 */
export const OUTBOX_LIMITS = { entries: 10_000, bytes: 67_108_864 } as const;

/** What the outbox of a partition holds. */
export interface OutboxSize {
  readonly entries: number;
  readonly bytes: number;
}
