/** The tree of an event: what caused the event, and what the event caused. */
import type { FunctionState } from '../explain/report.ts';

/** An event of a tree. */
export interface TracedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** Its producer; of an emitted event the function. */
  readonly source: string;
  readonly partition: number;
  /** Position as text. Null: the event is in no stream yet. */
  readonly where: string | null;
  /**
   * Time at which it was published or emitted, ms since 1970. The clock is the publisher's, or that
   * of the function's dispatcher. Null: it bears no time.
   */
  readonly publishedMs: number | null;
  /** Time of its entry by the server's clock, ms since 1970. Null: it is in no stream yet. */
  readonly appendedMs: number | null;
  /** Id of the event that caused it. Null: it was published. */
  readonly cause: string | null;
  /** Place where it waits to be appended. Null: it is in a stream. */
  readonly waits: PendingPlace | null;
}

export interface PendingPlace {
  /** `outbox`: on its way to its partition. `schedule`: until its time. */
  readonly kind: 'outbox' | 'schedule';
  /** Time at which it is due by the server's clock, ms since 1970. Null: at once. */
  readonly dueMs: number | null;
}

/**
 * A function that reads an event, or has emitted for it. Millrace stores no time of a run. So the
 * times are bounds, from events that the function emitted. Null: it emitted none.
 */
export interface TraceStep {
  readonly function: string;
  /** State of the event for the function, as explain tells it. Null: it was not asked for. */
  readonly state: FunctionState | null;
  /** Reason for which the state was not asked for. Null: it was. */
  readonly unasked: string | null;
  /**
   * Time from the append of the event to the first emit of its run, ms: the event waited, and ran
   * up to there. It is the difference of two clocks, so it may be off, and negative.
   */
  readonly untilEmitMs: number | null;
  /**
   * Time from the append of the event to the first append of an event that it emitted, ms, by the
   * clock of the server. The function was done within that time.
   */
  readonly doneWithinMs: number | null;
  readonly emitted: readonly TraceNode[];
}

export interface TraceNode {
  readonly event: TracedEvent;
  /**
   * Time from publish or emit to the append, ms. For an emitted event: commit, and the way to its
   * partition, or its delay. It is the difference of two clocks. Null: one time is not known.
   */
  readonly untilAppendMs: number | null;
  /** The event is in the tree already: a replay or a rewind has emitted it once more. */
  readonly again: boolean;
  /** Empty for an event that waits, and for one that is there again. */
  readonly steps: readonly TraceStep[];
}

export interface EventTree {
  /** Causes of the event, the first one first. Each was read by the `source` of the next one. */
  readonly causes: readonly TracedEvent[];
  /** Whether the first of all causes was found. */
  readonly complete: boolean;
  readonly root: TraceNode;
  /** Events in the tree, causes not counted. */
  readonly events: number;
  /**
   * Time from the publish of the first known cause to the last append, ms. Null: a time is not
   * known.
   */
  readonly totalMs: number | null;
  /** Events searched towards the past and towards the present. */
  readonly searched: { readonly back: number; readonly forward: number };
  /** Cost: commands sent to Redis for the search, and the time of waiting for the answers, ms. */
  readonly commands: number;
  readonly redisMs: number;
  /** Places that were not looked at, and limits that were reached, one sentence each. */
  readonly notes: readonly string[];
}
