import type { Logger } from 'pino';
import { ConfigError } from '../core/errors.ts';
import { NAME_PATTERN, type FunctionSpec } from '../core/function-spec.ts';
import { DEFAULT_RETRY, type RetryPolicy } from '../core/retry-policy.ts';
import type { EventTypes } from './event-types.ts';
import { upcastProblems, type Upcast } from './upcast.ts';
import type { ViewCode } from './define-view.ts';
import {
  isOptions,
  noteUnknown,
  optionsBelow,
  shownValue,
  type RawOptions,
} from './raw-options.ts';

/** Names of the declared event types; any string where no types were generated. */
export type EventTypeName = keyof EventTypes extends never ? string : keyof EventTypes & string;

/** Payload of an event type. */
export type EventData<T extends string> = T extends keyof EventTypes
  ? EventTypes[T]
  : Record<string, unknown>;

/** An event as a function sees it (CloudEvents 1.0 attribute names). */
export interface FunctionEvent<T extends string = string, D = EventData<T>> {
  readonly id: string;
  readonly type: T;
  /** The ordering key. */
  readonly subject: string;
  readonly source: string;
  readonly time: Date;
  /** Id of the writer's schema, 0 where none. */
  readonly schema: number;
  readonly data: D;
  /** Address of the event: `partition/entry id/position`. */
  readonly position: string;
  /** CloudEvents extension attributes, e.g. traceparent. */
  readonly extensions: Readonly<Record<string, string>>;
}

export interface EmitOptions {
  /**
   * Ordering key. Default: the field the event type declares as its subject. 1 … 1,024 bytes of
   * UTF-8.
   */
  readonly subject?: string;
  /**
   * Event id. Default: made from the causing event's id, the function's name and a number: the same
   * each time the event runs.
   */
  readonly id?: string;
  /** Append it then, by the server's clock: ms since 1970 or a Date, at most ten years ahead. */
  readonly deliverAt?: number | Date;
  /** Append it so many ms from the moment at which the causing event is committed. */
  readonly delayMs?: number;
}

export interface BatchEmitOptions extends EmitOptions {
  /**
   * The event of the batch because of which it is emitted: if that one fails, nothing is emitted.
   */
  readonly cause: { readonly id: string };
}

type EventUnion<T extends string> = T extends string ? FunctionEvent<T> : never;

export interface FunctionContext<R = unknown> {
  /** Logs with function, event id and attempt bound. */
  readonly logger: Logger;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /**
   * Stable over all attempts of this event by this function: hand it to whatever can drop
   * duplicates.
   */
  readonly idempotencyKey: string;
  /**
   * Aborts when `timeoutMs` is over. A handler that has not settled one second later loses its
   * thread.
   */
  readonly signal: AbortSignal;
  /** When `timeoutMs` will be over. */
  readonly deadline: Date;
  /** What `setup()` returned in this thread. */
  readonly resources: R;
  /**
   * Emits an event: written in the step that records this event as done, exactly once; dropped when
   * this event fails.
   *
   * @returns the emitted event's id
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the
   *   limit), EmitLoopError, EmitClosedError: it is not emitted
   */
  emit<T extends EventTypeName>(type: T, data: EventData<T>, options?: EmitOptions): string;
}

export interface BatchContext<R = unknown> extends Omit<
  FunctionContext<R>,
  'attempt' | 'idempotencyKey' | 'emit'
> {
  /** As emit of FunctionContext, because of one event of the batch. */
  emit<T extends EventTypeName>(type: T, data: EventData<T>, options: BatchEmitOptions): string;
  /** Attempt number of an event of this batch. */
  attemptOf(event: { readonly id: string }): number;
  idempotencyKeyOf(event: { readonly id: string }): string;
}

/**
 * One failed event of a batch. Events not named succeeded. With `ordering: 'key'` a success behind
 * a failed event of its subject runs again after it: the order of the subject's effects is kept,
 * and what a handler skipped is not lost.
 */
export interface BatchFailure {
  readonly id: string;
  readonly error: unknown;
}

