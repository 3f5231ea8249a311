/**
 * Definitions that users write for the event store. An aggregate folds its events into a state. A
 * decider turns commands into events.
 */
import { ConfigError } from '../core/errors/input-errors.ts';
import { NAME_PATTERN } from '../core/function-spec.ts';
import { isOptions, shownValue } from '../core/shown.ts';
import type { EventData, EventTypeName, FunctionEvent } from './function-event.ts';
import { noteUnknown, optionsBelow, type RawOptions } from './raw-options.ts';

/** An event to be appended. */
export type NewEvent<T extends string = EventTypeName> = T extends string
  ? {
      readonly type: T;
      readonly data: EventData<T>;
      /**
       * Unique id. Default: the store makes one. With ids of your own, a repeated append gets the
       * first append's answer.
       */
      readonly id?: string;
      /** Default: the store's `source`. */
      readonly source?: string;
      /**
       * Time at which the event happened: ms since 1970, a Date, or an RFC 3339 text, whose
       * nanoseconds are kept. Default: now.
       */
      readonly time?: number | Date | string;
      /** CloudEvents extension attributes, for example user, reason, causation and correlation. */
      readonly extensions?: Readonly<Record<string, string>>;
    }
  : never;

/**
 * An event of a history. Its `data` is plain: own properties only, every field set (to its zero, or
 * null).
 */
export type RecordedEvent<T extends string = EventTypeName> = T extends string
  ? FunctionEvent<T> & {
      /** Place in the history, from 1: the history's revision once the event was appended. */
      readonly revision: number;
    }
  : never;

export interface SnapshotPolicy<State> {
  /**
   * Version of the snapshots. Raise the version whenever `evolve` or the shape of the state
   * changes. Snapshots of other versions are ignored. 1 … 2^31.
   */
  readonly version: number;
  /** Number of events between two snapshots. 1 … 100,000, default 100. */
  readonly every?: number;
  /**
   * Whether to take a snapshot now, instead of `every`. `events`: number of events since the last
   * snapshot.
   */
  readonly when?: (state: State, events: number) => boolean;
  /**
   * Converts the state into a value that JSON can hold. Needed where the state has a Date, a Map, a
   * bigint or bytes. Default: the state itself.
   */
  readonly encode?: (state: State) => unknown;
  /**
   * Converts the decoded JSON back into the state. An error means that the snapshot does not fit:
   * the history is replayed. Default: the value as JSON.parse returns it.
   */
  readonly decode?: (value: unknown) => State;
}

export interface Aggregate<State, T extends string = EventTypeName> {
  /**
   * Name of the aggregate. A history's key is (category, id). Lower case letters, digits, `_ . -`,
   * at most 100 characters.
   */
  readonly category: string;
  /**
   * Types that `evolve` understands. Other events in the history are skipped, but count for its
   * revision.
   */
  readonly events: readonly T[];
  initialState(): State;
  /**
   * Returns the state after an event. Must be pure: the same events always lead to the same state.
   * Must not fail, because a recorded event has happened.
   */
  evolve(state: State, event: RecordedEvent<T>): State;
  /** Snapshots of the state. Default: none. */
  readonly snapshot?: SnapshotPolicy<State>;
}

export interface DecideContext {
  /** The aggregate's id. */
  readonly id: string;
  /** Number of events that led to the state; 0: the aggregate does not exist yet. */
  readonly revision: number;
  readonly now: Date;
}

export interface Decider<State, Command, T extends string = EventTypeName> extends Aggregate<
  State,
  T
> {
  /**
   * Returns the events that a command causes, given the state: events of the types in `events`, or
   * none. Must be pure, because it may run several times for one command.
   *
   * To refuse the command, throw. Nothing is appended then, and the sender of the command gets the
   * error.
   */
  decide(
    command: Command,
    state: State,
    context: DecideContext,
  ): NewEvent<T> | readonly NewEvent<T>[];
}

/**
 * Checks the definition of an aggregate: a state folded from a history.
 * @throws ConfigError listing every option that is missing, unknown or out of bounds
 */
export function defineAggregate<State, const T extends EventTypeName>(
  definition: Aggregate<State, T>,
): Aggregate<State, T> {
  check('aggregate', definition, ['category', 'events', 'initialState', 'evolve', 'snapshot']);
  return definition;
}

/**
 * Checks the definition of a decider, for `handleCommand`: an aggregate, and a function from
 * commands to its events.
 * @throws ConfigError listing every option that is missing, unknown or out of bounds
 */
export function defineDecider<State, Command, const T extends EventTypeName>(
  definition: Decider<State, Command, T>,
): Decider<State, Command, T> {
  check('decider', definition, [
    'category',
    'events',
    'initialState',
    'evolve',
    'snapshot',
    'decide',
  ]);
  return definition;
}

function check(kind: 'aggregate' | 'decider', definition: object, known: readonly string[]): void {
  if (!isOptions(definition))
    throw new ConfigError([
      `a definition of a ${kind} is an object of options, got ${shownValue(definition)}`,
    ]);
  const raw: RawOptions = definition;
  const problems: string[] = [];
  const label = typeof raw['category'] === 'string' ? `${kind} "${raw['category']}"` : kind;
  noteUnknown(raw, known, { label }, problems);
  if (typeof raw['category'] !== 'string' || !NAME_PATTERN.test(raw['category'])) {
    problems.push(
      `${label}: category must match ${NAME_PATTERN.source}, got ${shownValue(raw['category'])}`,
    );
  }
  const { events } = raw;
  if (
    !Array.isArray(events) ||
    events.length === 0 ||
    !events.every((type) => typeof type === 'string')
  ) {
    problems.push(`${label}: events must list at least one event type`);
  }
  for (const key of kind === 'decider'
    ? ['initialState', 'evolve', 'decide']
    : ['initialState', 'evolve']) {
    if (typeof raw[key] !== 'function') problems.push(`${label}: ${key} must be a function`);
  }
  if (raw['snapshot'] !== undefined) checkSnapshot(raw, label, problems);
  if (problems.length > 0) throw new ConfigError(problems);
}

function checkSnapshot(definition: RawOptions, label: string, problems: string[]): void {
  const raw = optionsBelow(
    definition,
    'snapshot',
    { label, names: ['version', 'every', 'when', 'encode', 'decode'] },
    problems,
  );
  if (!isOptions(definition['snapshot'])) return;
  const integer = (key: string, value: unknown, max: number): void => {
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > max) {
      problems.push(
        `${label}: snapshot.${key} must be a whole number from 1 to ${max}, got ${shownValue(value)}`,
      );
    }
  };
  integer('version', raw['version'], 2 ** 31);
  if (raw['every'] !== undefined) integer('every', raw['every'], 100_000);
  if (raw['every'] !== undefined && raw['when'] !== undefined)
    problems.push(`${label}: give snapshot.every or snapshot.when, not both`);
  for (const key of ['when', 'encode', 'decode']) {
    if (raw[key] !== undefined && typeof raw[key] !== 'function')
      problems.push(`${label}: snapshot.${key} must be a function`);
  }
  if ((raw['encode'] === undefined) !== (raw['decode'] === undefined))
    problems.push(`${label}: snapshot.encode and snapshot.decode go together`);
}
