/**
 * Tests of deciders by their input and output: given past events, when a command comes, then these
 * events follow.
 */
import assert from 'node:assert/strict';
import { decidedEvents } from '../define/decided-events.ts';
import type { Decider, NewEvent, RecordedEvent } from '../define/define-aggregate.ts';

export interface SpecifyOptions {
  /** The aggregate's id. Default `test`. */
  readonly id?: string;
  /** Time that `decide` gets as now, and time of the given events. Default 2026-01-01T00:00:00Z. */
  readonly now?: Date;
}

export interface Given<Command, State, T extends string> {
  when(command: Command): When<State, T>;
}

/**
 * Result of the command. Each check throws node:assert's AssertionError where it fails. Checks can
 * be chained.
 */
export interface When<State, T extends string> {
  /**
   * The command caused these events and no others. Compared are type, data, and those other
   * attributes that `expected` names.
   */
  thenEvents(expected: readonly NewEvent<T>[]): this;
  /** The command changed nothing. */
  thenNothing(): this;
  /**
   * The command was refused, with an error of this class, with these properties, or with a message
   * that matches (see assert.throws).
   */
  thenThrows(
    expected?: RegExp | (new (...args: never[]) => Error) | Readonly<Record<string, unknown>>,
  ): this;
  /** The state after the given events and those of the command. */
  thenState(expected: State): this;
}

/**
 * Starts the specification of a decider:
 * `specify(orders).given([…]).when(command).thenEvents([…])`. Everything runs at `when`.
 */
export function specify<State, Command, T extends string>(
  decider: Decider<State, Command, T>,
  options: SpecifyOptions = {},
): { given(events: readonly NewEvent<T>[]): Given<Command, State, T> } {
  const id = options.id ?? 'test';
  const now = options.now ?? new Date('2026-01-01T00:00:00Z');
  const fold = (state: State, events: readonly NewEvent<T>[], after: number): State =>
    events.reduce(
      (before, event, i) => decider.evolve(before, record(event, id, now, after + i + 1)),
      state,
    );
  return {
    given: (events) => ({
      when(command) {
        const state = fold(decider.initialState(), events, 0);
        try {
          const decided = decider.decide(command, state, { id, revision: events.length, now });
          const list = decidedEvents(
            decider.category,
            decided as readonly NewEvent<T>[] | NewEvent<T>,
          );
          return outcome(list, null, () => fold(state, list, events.length));
        } catch (error) {
          return outcome([], { error }, () => state);
        }
      },
    }),
  };
}

function outcome<State, T extends string>(
  events: readonly NewEvent<T>[],
  refused: { readonly error: unknown } | null,
  state: () => State,
): When<State, T> {
  const accepted = (): void => {
    if (refused)
      throw new assert.AssertionError({
        message: `the command was refused: ${String(refused.error)}`,
        actual: refused.error,
        operator: 'accepted',
      });
  };
  return {
    thenEvents(expected) {
      accepted();
      // Only the expected attributes of an event are compared. An event without a counterpart is
      // shown whole.
      const shown = events.map((event, i) =>
        expected[i] === undefined
          ? { ...event }
          : Object.fromEntries(
              Object.keys(expected[i]).map((key) => [key, event[key as keyof typeof event]]),
            ),
      );
      assert.deepEqual(
        shown,
        expected.map((event) => ({ ...event })),
      );
      return this;
    },
    thenNothing() {
      accepted();
      assert.deepEqual(events, []);
      return this;
    },
    thenThrows(expected) {
      const run = (): void => {
        if (refused) throw refused.error;
      };
      if (expected === undefined) assert.throws(run);
      else assert.throws(run, expected as RegExp);
      return this;
    },
    thenState(expected) {
      accepted();
      assert.deepEqual(state(), expected);
      return this;
    },
  };
}

/** Makes an event as the store would return it, as far as a test can know. */
function record<T extends string>(
  event: NewEvent<T>,
  id: string,
  now: Date,
  revision: number,
): RecordedEvent<T> {
  return {
    id: event.id ?? `event-${revision}`,
    type: event.type,
    subject: id,
    source: event.source ?? 'test',
    time: event.time === undefined ? now : new Date(event.time),
    schema: 0,
    data: event.data,
    position: `0/1-${revision}/0`,
    extensions: event.extensions ?? {},
    revision,
  } as unknown as RecordedEvent<T>;
}