interface CommonOptions<T extends string, R> {
  /**
   * Unique; the consumer group's name. Lower case letters, digits, `_ . -`, at most 100 characters.
   */
  readonly name: string;
  /** Event types it consumes. */
  readonly on: readonly T[];
  /**
   * `key` (default): events of one subject strictly in order. `none`: no order, a failing event
   * holds up nothing.
   */
  readonly ordering?: 'key' | 'none';
  /** Subjects run at the same time in one thread. 1 … 10,000, default 32. */
  readonly concurrency?: number;
  /**
   * Time for one attempt, in ms. 10 … 3,600,000, default 30,000. First the signal, one second later
   * the thread.
   */
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryPolicy>;
  /**
   * Where a new function starts: `start` (default) of what is retained, or `end`: only what comes
   * from now on.
   */
  readonly startFrom?: 'start' | 'end';
  /**
   * When an event of a subject is dead-lettered: `continue` (default) with the subject's next
   * event, or `hold` the subject: its later events stay parked until the dead letter is replayed
   * (it then runs first) or purged. With `ordering: 'key'`.
   */
  readonly onDead?: 'continue' | 'hold';
  /**
   * Most events parked behind one failed event of a subject; those beyond are dead-lettered with
   * the reason `parked-limit`. 1 … 1,000,000, default 10,000.
   */
  readonly maxParkedPerSubject?: number;
  /**
   * With so many events parked in a partition its lane reads nothing new until there are fewer. 1 …
   * 10,000,000, default 100,000.
   */
  readonly maxParkedPerPartition?: number;
  /**
   * Most events (with handleBatch: calls) that run at the same time in one dispatcher process, over
   * all its threads. 1 … 1,000,000, default: no bound.
   */
  readonly maxConcurrency?: number;
  /**
   * Whether events it has completed long ago may be given to it again (`millrace rewind`). Default
   * true: functions are idempotent. false where the memory of idempotency keys is short, or a late
   * repetition does harm: a rewind is then refused unless forced.
   */
  readonly replaySafe?: boolean;
  /**
   * Events that this function has settled (done or dead) within `windowMs` are skipped, also where
   * a foreign producer has sent them under another entry. Id and source together say which event it
   * is. 1,000 … 604,800,000 ms. At most `maxIds` (1 … 10,000,000, default 200,000) are remembered
   * per partition and window. Default: ids are not looked at.
   */
  readonly dedupe?: { readonly windowMs: number; readonly maxIds?: number };
  /** How events of older versions become what the handler expects: see upcast. Default none. */
  readonly upcasts?: readonly Upcast[];
  /** Runs once per thread before the first event; what it returns is `ctx.resources`. */
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
         * Gets up to `batchSize` events, those of one subject in order. Return nothing when all
         * succeeded, or the failed ones. When it throws, the batch is halved and run again until
         * the event that does it stands alone.
         */
        readonly handleBatch: (
          events: readonly EventUnion<T>[],
          ctx: BatchContext<R>,
        ) => void | readonly BatchFailure[] | Promise<void | readonly BatchFailure[]>;
        /** 1 … 10,000, default 256. */
        readonly batchSize?: number;
      }
  );

/** A checked function. `spec` is plain data; the handlers stay in the thread that loaded them. */
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
  /** Of a view (defineView): then it has no handler. */
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
 * Declares a function. Put one in a file and make it the default export.
 *
 * @throws ConfigError listing every option that is missing, unknown or out of bounds
 */
