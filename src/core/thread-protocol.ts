/**
 * Messages between the dispatcher and a pool thread. Payload bytes are in `buffer`, which is
 * transferred, never cloned. All other fields are small. Event indices count the retries first,
 * then the entries' events in order.
 */
import type { Emitted } from './emitted.ts';
import type { LocalSchema } from './schema-id.ts';
import type { TraceContext } from './trace-context.ts';

export interface BatchTask {
  readonly kind: 'batch';
  readonly fn: string;
  readonly partition: number;
  /** Bytes of all retries and entries, packed. */
  readonly buffer: ArrayBuffer;
  /** Parked records to run, in list order within a unit. */
  readonly retries: readonly RetryItem[];
  /** Stream entries in lane order (entry id; entries with the same id stand together). */
  readonly entries: EntryTable;
  /** Event types that the entries' `type` refers to. */
  readonly types: readonly string[];
  /**
   * Subjects whose events must not run, because earlier events of them are parked. Empty with
   * ordering 'none'.
   */
  readonly blocked: readonly string[];
  readonly events: number;
  readonly cells: SharedArrayBuffer;
  /**
   * Whether the event runs alone: an earlier attempt of the batch's only event killed its thread.
   */
  readonly isolate: boolean;
  /**
   * Rows that a view's events are folded onto, in `buffer`: packed list of id, stored row. `added`:
   * ids of rows that do not exist yet.
   */
  readonly rows: {
    readonly offset: number;
    readonly length: number;
    readonly added: readonly string[];
  } | null;
  /** Effects of earlier rounds of the batch (src/core/effects.ts), in order. */
  readonly caused: readonly Uint8Array[];
}

/**
 * Batches that run one after the other, of one function or of several quick ones. The answer is a
 * list of BatchAnswers. A report may name handlers that still run; CollectTasks ask for their
 * outcomes.
 */
export interface BatchesTask {
  readonly kind: 'batches';
  readonly group: number;
  readonly tasks: readonly BatchTask[];
  /** Claims on the batches (src/core/claims.ts); null: there is one batch. */
  readonly claims: Int32Array | null;
  /** Most events of a batch that run at the same time. */
  readonly concurrency: number;
  /** Whether a batch may be reported while some of its handlers still run. */
  readonly detach: boolean;
  /**
   * Time that the batches share, ms: no further event is started after it. Infinity: all events are
   * started.
   */
  readonly turnMs: number;
  /** Schemas that have changed since ThreadData; null: none. */
  readonly schemas: ReadonlyMap<string, LocalSchema> | null;
}

/**
 * Asks for late outcomes of a group. Answered by LateReport[] once a handler has settled that still
 * ran at its batch's report.
 */
export interface CollectTask {
  readonly kind: 'collect';
  readonly group: number;
}

/** Outcome of one event that settled after its batch's report. */
export interface LateReport {
  /** Index of its batch in the group. */
  readonly batch: number;
  /** Index of the event in its batch. */
  readonly index: number;
  /** Report of this event only. */
  readonly report: BatchReport;
}

export interface RetryItem {
  /** Index of the parked list. Items of one unit are adjacent and run one after the other. */
  readonly unit: number;
  /** A millrace.v1.ParkedEvent in `buffer`. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Entries on their way to a thread. Messages are cloned, and an object per entry costs more there
 * than a small event's handler.
 */
export interface EntryTable {
  readonly ids: readonly string[];
  /** Per entry: type, offset, length, count, first, whether it has a checksum (0, 1), checksum. */
  readonly numbers: readonly number[];
}

export interface EntryItem {
  readonly id: string;
  readonly type: number;
  readonly offset: number;
  readonly length: number;
  /** Number of the entry's events, and the index of the first one. */
  readonly count: number;
  readonly first: number;
  /** Checksum as the entry gives it; null: the producer wrote none. */
  readonly crc: number | null;
}

const NUMBERS = 7;

export function entryAt({ ids, numbers }: EntryTable, i: number): EntryItem {
  const at = i * NUMBERS;
  return {
    id: ids[i] as string,
    type: numbers[at] as number,
    offset: numbers[at + 1] as number,
    length: numbers[at + 2] as number,
    count: numbers[at + 3] as number,
    first: numbers[at + 4] as number,
    crc: numbers[at + 5] === 1 ? (numbers[at + 6] as number) : null,
  };
}

export interface ErrorInfo {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  /** Chain of `error.cause`, in one bounded line. Absent or empty: there is none. */
  readonly cause?: string;
}

/** Reasons for which an event is dead. */
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
/** Reasons for which an entry could not be decoded. */
export const ENTRY_REASONS = ['checksum', 'decode', 'count', 'missing'] as const;
export type EntryReason = (typeof ENTRY_REASONS)[number];

/** One failed attempt. `retryable: false` goes to the dead letters at once. */
export interface Failure {
  readonly ref: EventRef;
  readonly error: ErrorInfo;
  readonly retryable: boolean;
  readonly reason: FailureReason;
  /** Whether the event runs alone from now on, because it killed its thread. */
  readonly isolate?: boolean;
  /**
   * Whether the event waits, up to a bound, because the registry does not know its schema (yet). No
   * attempt was made.
   */
  readonly waits?: boolean;
}

/** Place of an event in the batch, with the fields for parking or dead-lettering it. */
export interface EventRef {
  readonly index: number;
  /** Index into `entries`, or -1 for a retry. */
  readonly entry: number;
  /** Index within its entry; of a retry, within the entry that it came from. */
  readonly indexInEntry: number;
  /** Offset of its Event message, relative to the entry's bytes. Unused for a retry. */
  readonly offset: number;
  readonly length: number;
  readonly position: number;
  readonly id: string;
  readonly subject: string;
}

/** An entry that could not be decoded: dead as a whole. */
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
  /** Effects of its events, packed (src/core/effects.ts); null: none. */
  readonly effects: Uint8Array | null;
  /** Events that its events emitted (src/core/emitted.ts). Absent: none. */
  readonly emitted?: Emitted | undefined;
  /**
   * Ages of completed events (wall clock at completion minus event time): pairs of age in ms,
   * count.
   */
  readonly ages: readonly number[];
  /** Time in the thread, ms. */
  readonly busyMs: number;
  /**
   * Events whose handlers still run. All other events of the batch have an outcome. Absent: none.
   */
  readonly running?: readonly EventRef[] | undefined;
  /** Absent: no SDK for traces is registered in the thread. */
  readonly traces?: BatchTraces | undefined;
}

