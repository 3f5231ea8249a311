/** A commit: the facts that its plan is made from, and the plan. */
import type { DeadEntry, ErrorInfo, EventRef, Failure } from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';

/** An argument of commit.lua. */
export type Arg = string | number | Buffer;

export interface CommitContext {
  readonly keys: Keys;
  readonly spec: FunctionSpec;
  readonly partition: number;
  /** Consumer that has the entries pending (ordering 'none'). Default: the lane's owner. */
  readonly consumer?: string;
  readonly leaseValue: string;
  readonly leaseTtlMs: number;
  /**
   * `<epoch>.<turn>`, and behind a space the id of the lane's last commit. A Redis that has gone
   * back in time does not know the last commit.
   */
  readonly turnId: string;
  /**
   * Estimated server time for stamps in records, ms since 1970. Redis adds delays to its own
   * clock.
   */
  readonly nowMs: number;
  readonly dispatcher: string;
  readonly version: string;
  /** Number of events that are parked in a unit's list now. */
  readonly parkedOf: (unit: string) => number;
  /** Whether nothing has failed in a parked unit: its events were not started. Default: false. */
  readonly isLeft?: ((unit: string) => boolean) | undefined;
  /** Time that an event waits for its schema to be registered, ms. */
  readonly schemaWaitMs: number;
  /** New value of `running:<f>`; '-' removes the field. Default: as before. */
  readonly running?: string | undefined;
  /** Whether the unit's head runs beside this turn. Default: false. */
  readonly inFlight?: ((unit: string) => boolean) | undefined;
}

/**
 * An event that becomes, or stays, the head of its parked list without a failed attempt. Its
 * handler still runs, or died without blame.
 */
export interface Unsettled {
  readonly ref: EventRef;
  readonly delayMs: number;
  /** Whether the event is to run by itself. */
  readonly isolate: boolean;
}

export interface ResultOfRun {
  readonly states: Uint8Array;
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** Blocks of steps (src/core/effects.ts), in order. */
  readonly effects: readonly Uint8Array[];
  /**
   * Identities of the events (src/wire/event-identity.ts) where the function has an inbox; '' for
   * an event without one.
   */
  readonly ids?: readonly string[];
  /** Emitted events, in order. Absent: none. */
  readonly emitted?: readonly Emitted[];
  /** Events whose state is RUNNING. Absent: none. */
  readonly unsettled?: readonly Unsettled[];
  /** Indexes of the events in `blocked` that were only not started. Absent: none. */
  readonly left?: ReadonlySet<number>;
}

/** One failed attempt, for the log. */
export interface FailedAttempt {
  readonly eventId: string;
  readonly type: string;
  readonly subject: string;
  /** Place of the event: entry id in its type's stream, and index in the entry. */
  readonly entry: string;
  readonly index: number;
  readonly attempt: number;
  /** Time to the next attempt, in ms from the commit; null: the event is dead. */
  readonly nextMs: number | null;
  readonly reason: string;
  readonly error: ErrorInfo;
}

export interface CommitPlan {
  readonly partition: number;
  readonly keys: readonly string[];
  readonly args: readonly (string | number | Buffer)[];
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  /**
   * Units that have a parked list after the commit, with the number of events by which the list
   * grows. The reply may name some of these lists as emptied.
   */
  readonly parked: ReadonlyMap<string, number>;
  /** Parked records of the unsettled events, by index in the batch. */
  readonly unsettled: ReadonlyMap<number, Buffer>;
  /** Units of `parked` in which nothing has failed: their events were not started. */
  readonly left: ReadonlySet<string>;
  /** Failed attempts, and events that are dead without one, for the log. */
  readonly failed: readonly FailedAttempt[];
}
