import type { RetryPolicy } from './retry-policy.ts';
import type { ViewSpec } from './view-spec.ts';

/**
 * What the dispatcher knows of a function: its definition without its code (that lives in the
 * pool's threads).
 */
export interface FunctionSpec {
  readonly name: string;
  readonly on: readonly string[];
  readonly ordering: 'key' | 'none';
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly startFrom: 'start' | 'end';
  /**
   * What becomes of a subject whose event is dead-lettered: its later events run, or wait for the
   * operator.
   */
  readonly onDead: 'continue' | 'hold';
  /** Most events parked behind one failed event; those beyond are dead-lettered. */
  readonly maxParkedPerSubject: number;
  /** With so many events parked in a partition its lane reads nothing new. */
  readonly maxParkedPerPartition: number;
  /** Most events that run at the same time in one dispatcher; null: as many as its threads take. */
  readonly maxConcurrency: number | null;
  /** Event ids it has settled within the window are not run again; null: ids are not looked at. */
  readonly dedupe: { readonly windowMs: number; readonly maxIds: number } | null;
  readonly batch: boolean;
  readonly batchSize: number;
  /** Versions of event types it can bring to a later one. */
  readonly upcasts: readonly {
    readonly type: string;
    readonly from: number;
    readonly to: number;
  }[];
  /** May see events again that it has completed long ago: see `millrace rewind`. */
  readonly replaySafe: boolean;
  /** What it writes are the rows of a view; null: it is an ordinary function. */
  readonly view: ViewSpec | null;
}

/** A function file as the pool's threads load it. */
export interface FunctionFile {
  /** As the user wrote it, for messages. */
  readonly source: string;
  /** file: URL of the JavaScript to import. */
  readonly url: string;
  /**
   * First 12 hex digits of the SHA-256 of what is compiled for it; of the file, where nothing is.
   */
  readonly version: string;
}

/**
 * The consumer that a lane's owner reads as. Others (ordering 'none') read as themselves: see
 * lane-keeper.ts.
 */
export const OWNER = 'lane';

/**
 * Names what belongs to one consumer of a lane: its lease, and its fields in the counters. `#` is
 * in no function's name.
 */
export function laneName(fn: string, consumer: string): string {
  return consumer === OWNER ? fn : `${fn}#${consumer}`;
}

/**
 * Names of event types. Wide enough for what CloudEvents, .NET (`Shop.Orders+Created`) and Java
 * (`com.acme.Order$Created`) use; without `:`, `,`, braces and blanks, which keys and counters use.
 */
export const TYPE_PATTERN = /^[A-Za-z][A-Za-z0-9_.+$-]{0,199}$/;
/**
 * Names of functions, categories and namespaces end up in Redis keys and metrics: no braces, no
 * colons, bounded.
 */
export const NAME_PATTERN = /^[a-z][a-z0-9_.-]{0,99}$/;
/** Of a registered function: a version of a view has it behind its name. */
export const FUNCTION_PATTERN = /^[a-z][a-z0-9_.-]{0,99}(@\d{1,9})?$/;
