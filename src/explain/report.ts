/** The report of explain. */
import type { SetupFailure } from '../core/setup-failure.ts';
import type { WaitingEvent } from './waiting.ts';

export type ExplainQuery = { readonly eventId: string } | { readonly subject: string };

export interface ExplainOptions {
  /** Most events to search through, newest first. Default 100,000. */
  readonly scan?: number;
  /** Most events to explain. Default 100. */
  readonly limit?: number;
}

export interface Attempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** What the error was caused by, where it says so. */
  readonly cause?: string;
}

export type EventState =
  /**
   * `unknown`: the event is done, or an unreadable dead letter holds it, or it lies beyond the
   * records looked at. `why` says which.
   */
  | { readonly state: 'done' | 'skipped' | 'unknown' }
  | {
      readonly state: 'pending';
      readonly deliveredMsAgo: number;
      readonly deliveries: number;
      readonly dispatcher: string | null;
      /** Its function's setup fails: it was not tried. */
      readonly setup?: SetupFailure;
    }
  /** `eventsBefore` null: too many to be counted one by one. */
  | {
      readonly state: 'lag';
      readonly eventsBefore: number | null;
      readonly dispatcher: string | null;
    }
  | {
      readonly state: 'parked';
      readonly attempts: number;
      readonly history: readonly Attempt[];
      /** When the head of its queue runs; negative: overdue. Null: not known. */
      readonly dueInMs: number | null;
      /** 0: the head. */
      readonly place: number;
      /** Event id of the head it waits behind. */
      readonly behind: string | null;
      /** Its handler runs, beside the turns of its lane. `sinceMs`: ms since 1970. */
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

export type FunctionState = EventState & { readonly function: string; readonly why: string };

export interface ExplainedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly partition: number;
  readonly entryId: string;
  /** Place in its entry, and in its flush. */
  readonly index: number;
  readonly position: number;
  readonly appendedMs: number;
  /** The entry is not in its stream any more (trimmed), or was too far back to be looked at. */
  readonly inStream: boolean;
  readonly functions: readonly FunctionState[];
}

export interface ExplainReport {
  readonly events: readonly ExplainedEvent[];
  /** In no stream yet: scheduled, or on their way to another partition. */
  readonly waiting: readonly WaitingEvent[];
  readonly searched: {
    readonly events: number;
    readonly partitions: number;
    /** Whether all retained data was looked at. False also where the search ended with a find. */
    readonly complete: boolean;
    /** Lists that were not looked at to their ends, one text each. Missing where there are none. */
    readonly unseen?: readonly string[];
  };
}
