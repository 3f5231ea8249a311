import type { Logger } from 'pino';
import { ConfigError } from '../core/errors/input-errors.ts';
import { NAME_PATTERN, type FunctionSpec } from '../core/function-spec.ts';
import { DEFAULT_RETRY, type RetryPolicy } from '../core/retry-policy.ts';
import { isOptions, shownValue } from '../core/shown.ts';
import { OptionCheck } from './option-check.ts';
import { upcastProblems, type Upcast } from './upcast.ts';
import type { EventData, EventTypeName, EventUnion, FunctionEvent } from './function-event.ts';
import type { ViewCode } from './view-code.ts';
import { noteUnknown, type RawOptions } from './raw-options.ts';

export interface EmitOptions {
  /**
   * Ordering key. Default: the field that the event type declares as its subject. 1 … 1,024 bytes
   * of UTF-8.
   */
  readonly subject?: string;
  /**
   * Event id. Default: made from the causing event's id, the function's name and a number. That id
   * is the same each time the event runs.
   */
  readonly id?: string;
  /**
   * Time at which the event is appended, by the server's clock: ms since 1970 or a Date, at most
   * ten years ahead.
   */
  readonly deliverAt?: number | Date;
  /**
   * Delay until the event is appended, ms from the moment at which the causing event is committed.
   */
  readonly delayMs?: number;
}

export interface BatchEmitOptions extends EmitOptions {
  /** The causing event, from the batch. If that event fails, nothing is emitted. */
  readonly cause: { readonly id: string };
}

export interface FunctionContext<R = unknown> {
  /** Logs with function, event id and attempt bound. */
  readonly logger: Logger;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /**
   * Key that is the same in all attempts of this event by this function. Hand it to any service
   * that can drop duplicates.
   */
  readonly idempotencyKey: string;
  /**
   * Signal that aborts when `timeoutMs` is over. A handler that has not settled one second later
   * loses its thread.
   */
  readonly signal: AbortSignal;
  /** Time at which `timeoutMs` will be over. */
  readonly deadline: Date;
  /** Return value of `setup()` in this thread. */
  readonly resources: R;
  /**
   * Emits an event. The event is written exactly once, in the step that records this event as done.
   * It is dropped when this event fails.
   *
   * @returns the emitted event's id
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the
   *   limit), EmitLoopError, EmitClosedError: the event is not emitted
   * @throws SchemaNotRegisteredError: Redis lost the schema registry, which refuses the type's
   *   schema now
   */
  emit<T extends EventTypeName>(type: T, data: EventData<T>, options?: EmitOptions): string;
}

export interface BatchContext<R = unknown> extends Omit<
  FunctionContext<R>,
  'attempt' | 'idempotencyKey' | 'emit'
> {
  /** Like emit of FunctionContext, with one event of the batch as the cause. */
  emit<T extends EventTypeName>(type: T, data: EventData<T>, options: BatchEmitOptions): string;
  /** Attempt number of an event of this batch. */
  attemptOf(event: { readonly id: string }): number;
  idempotencyKeyOf(event: { readonly id: string }): string;
}

/**
 * One failed event of a batch. Events that are not named succeeded.
 *
 * With `ordering: 'key'`, a success behind a failed event of its subject runs again after that
 * event. So the order of the subject's effects is kept, and no skipped work is lost.
 */
export interface BatchFailure {
  readonly id: string;
  readonly error: unknown;
}

interface CommonOptions<T extends string, R> {
  /**
   * Unique name, which is also the consumer group's. Lower case letters, digits, `_ . -`, at most
   * 100 characters.
   */
  readonly name: string;
  /** Event types that the function consumes. */
  readonly on: readonly T[];
  /**
   * `key` (default): events of one subject run strictly in order. `none`: no order, so a failing
   * event holds up no other.
   */
  readonly ordering?: 'key' | 'none';
  /** Number of subjects that run at the same time in one thread. 1 … 10,000, default 32. */
  readonly concurrency?: number;
  /**
   * Time for one attempt, ms. 10 … 3,600,000, default 30,000. When it is over, the signal aborts.
   * One second later, the thread is ended.
   */
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryPolicy>;
  /**
   * First events of a new function: `start` (default) with the oldest retained event, or `end` with
   * the next event appended.
   */
  readonly startFrom?: 'start' | 'end';
  /**
   * Behaviour after an event of a subject is dead-lettered. `continue` (default): the subject's
   * next event runs. `hold`: the subject's later events stay parked until the dead letter is
   * replayed or purged. A replayed dead letter runs before them. `hold` needs `ordering: 'key'`.
   */
  readonly onDead?: 'continue' | 'hold';
  /**
   * Most events parked behind one failed event of a subject. Events beyond are dead-lettered with
   * the reason `parked-limit`. 1 … 1,000,000, default 10,000.
   */
  readonly maxParkedPerSubject?: number;
  /**
   * Number of events parked in a partition from which on its lane reads nothing new, until there
   * are fewer. 1 … 10,000,000, default 100,000.
   */
  readonly maxParkedPerPartition?: number;
  /**
   * Most events (with handleBatch: calls) that run at the same time in one dispatcher process, over
   * all its threads. 1 … 1,000,000, default: no bound.
   */
  readonly maxConcurrency?: number;
  /**
   * Whether events that the function completed long ago may be given to it again (`millrace
   * rewind`). Default true: functions are idempotent. Choose false where the memory of idempotency
   * keys is short, or where a late repetition does harm. A rewind is then refused unless forced.
   */
  readonly replaySafe?: boolean;
  /**
   * Skips events that this function has settled (done or dead) within `windowMs`, also where a
   * foreign producer sent them under another entry. Id and source together identify an event.
   * `windowMs`: 1,000 … 604,800,000 ms. `maxIds`: most ids remembered per partition and window, 1
   * … 10,000,000, default 200,000. Default: ids are not compared.
   */
  readonly dedupe?: { readonly windowMs: number; readonly maxIds?: number };
  /**
   * Conversions of events of older versions to the version that the handler expects: see upcast.
   * Default none.
   */
  readonly upcasts?: readonly Upcast[];
  /** Runs once per thread before the first event. Its result is `ctx.resources`. */
  readonly setup?: () => R | Promise<R>;
  /** Runs once per thread when the dispatcher stops. */
  readonly teardown?: (resources: R) => void | Promise<void>;
}

