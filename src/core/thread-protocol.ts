/**
 * What travels between the dispatcher and a pool thread. Payload bytes are in `buffer`, which is
 * transferred, never cloned; all else is small. Event indices run over the retries first, then over
 * the entries' events in order.
 */
import type { Emitted } from './emitted.ts';
import type { LocalSchema } from './schema-id.ts';

export interface BatchTask {
  readonly kind: 'batch';
  readonly fn: string;
  readonly partition: number;
  /** Bytes of all retries and entries, packed. */
  readonly buffer: ArrayBuffer;
  /** Parked records to run, in list order within a unit. */
  readonly retries: readonly RetryItem[];
  /** Stream entries in lane order (entry id; entries with the same id stand together). */
  readonly entries: readonly EntryItem[];
  /** Event types the entries' `type` refers to. */
  readonly types: readonly string[];
  /**
   * Subjects whose events must not run, because earlier ones of them are parked. Empty with
   * ordering 'none'.
   */
  readonly blocked: readonly string[];
  readonly events: number;
  readonly cells: SharedArrayBuffer;
  /** Run alone: an earlier attempt of its only event killed its thread. */
  readonly isolate: boolean;
  /**
   * Where the rows are in `buffer` that a view's events are folded onto: packed list of id, stored
   * row. `added`: ids of rows that are not there yet.
   */
  readonly rows: {
    readonly offset: number;
    readonly length: number;
    readonly added: readonly string[];
  } | null;
  /** What earlier rounds of the batch have caused (src/core/effects.ts), in order. */
  readonly caused: readonly Uint8Array[];
}

/**
 * Batches of one function that run one after the other; answered by a list of reports. A report may
 * name handlers that still run: what becomes of them is asked for by CollectTasks.
 */
export interface BatchesTask {
  readonly kind: 'batches';
  readonly group: number;
  readonly tasks: readonly BatchTask[];
  /** Most events of a batch that run at the same time. */
  readonly concurrency: number;
  /** A batch may be reported while handlers of it still run. */
  readonly detach: boolean;
  /**
   * When they have run so long together, no further event of theirs is started. Infinity: all of
   * them are.
   */
  readonly turnMs: number;
  /** Schemas that are not those of ThreadData any more; null: all are. */
  readonly schemas: ReadonlyMap<string, LocalSchema> | null;
}

/**
 * Answered by LateReport[] once a handler has settled that still ran when its batch of the group
 * was reported.
 */
export interface CollectTask {
  readonly kind: 'collect';
  readonly group: number;
}

/** What became of one event behind its batch's report. */
export interface LateReport {
  /** Index of its batch in the group. */
  readonly batch: number;
  /** Of the event, in its batch. */
  readonly index: number;
  /** Of this event only. */
  readonly report: BatchReport;
}

export interface RetryItem {
  /** Index of the parked list: items of one unit stand together and run one after the other. */
  readonly unit: number;
  /** A millrace.v1.ParkedEvent in `buffer`. */
  readonly offset: number;
  readonly length: number;
}

export interface EntryItem {
  readonly id: string;
  readonly type: number;
  readonly offset: number;
  readonly length: number;
  /** Number of events, and the first one's index. */
  readonly count: number;
  readonly first: number;
  /** As found in the entry: null where the producer wrote none. */
  readonly n: number | null;
  readonly crc: number | null;
}

export interface ErrorInfo {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** The chain of `error.cause`, in one bounded line; absent or empty where there is none. */
  readonly cause?: string;
}

/** Why an event is dead. */
export const FAILURE_REASONS = [
  'attempts',
  'non-retryable',
  'decode',
  'envelope',
  'schema',
  'timeout',
  'thread-death',
  'dispatcher-death',
  'parked-limit',
  'emit-loop',
] as const;
export type FailureReason = (typeof FAILURE_REASONS)[number];
/** Why an entry could not be taken apart. */
export const ENTRY_REASONS = ['checksum', 'decode', 'count', 'missing'] as const;
export type EntryReason = (typeof ENTRY_REASONS)[number];

