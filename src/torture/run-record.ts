/** The record of a run under faults. The checker judges by this record alone. */
import type { Allowed } from './allowed.ts';

/**
 * A handler's call for one event. A `start` without an `end` or `fail` died with its thread or
 * process.
 */
export interface HandlerOp {
  readonly what: 'start' | 'end' | 'fail';
  readonly fn: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** Position in the subject, where the publisher counted. */
  readonly number: number;
  readonly attempt: number;
  /** `partition/entry id/position` */
  readonly position: string;
  readonly pid: number;
  readonly thread: number;
  /**
   * Only of an `end`, and only where the idempotency key guards the effects: whether the effect of
   * this call was the first.
   */
  readonly applied?: boolean;
}

/**
 * A lane's commit: `commit` before it is sent, `committed` or `refused` when Redis has answered.
 */
export interface CommitOp {
  readonly what: 'commit' | 'committed' | 'refused';
  readonly fn: string;
  readonly partition: number;
  /** Key of the lease: a function without order has several lanes in a partition. */
  readonly lease: string;
  readonly epoch: number;
  /** Number of the commit within its process. */
  readonly serial: number;
  readonly pid: number;
  /**
   * Only of a `commit`: each entry with its number of events that are done. Events skipped by
   * `dedupe` do not count.
   */
  readonly entries?: readonly (readonly [type: string, entryId: string, done: number])[];
}

/** The process has noticed that it lost a lane. */
export interface LeaseLostOp {
  readonly what: 'lease-lost';
  readonly fn: string;
  readonly partition: number;
  readonly pid: number;
}

/** A fault was put into a process, the server or the network. */
export interface FaultOp {
  readonly what: 'fault';
  readonly name: string;
  /** Process id of the victim; 0: the server or the network. */
  readonly pid: number;
}

export type Op = HandlerOp | CommitOp | LeaseLostOp | FaultOp;

export interface PublishedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly number: number;
  /** `unknown`: the publisher got an error; the event may be there or not. */
  readonly fate: 'acknowledged' | 'unknown';
  /**
   * Time of the call, by the publisher's clock, ms. The event was appended between this time and
   * `atMs`, or earlier in a declared window of loss.
   */
  readonly sentMs: number;
  readonly atMs: number;
  /** Whether the handler succeeds at once, so that nothing causes a second attempt. */
  readonly innocent: boolean;
  /** Whether the handler fails for a time only and has enough attempts: the event may not die. */
  readonly immortal?: boolean;
  /**
   * Whether this is a repetition of an earlier event, with the same id and data. A repetition has a
   * fate of its own.
   */
  readonly again?: boolean;
  /**
   * Only of a scheduled event: its due time, by the server's clock, ms since 1970. Null where the
   * answer was lost.
   */
  readonly dueMs?: number | null;
}

/**
 * An event that a function emits for another one: exactly once if the other one is done, never if
 * it is dead.
 */
export interface RecordedEmission {
  readonly fn: string;
  /** Id of the event that causes the emission. */
  readonly cause: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly number: number;
  /** See PublishedEvent.innocent. */
  readonly innocent: boolean;
}

/** An event in a stream with the id of its cause. */
export interface EmittedEvent {
  readonly id: string;
  readonly cause: string;
}

export interface FunctionRules {
  readonly name: string;
  readonly on: readonly string[];
  readonly ordering: 'key' | 'none';
  readonly attempts: number;
  /**
   * Whether the function has handleBatch, whose calls begin several events of a subject at once.
   */
  readonly batch: boolean;
  /**
   * Whether the function is a view. Where one event of a turn fails, the others are folded again,
   * so only the rows count.
   */
  readonly view?: boolean;
  /** Whether the function has `dedupe`: it does not run a settled id again. */
  readonly dedupe?: boolean;
}

export interface FunctionEnd {
  readonly name: string;
  readonly appended: number;
  readonly done: number;
  /** Part of `done`: events not run, because their ids were settled already. */
  readonly skipped: number;
  readonly dead: number;
  readonly parked: number;
  readonly pending: number;
  readonly lag: number;
  readonly conserved: boolean;
}

export interface Letter {
  readonly fn: string;
  readonly id: string;
  readonly kind: 'event' | 'entry' | 'record';
  readonly attempts: number;
  readonly events: number;
  /**
   * Whether the letter's bytes equal those of the event in the stream; null: the event is no longer
   * in the stream.
   */
  readonly faithful: boolean | null;
}

export interface Fold {
  readonly fn: string;
  /** Number of events in the view's rows. */
  readonly folded: number;
  readonly disordered: number;
}

export interface RunRecord {
  /** Ops in the order in which they happened. */
  readonly ops: readonly Op[];
  readonly events: readonly PublishedEvent[];
  readonly functions: readonly FunctionRules[];
  /**
   * All emissions that the published events cause if they are done; null: nobody knows the
   * functions' emissions.
   */
  readonly emissions: readonly RecordedEmission[] | null;
  readonly end: {
    readonly functions: readonly FunctionEnd[];
    readonly letters: readonly Letter[];
    /** Effects in Redis: the contents of the views' rows. */
    readonly folds: readonly Fold[];
    /** Emitted events in the streams at the end, each as often as it is there. */
    readonly emitted: readonly EmittedEvent[];
    /** Ids in the streams of scheduled types, each as often as it is there. */
    readonly appended: readonly string[];
    /** Number of events still in the schedules. */
    readonly scheduled: number;
    /** Repairs by the sweep, from the loss ledger: the counters did not fit the data. */
    readonly repairs: readonly string[];
    /**
     * Time from the end of the faults until everything was done or dead, ms; null: longer than the
     * bound.
     */
    readonly drainMs: number | null;
    readonly drainBoundMs: number;
    /** Highest memory of any dispatcher, MB. */
    readonly peakRssMb: number;
    readonly rssBoundMb: number;
    /** Number of parked lists and of `due` entries left when everything was settled. */
    readonly leftBehind: number;
  };
  readonly allowed: Readonly<Allowed>;
}

export const RULES = [
  'lost',
  'ghost',
  'emit lost',
  'emit twice',
  'emit ghost',
  'conservation',
  'applied twice',
  'ran twice',
  'dedupe',
  'schedule',
  'order',
  'overlap',
  'acknowledged early',
  'fencing',
  'attempts',
  'dead letter',
  'repair',
  'memory',
  'drain',
] as const;
export type Rule = (typeof RULES)[number];

export interface Violation {
  readonly rule: Rule;
  readonly what: string;
}
