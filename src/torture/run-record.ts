/**
 * What happened in a run under faults, as it was written down: the checker judges by this alone.
 */

/**
 * A handler's call for one event. A `start` without its `end` or `fail` died with its thread or
 * process.
 */
export interface HandlerOp {
  readonly what: 'start' | 'end' | 'fail';
  readonly fn: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  /** Position in its subject, where the publisher counted. */
  readonly number: number;
  readonly attempt: number;
  /** `partition/entry id/position` */
  readonly position: string;
  readonly pid: number;
  readonly thread: number;
  /**
   * Of `end`, where effects are guarded by the idempotency key: whether this call's effect was the
   * first.
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
  /** Numbers the commits of one process. */
  readonly serial: number;
  readonly pid: number;
  /**
   * Of `commit`: type, entry id, events of it that are done, without those that were skipped
   * (`dedupe`).
   */
  readonly entries?: readonly (readonly [type: string, entryId: string, done: number])[];
}

/** The process has noticed that a lane is no longer its own. */
export interface LeaseLostOp {
  readonly what: 'lease-lost';
  readonly fn: string;
  readonly partition: number;
  readonly pid: number;
}

/** Something was done to a process or to the server. */
export interface FaultOp {
  readonly what: 'fault';
  readonly name: string;
  /** Of the process it was done to; 0: the server or the network. */
  readonly pid: number;
}

export type Op = HandlerOp | CommitOp | LeaseLostOp | FaultOp;

export interface PublishedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly number: number;
  /** `unknown`: the publisher was told of an error; it may be there or not. */
  readonly fate: 'acknowledged' | 'unknown';
  /**
   * When the call was made, and when it was answered, by the publisher's clock in ms: in between it
   * was appended, before or in a declared window of loss.
   */
  readonly sentMs: number;
  readonly atMs: number;
  /** Its handler succeeds at once: nothing gives a cause for a second attempt. */
  readonly innocent: boolean;
  /** Its handler fails for a time only, and has attempts enough: it may not die. */
  readonly immortal?: boolean;
  /** Published before, with this id and these data: a repetition, with a fate of its own. */
  readonly again?: boolean;
  /**
   * Scheduled: when it is due, by the server's clock in ms since 1970; null where the answer was
   * lost.
   */
  readonly dueMs?: number | null;
}

/**
 * What a function emits for an event it has done: this, exactly once. For one that is dead:
 * nothing.
 */
export interface Emission {
  readonly fn: string;
  /** Id of the event that causes it. */
  readonly cause: string;
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly number: number;
  /** As of a published event. */
  readonly innocent: boolean;
}

/** An event in a stream that says what caused it. */
export interface EmittedEvent {
  readonly id: string;
  readonly cause: string;
}

export interface FunctionRules {
  readonly name: string;
  readonly on: readonly string[];
  readonly ordering: 'key' | 'none';
  readonly attempts: number;
  /** handleBatch: its calls begin several events of a subject at once. */
  readonly batch: boolean;
  /**
   * A view: where an event of a turn fails, the others are folded again. What counts are its rows.
   */
  readonly view?: boolean;
  /** It has asked for `dedupe`: what it has settled it does not run again. */
  readonly dedupe?: boolean;
}

export interface FunctionEnd {
  readonly name: string;
  readonly appended: number;
  readonly done: number;
  /** Of `done`: not run, because their ids had been settled. */
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
  /** Its bytes are those of the event in the stream; null: the stream does not have it any more. */
  readonly faithful: boolean | null;
}

export interface Fold {
  readonly fn: string;
  /** Events in its rows. */
  readonly folded: number;
  readonly disordered: number;
}

export interface History {
  /** In the order in which they happened. */
  readonly ops: readonly Op[];
  readonly events: readonly PublishedEvent[];
  readonly functions: readonly FunctionRules[];
  /**
   * Whatever the events published will have caused if they are done; null: nobody knows what the
   * functions emit.
   */
  readonly emissions: readonly Emission[] | null;
  readonly end: {
    readonly functions: readonly FunctionEnd[];
    readonly letters: readonly Letter[];
    /** Effects in Redis: what the rows of views say. */
    readonly folds: readonly Fold[];
    /** Of the streams, at the end: as often as it is there. */
    readonly emitted: readonly EmittedEvent[];
    /** Ids in the streams of types whose events are scheduled: as often as they are there. */
    readonly appended: readonly string[];
    /** Still in the schedules. */
    readonly scheduled: number;
    /**
     * What the sweep had to set right, from the loss ledger: the books did not fit what was there.
     */
    readonly repairs: readonly string[];
    /** Everything was done or dead within the bound after the faults had ended. */
    readonly drainMs: number | null;
    readonly drainBoundMs: number;
    /** Most memory of any dispatcher, and what it may have. */
    readonly peakRssMb: number;
    readonly rssBoundMb: number;
    /** Keys of parked lists and entries of `due` that were left when all was settled. */
    readonly leftBehind: number;
  };
  readonly allowed: {
    /** Acknowledged events that may be missing: those of a declared window of loss. */
    readonly missing: ReadonlySet<string>;
    /**
     * Ids of emissions between two servers of a Cluster of which one forgot, in the moment in which
     * they were relayed: no script spans both, so they may be missing or there twice. On one server
     * nothing may.
     */
    readonly relayed: ReadonlySet<string>;
    /**
     * Redis itself forgot outcomes (power loss, FLUSHALL, failover): what was done before runs
     * again.
     */
    readonly stateGoesBack: boolean;
    /**
     * Redis forgot what it had handed out (a consumer group was destroyed): what was under way runs
     * again.
     */
    readonly runsAgain: boolean;
    /**
     * Dead letters that were replayed, and events sent again whose first sending may not be there:
     * `function event id`. They run behind later ones.
     */
    readonly replayed: ReadonlySet<string>;
    /**
     * Published by others than the harness (foreign producers, corrupt entries): runs of unknown
     * ids are no ghosts.
     */
    readonly foreign: boolean;
  };
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
