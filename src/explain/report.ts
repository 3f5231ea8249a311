/** The report of explain. */
import type { SetupFailure } from '../core/setup-failure.ts';
import type { LagStates } from '../lag/lag-counts.ts';

export type ExplainQuery = { readonly eventId: string } | { readonly subject: string };

export interface ExplainOptions {
  /** Most events to search through, newest first. Default 100,000. */
  readonly scan?: number;
  /** Most events to explain. Default 100. */
  readonly limit?: number;
  /** Whether messages and causes of errors are told, which may quote payloads. Default true. */
  readonly quotes?: boolean;
}

export interface Attempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** Cause of the error, where the error has one. */
  readonly cause?: string;
}

export type EventState =
  /**
   * `unknown`: the event is done, or it is in a record that cannot be read, or it lies beyond the
   * records looked at. `why` says which.
   */
  | { readonly state: 'done' | 'skipped' | 'unknown' }
  | {
      readonly state: 'pending';
      readonly deliveredMsAgo: number;
      readonly deliveries: number;
      readonly dispatcher: string | null;
      /** Failure of the function's setup: the event was not tried. */
      readonly setup?: SetupFailure;
    }
  /** `eventsBefore` is null where the events are too many to be counted one by one. */
  | {
      readonly state: 'lag';
      readonly eventsBefore: number | null;
      readonly dispatcher: string | null;
    }
  | {
      readonly state: 'parked';
      readonly attempts: number;
      readonly history: readonly Attempt[];
      /** Time until the head of its queue runs, ms. Negative: overdue. Null: not known. */
      readonly dueInMs: number | null;
      /** Place in its queue; 0: the head. */
      readonly place: number;
      /**
       * Event id of the head that it waits behind. Null: it is the head, or the head is unreadable.
       */
      readonly behind: string | null;
      /** Its handler that runs beside the turns of the lane. `sinceMs`: ms since 1970. */
      readonly running?: { readonly sinceMs: number; readonly attempt: number };
      readonly dispatcher: string | null;
    }
  | {
      readonly state: 'dead';
      readonly letter: string;
      readonly reason: string;
      readonly attempts: number;
      readonly history: readonly Attempt[];
      readonly error: { readonly name: string; readonly message: string; readonly cause?: string };
    };

export type FunctionState = EventState & {
  readonly function: string;
  readonly why: string;
  /**
   * The function's events of this type and partition that are not settled: for each state their
   * number and the age of the oldest. Missing: the event itself is settled.
   */
  readonly unsettled?: LagStates;
};

export interface ExplainedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly partition: number;
  readonly entryId: string;
  /** Place of the event in its entry, and in its flush. */
  readonly index: number;
  readonly position: number;
  readonly appendedMs: number;
  /**
   * Whether the entry was found in its stream. False: it is trimmed, or too far back to be looked
   * at.
   */
  readonly inStream: boolean;
  readonly functions: readonly FunctionState[];
}

/** An event that is in no stream yet. */
export interface WaitingEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** Partition to which it will be appended. */
  readonly partition: number;
  /**
   * - `scheduled`: it waits for its time.
   * - `outbox`: it waits to be relayed to its partition.
   * - `dead`: it waits no more, because its record could not be read. `why` names the dead letter.
   */
  readonly where: 'scheduled' | 'outbox' | 'dead';
  /** Time at which it is due by the server's clock, ms since 1970; null: at once. */
  readonly dueMs: number | null;
  readonly why: string;
}

export interface ExplainReport {
  readonly events: readonly ExplainedEvent[];
  /** Events in no stream yet: scheduled, or on their way to another partition. */
  readonly waiting: readonly WaitingEvent[];
  readonly searched: {
    readonly events: number;
    readonly partitions: number;
    /** Whether all retained data was looked at. False also where the search ended with a find. */
    readonly complete: boolean;
    /**
     * Lists that were not looked at to their ends, and unreadable records, one text each. Missing
     * where there are none.
     */
    readonly unseen?: readonly string[];
  };
}