export type FunctionOptions<T extends string, R> = CommonOptions<T, R> &
  (
    | {
        readonly handle: (event: EventUnion<T>, ctx: FunctionContext<R>) => unknown;
        readonly handleBatch?: never;
        readonly batchSize?: never;
      }
    | {
        readonly handle?: never;
        /**
         * Gets up to `batchSize` events; those of one subject are in order. Return nothing when all
         * succeeded, or the failed ones. When the handler throws, the batch is halved and run again
         * until the event that causes the error is alone.
         */
        readonly handleBatch: (
          events: readonly EventUnion<T>[],
          ctx: BatchContext<R>,
        ) => void | readonly BatchFailure[] | Promise<void | readonly BatchFailure[]>;
        /** Most events of a call. 1 … 10,000, default 256. */
        readonly batchSize?: number;
      }
  );

/** A checked function. `spec` is plain data. The handlers stay in the thread that loaded them. */
export interface DefinedFunction {
  readonly kind: 'millrace.function';
  readonly spec: FunctionSpec;
  readonly handle:
    ((event: FunctionEvent<string, unknown>, ctx: FunctionContext) => unknown) | null;
  readonly handleBatch:
    ((events: readonly FunctionEvent<string, unknown>[], ctx: BatchContext) => unknown) | null;
  readonly setup: (() => unknown) | null;
  readonly teardown: ((resources: unknown) => unknown) | null;
  readonly upcasts: readonly Upcast[];
  /** Code of a view (defineView); null: the function has a handler. */
  readonly view: ViewCode | null;
}

const OPTIONS = [
  'name',
  'on',
  'ordering',
  'concurrency',
  'timeoutMs',
  'retry',
  'startFrom',
  'onDead',
  'maxParkedPerSubject',
  'maxParkedPerPartition',
  'maxConcurrency',
  'replaySafe',
  'dedupe',
  'upcasts',
  'setup',
  'teardown',
  'handle',
  'handleBatch',
  'batchSize',
];

/**
 * Declares a function. Put one function in a file and make it the default export.
 *
 * @throws ConfigError listing every option that is missing, unknown or out of bounds
 */
export function defineFunction<const T extends EventTypeName, R = undefined>(
  options: FunctionOptions<T, R>,
): DefinedFunction {
  if (!isOptions(options))
    throw new ConfigError([
      `defineFunction takes an object of options, got ${shownValue(options)}`,
    ]);
  const raw: RawOptions = options;
  const label = typeof raw['name'] === 'string' ? `function "${raw['name']}"` : 'function';
  const check = new OptionCheck(raw, label);
  noteUnknown(raw, OPTIONS, { label }, check.problems);
  const { name, on } = readEvents(check);
  const upcasts = (raw['upcasts'] ?? []) as readonly Upcast[];
  check.problems.push(...upcastProblems(upcasts, label, Array.isArray(on) ? on : []));
  const order = readOrder(check);
  const limits = readLimits(check);
  const dedupe = readDedupe(check);
  const retry = readRetry(check);
  checkHandlers(check);
  if (check.problems.length > 0) throw new ConfigError(check.problems);

  return {
    kind: 'millrace.function',
    spec: {
      name,
      on: [...on],
      ordering: order.ordering,
      concurrency: limits.concurrency,
      timeoutMs: limits.timeoutMs,
      retry,
      startFrom: order.startFrom,
      onDead: order.onDead,
      maxParkedPerSubject: limits.maxParkedPerSubject,
      maxParkedPerPartition: limits.maxParkedPerPartition,
      maxConcurrency: limits.maxConcurrency,
      dedupe,
      batch: raw['handleBatch'] !== undefined,
      batchSize: limits.batchSize,
      upcasts: upcasts.map(({ type, from, to }) => ({ type, from, to })),
      replaySafe: limits.replaySafe,
      view: null,
    },
    upcasts,
    view: null,
    handle: (raw['handle'] as DefinedFunction['handle']) ?? null,
    handleBatch: (raw['handleBatch'] as DefinedFunction['handleBatch']) ?? null,
    setup: (raw['setup'] as DefinedFunction['setup']) ?? null,
    teardown: (raw['teardown'] as DefinedFunction['teardown']) ?? null,
  };
}