export function defineFunction<const T extends EventTypeName, R = undefined>(
  options: FunctionOptions<T, R>,
): DefinedFunction {
  const problems: string[] = [];
  if (!isOptions(options))
    throw new ConfigError([
      `defineFunction takes an object of options, got ${shownValue(options)}`,
    ]);
  const raw: RawOptions = options;
  const label = typeof raw['name'] === 'string' ? `function "${raw['name']}"` : 'function';
  noteUnknown(raw, OPTIONS, { label }, problems);

  const name = raw['name'];
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    problems.push(`${label}: name must match ${NAME_PATTERN.source}, got ${shownValue(name)}`);
  }
  const on = raw['on'];
  if (!Array.isArray(on) || on.length === 0 || !on.every((t) => typeof t === 'string')) {
    problems.push(`${label}: on must list at least one event type`);
  } else if (new Set(on).size !== on.length) problems.push(`${label}: on names a type twice`);

  const upcasts = (raw['upcasts'] ?? []) as readonly Upcast[];
  problems.push(...upcastProblems(upcasts, label, Array.isArray(on) ? (on as string[]) : []));

  const oneOf = (key: string, allowed: readonly string[], fallback: string): string => {
    const value = raw[key] ?? fallback;
    if (!allowed.includes(value as string))
      problems.push(`${label}: ${key} must be ${allowed.join(' or ')}, got ${shownValue(value)}`);
    return value as string;
  };
  const integer = (
    from: RawOptions,
    path: string,
    key: string,
    fallback: number,
    min: number,
    max: number,
  ): number => {
    const value = from[key] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      problems.push(
        `${label}: ${path}${key} must be a whole number from ${min} to ${max}, got ${shownValue(value)}`,
      );
    }
    return value as number;
  };
  const ordering = oneOf('ordering', ['key', 'none'], 'key') as 'key' | 'none';
  const startFrom = oneOf('startFrom', ['start', 'end'], 'start') as 'start' | 'end';
  const onDead = oneOf('onDead', ['continue', 'hold'], 'continue') as 'continue' | 'hold';
  if (onDead === 'hold' && ordering === 'none')
    problems.push(`${label}: onDead "hold" goes with ordering "key": without order nothing waits`);
  const maxParkedPerSubject = integer(raw, '', 'maxParkedPerSubject', 10_000, 1, 1_000_000);
  const maxParkedPerPartition = integer(raw, '', 'maxParkedPerPartition', 100_000, 1, 10_000_000);
  const maxConcurrency =
    raw['maxConcurrency'] === undefined
      ? null
      : integer(raw, '', 'maxConcurrency', 1, 1, 1_000_000);
  const replaySafe = raw['replaySafe'] ?? true;
  if (typeof replaySafe !== 'boolean') problems.push(`${label}: replaySafe must be true or false`);
  const concurrency = integer(raw, '', 'concurrency', 32, 1, 10_000);
  const timeoutMs = integer(raw, '', 'timeoutMs', 30_000, 10, 3_600_000);
  const batchSize = integer(raw, '', 'batchSize', 256, 1, 10_000);

  const rawDedupe = optionsBelow(raw, 'dedupe', { label, names: ['windowMs', 'maxIds'] }, problems);
  const dedupe = !isOptions(raw['dedupe'])
    ? null
    : {
        windowMs: integer(rawDedupe, 'dedupe.', 'windowMs', Number.NaN, 1000, 604_800_000),
        maxIds: integer(rawDedupe, 'dedupe.', 'maxIds', 200_000, 1, 10_000_000),
      };

  const rawRetry = optionsBelow(
    raw,
    'retry',
    { label, names: Object.keys(DEFAULT_RETRY) },
    problems,
  );
  const minDelayMs = integer(
    rawRetry,
    'retry.',
    'minDelayMs',
    DEFAULT_RETRY.minDelayMs,
    0,
    86_400_000,
  );
  const factor = rawRetry['factor'] ?? DEFAULT_RETRY.factor;
  if (typeof factor !== 'number' || !(factor >= 1 && factor <= 10)) {
    problems.push(
      `${label}: retry.factor must be a number from 1 to 10, got ${shownValue(factor)}`,
    );
  }
  const jitter = rawRetry['jitter'] ?? DEFAULT_RETRY.jitter;
  if (typeof jitter !== 'boolean') problems.push(`${label}: retry.jitter must be true or false`);
  const retry: RetryPolicy = {
    attempts: integer(rawRetry, 'retry.', 'attempts', DEFAULT_RETRY.attempts, 1, 1000),
    minDelayMs,
    maxDelayMs: integer(
      rawRetry,
      'retry.',
      'maxDelayMs',
      Math.max(DEFAULT_RETRY.maxDelayMs, minDelayMs),
      minDelayMs,
      86_400_000,
    ),
    factor: factor as number,
    jitter: jitter as boolean,
  };

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
  if (problems.length > 0) throw new ConfigError(problems);

  return {
    kind: 'millrace.function',
    spec: {
      name: name as string,
      on: [...(on as string[])],
      ordering,
      concurrency,
      timeoutMs,
      retry,
      startFrom,
      onDead,
      maxParkedPerSubject,
      maxParkedPerPartition,
      maxConcurrency,
      dedupe,
      batch: raw['handleBatch'] !== undefined,
      batchSize,
      upcasts: upcasts.map(({ type, from, to }) => ({ type, from, to })),
      replaySafe: replaySafe as boolean,
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