/** One failed attempt. `retryable: false` goes to the dead letters at once. */
export interface Failure {
  readonly ref: EventRef;
  readonly error: ErrorInfo;
  readonly retryable: boolean;
  readonly reason: FailureReason;
  /** It has cost its thread: from now on it runs by itself. */
  readonly isolate?: boolean;
  /**
   * No attempt was made: the registry does not know the event's schema (yet). It waits, up to a
   * bound.
   */
  readonly waits?: boolean;
}

/** Where an event stands in the batch, with what parking or dead-lettering it needs. */
export interface EventRef {
  readonly index: number;
  /** Index into `entries`, or -1 for a retry. */
  readonly entry: number;
  /** Index within its entry (of a retry: within the entry it once came from). */
  readonly indexInEntry: number;
  /** Its Event message, relative to the entry's bytes. Unused for a retry. */
  readonly offset: number;
  readonly length: number;
  readonly position: number;
  readonly id: string;
  readonly subject: string;
}

/** An entry that could not be taken apart: dead as a whole. */
export interface DeadEntry {
  readonly entry: number;
  readonly reason: EntryReason;
  readonly message: string;
}

export interface BatchReport {
  readonly kind: 'report';
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** What its events caused, packed (src/core/effects.ts); null: nothing. */
  readonly effects: Uint8Array | null;
  /** Events that its events emitted (src/core/emitted.ts). Absent: none. */
  readonly emitted?: Emitted;
  /**
   * Completed events by age (wall clock at completion minus event time): pairs of age in ms, count.
   */
  readonly ages: readonly number[];
  /** Time it had the thread. */
  readonly busyMs: number;
  /** Handlers that still run: nothing else of the batch is left to do. Absent: none. */
  readonly running?: readonly EventRef[];
}

/** The function could not be loaded or its setup() threw: no event was tried, none is charged. */
export interface SetupFailed {
  readonly kind: 'setup-failed';
  readonly error: ErrorInfo;
}

export interface DescribeTask {
  readonly kind: 'describe';
  /** Only this file, by its source. Default: all. */
  readonly only?: string;
}

/** Answer to describe: one per file. */
export interface FileDescription {
  readonly source: string;
  readonly version: string;
  readonly spec: import('./function-spec.ts').FunctionSpec | null;
  readonly problem: string | null;
}

/**
 * What a thread asks the dispatcher about the schemas of writers: who uses an id (`id:7`), or the
 * text of a schema, by id (`text:7`) or by version (`text:order.created/2`).
 */
export type SchemaKey = `id:${number}` | `text:${number}` | `text:${string}/${number}`;

/** Null: the registry does not know it. */
export type SchemaAnswer = WriterSchema | null;

export interface WriterSchema {
  readonly id: number;
  /** Full name of the message. */
  readonly message: string;
  /** Versions of subjects it is. */
  readonly uses: readonly { readonly subject: string; readonly version: number }[];
  /** Its text, where that was asked for. */
  readonly files: readonly { readonly name: string; readonly text: string }[];
}

/** An error that nobody handled, or a call of process.exit: its thread has ended. */
export interface UncaughtError {
  readonly origin: 'rejection' | 'throw' | 'exit';
  readonly error: ErrorInfo;
  /** Whose it is: by its stack, or else those that ran in the thread last. */
  readonly functions: readonly string[];
  readonly certain: boolean;
  /** What the thread took last, oldest first. */
  readonly events: readonly { readonly function: string; readonly eventId: string }[];
}

/** Over the channel between the dispatcher and its threads. */
export type ChannelMessage =
  | 'teardown'
  | 'torn-down'
  | { readonly kind: 'uncaught'; readonly uncaught: UncaughtError }
  | { readonly kind: 'schema?'; readonly key: SchemaKey }
  /** To all threads: whoever asked takes it. */
  | { readonly kind: 'schema'; readonly key: SchemaKey; readonly answer: SchemaAnswer };

/** What each pool thread is started with. */
export interface ThreadData {
  readonly files: readonly FunctionFileData[];
  readonly protoSources: readonly { readonly name: string; readonly text: string }[];
  readonly logLevel: string;
  /** P of the deployment. */
  readonly partitions: number;
  /** The event types' schemas as they are under proto/, where they are registered. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
  /** BroadcastChannel over which the dispatcher asks for teardown and answers questions. */
  readonly channel: string;
}
export type FunctionFileData = import('./function-spec.ts').FunctionFile;