// The readers below note problems. Their results are valid only where they noted none.

function readEvents({ raw, label, problems }: OptionCheck): {
  readonly name: string;
  readonly on: readonly string[];
} {
  const { name, on } = raw;
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    problems.push(`${label}: name must match ${NAME_PATTERN.source}, got ${shownValue(name)}`);
  }
  if (!Array.isArray(on) || on.length === 0 || !on.every((t) => typeof t === 'string')) {
    problems.push(`${label}: on must list at least one event type`);
  } else if (new Set(on).size !== on.length) problems.push(`${label}: on names a type twice`);
  return { name: name as string, on: on as readonly string[] };
}

function readOrder(check: OptionCheck): Pick<FunctionSpec, 'ordering' | 'startFrom' | 'onDead'> {
  const ordering = check.oneOf('ordering', ['key', 'none'], 'key');
  const startFrom = check.oneOf('startFrom', ['start', 'end'], 'start');
  const onDead = check.oneOf('onDead', ['continue', 'hold'], 'continue');
  if (onDead === 'hold' && ordering === 'none')
    check.problems.push(
      `${check.label}: onDead "hold" goes with ordering "key": without order nothing waits`,
    );
  return { ordering, startFrom, onDead };
}

function readLimits(
  check: OptionCheck,
): Pick<
  FunctionSpec,
  | 'maxParkedPerSubject'
  | 'maxParkedPerPartition'
  | 'maxConcurrency'
  | 'replaySafe'
  | 'concurrency'
  | 'timeoutMs'
  | 'batchSize'
> {
  const { raw } = check;
  const maxParkedPerSubject = check.integer('maxParkedPerSubject', 10_000, [1, 1_000_000]);
  const maxParkedPerPartition = check.integer('maxParkedPerPartition', 100_000, [1, 10_000_000]);
  const maxConcurrency =
    raw['maxConcurrency'] === undefined ? null : check.integer('maxConcurrency', 1, [1, 1_000_000]);
  const replaySafe = raw['replaySafe'] ?? true;
  if (typeof replaySafe !== 'boolean')
    check.problems.push(`${check.label}: replaySafe must be true or false`);
  return {
    maxParkedPerSubject,
    maxParkedPerPartition,
    maxConcurrency,
    replaySafe: replaySafe as boolean,
    concurrency: check.integer('concurrency', 32, [1, 10_000]),
    timeoutMs: check.integer('timeoutMs', 30_000, [10, 3_600_000]),
    batchSize: check.integer('batchSize', 256, [1, 10_000]),
  };
}

function readDedupe(check: OptionCheck): FunctionSpec['dedupe'] {
  const dedupe = check.below('dedupe', ['windowMs', 'maxIds']);
  if (!isOptions(check.raw['dedupe'])) return null;
  return {
    windowMs: dedupe.integer('windowMs', Number.NaN, [1000, 604_800_000]),
    maxIds: dedupe.integer('maxIds', 200_000, [1, 10_000_000]),
  };
}

function readRetry(check: OptionCheck): RetryPolicy {
  const options = check.below('retry', Object.keys(DEFAULT_RETRY));
  const { label, problems } = check;
  const minDelayMs = options.integer('minDelayMs', DEFAULT_RETRY.minDelayMs, [0, 86_400_000]);
  const factor = options.raw['factor'] ?? DEFAULT_RETRY.factor;
  if (typeof factor !== 'number' || !(factor >= 1 && factor <= 10)) {
    problems.push(
      `${label}: retry.factor must be a number from 1 to 10, got ${shownValue(factor)}`,
    );
  }
  const jitter = options.raw['jitter'] ?? DEFAULT_RETRY.jitter;
  if (typeof jitter !== 'boolean') problems.push(`${label}: retry.jitter must be true or false`);
  const longest = Math.max(DEFAULT_RETRY.maxDelayMs, minDelayMs);
  return {
    attempts: options.integer('attempts', DEFAULT_RETRY.attempts, [1, 1000]),
    minDelayMs,
    maxDelayMs: options.integer('maxDelayMs', longest, [minDelayMs, 86_400_000]),
    factor: factor as number,
    jitter: jitter as boolean,
  };
}

function checkHandlers({ raw, label, problems }: OptionCheck): void {
  for (const key of ['handle', 'handleBatch', 'setup', 'teardown']) {
    if (raw[key] !== undefined && typeof raw[key] !== 'function')
      problems.push(`${label}: ${key} must be a function`);
  }
  if ((raw['handle'] === undefined) === (raw['handleBatch'] === undefined)) {
    problems.push(`${label}: give either handle or handleBatch`);
  }
  if (raw['batchSize'] !== undefined && raw['handleBatch'] === undefined) {
    problems.push(`${label}: batchSize goes with handleBatch`);
  }
}