/** Contexts of a batch's spans, for the span of its commit. */
export interface BatchTraces {
  /** Span of the batch. Null: it could not be started. */
  readonly batch: TraceContext | null;
  /** Sampled spans of events, up to a bound. */
  readonly events: readonly TraceContext[];
}

/**
 * The function could not be loaded or its setup() threw. No event was tried, so none is charged an
 * attempt.
 */
export interface SetupFailed {
  readonly kind: 'setup-failed';
  readonly error: ErrorInfo;
}

/** The dispatcher has taken the batch back before the thread claimed it. */
export interface Revoked {
  readonly kind: 'revoked';
}

export type BatchAnswer = BatchReport | SetupFailed | Revoked;

export interface DescribeTask {
  readonly kind: 'describe';
  /** The only file to describe, by its source. Default: all. */
  readonly only?: string;
}

/** Answer to `describe`, one per file. */
export interface FileDescription {
  readonly source: string;
  readonly version: string;
  readonly spec: import('./function-spec.ts').FunctionSpec | null;
  readonly problem: string | null;
}

/**
 * A thread's question to the dispatcher about a writer's schema. `id:7`: the users of an id.
 * `text:7`, `text:order.created/2`: the text of a schema, by id or by version.
 */
export type SchemaKey = `id:${number}` | `text:${number}` | `text:${string}/${number}`;

export interface SchemaQuestion {
  readonly key: SchemaKey;
  /**
   * Losses of the registry that the asker knows of. Versions may have other numbers after a loss,
   * so an earlier answer does not count.
   */
  readonly lost: number;
}

/** Null: the registry does not know the schema. */
export type SchemaAnswer = WriterSchema | null;

export interface WriterSchema {
  readonly id: number;
  /** Full name of the message. */
  readonly message: string;
  /** Versions of subjects that have this schema. */
  readonly uses: readonly { readonly subject: string; readonly version: number }[];
  /** Text of the schema, where the question asked for it. */
  readonly files: readonly { readonly name: string; readonly text: string }[];
}

/** An unhandled error, or a call of process.exit: the thread has ended. */
export interface UncaughtError {
  readonly origin: 'rejection' | 'throw' | 'exit';
  readonly error: ErrorInfo;
  /**
   * Functions that are to blame: by the error's stack, or else those that ran in the thread last.
   */
  readonly functions: readonly string[];
  readonly certain: boolean;
  /** Events that the thread took last, oldest first. */
  readonly events: readonly { readonly function: string; readonly eventId: string }[];
}

/** A log line or a print of a function. See ThreadData.captures. */
export interface OutputPiece {
  /** `log`: a line of JSON of the function's logger. */
  readonly from: 'log' | 'stdout' | 'stderr';
  readonly text: string;
}

/** Messages on the channel between the dispatcher and its threads. */
export type ChannelMessage =
  | 'teardown'
  | 'torn-down'
  /** Asks a thread that captures output to answer once all of it was sent. */
  | 'flush'
  | 'flushed'
  | { readonly kind: 'output'; readonly piece: OutputPiece }
  | { readonly kind: 'uncaught'; readonly uncaught: UncaughtError }
  | ({ readonly kind: 'schema?' } & SchemaQuestion)
  /** Answer to all threads. The thread that asked takes it. */
  | ({ readonly kind: 'schema'; readonly answer: SchemaAnswer } & SchemaQuestion);

/** Data that each pool thread starts with. */
export interface ThreadData {
  readonly files: readonly FunctionFileData[];
  readonly protoSources: readonly { readonly name: string; readonly text: string }[];
  readonly logLevel: string;
  /** P of the deployment. */
  readonly partitions: number;
  /** Schemas of the event types under proto/, where the registry has them. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
  /** Name of the BroadcastChannel for teardown, and for questions and their answers. */
  readonly channel: string;
  /** Whether logs and prints of functions are sent over the channel. Default false. */
  readonly captures?: boolean;
}
export type FunctionFileData = import('./function-spec.ts').FunctionFile;
