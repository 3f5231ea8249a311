import type { RetryPolicy } from './retry-policy.ts';
import type { ViewSpec } from './view-spec.ts';

/**
 * A function as the dispatcher knows it: its definition without its code. Only pool threads load
 * the code.
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
   * Fate of a subject whose event is dead-lettered. `continue`: its later events run. `hold`: they
   * wait for the operator.
   */
  readonly onDead: 'continue' | 'hold';
  /** Most events parked behind one failed event; those beyond are dead-lettered. */
  readonly maxParkedPerSubject: number;
  /** Number of parked events in a partition from which on its lane reads nothing new. */
  readonly maxParkedPerPartition: number;
  /** Most events that run at the same time in one dispatcher; null: as many as its threads take. */
  readonly maxConcurrency: number | null;
  /**
   * Window in which events that the function has settled are not run again, by event id; null: ids
   * are not compared.
   */
  readonly dedupe: { readonly windowMs: number; readonly maxIds: number } | null;
  readonly batch: boolean;
  readonly batchSize: number;
  /** Upcasts that the function has: version steps of event types. */
  readonly upcasts: readonly {
    readonly type: string;
    readonly from: number;
    readonly to: number;
  }[];
  /**
   * Whether the function may see events again that it completed long ago: see `millrace rewind`.
   */
  readonly replaySafe: boolean;
  /** View whose rows the function writes; null: an ordinary function. */
  readonly view: ViewSpec | null;
}

/** A function file as the pool's threads load it. */
export interface FunctionFile {
  /** Path as the user wrote it, for messages. */
  readonly source: string;
  /** `file:` URL of the JavaScript to import. */
  readonly url: string;
  /**
   * First 12 hex digits of the SHA-256 of the compiled code; of the file, where nothing is
   * compiled.
   */
  readonly version: string;
}

/**
 * Name of the consumer that a lane's owner reads as. With ordering 'none', others read as
 * themselves: see lane-keeper.ts.
 */
export const OWNER = 'lane';

/**
 * Returns the name for a consumer's lease and for its fields in the counters. No function's name
 * contains `#`.
 */
export function laneName(fn: string, consumer: string): string {
  return consumer === OWNER ? fn : `${fn}#${consumer}`;
}

/**
 * Pattern of event types. It admits the names of CloudEvents, .NET (`Shop.Orders+Created`) and Java
 * (`com.acme.Order$Created`). It excludes `:`, `,`, braces and blanks, which keys and counters use.
 */
export const TYPE_PATTERN = /^[A-Za-z][A-Za-z0-9_.+$-]{0,199}$/;
/**
 * Pattern of names of functions, categories and namespaces. Redis keys and metrics contain these
 * names: no braces, no colons, bounded length.
 */
export const NAME_PATTERN = /^[a-z][a-z0-9_.-]{0,99}$/;
/**
 * Pattern of a registered function's name. The function of a view has the view's version behind its
 * name.
 */
export const FUNCTION_PATTERN = /^[a-z][a-z0-9_.-]{0,99}(@\d{1,9})?$/;
