/** The state of an event for its functions, as explain tells it, where that is cheap. */
import { explainState, type StateOptions } from '../explain/explain-state.ts';
import type { EventPlace } from '../explain/find-event.ts';
import type { FunctionState } from '../explain/report.ts';
import {
  counterFields,
  countOf,
  readPartition,
  type PartitionState,
  type RegisteredFunction,
} from '../redis/counters.ts';
import { serverTime } from '../redis/server-time.ts';
import type { RedisSource } from '../redis/source.ts';

/** Answer for one function. */
export interface AskedState {
  /** Null: the state was not asked for. */
  readonly state: FunctionState | null;
  /** Reason for which the state was not asked for. Null: it was. */
  readonly unasked: string | null;
}

/** Questions for the states of several events. */
export interface StateQuestions {
  readonly source: RedisSource;
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /** See StateOptions. */
  readonly quotes?: boolean;
  /** States that may still be asked for. */
  left: number;
  /** States that were not asked for, because none was left. */
  missed: number;
}

/** Most dead letters of a function in a partition that the search for an event's state may read. */
const MOST_LETTERS = 1000;

/** Asks for the state of an event for a function that reads its type. */
export async function askState(
  questions: StateQuestions,
  place: EventPlace,
  partition: PartitionState,
  fn: RegisteredFunction,
): Promise<AskedState> {
  if (questions.left <= 0) {
    questions.missed++;
    return { state: null, unasked: 'the limit of states is reached' };
  }
  const letters = fn.types.reduce(
    (sum, type) => sum + countOf(partition, counterFields.dead(fn.name, type)),
    0,
  );
  if (letters > MOST_LETTERS) {
    return {
      state: null,
      unasked: `${fn.name} has ${letters} dead events in partition ${place.partition}: millrace explain ${place.id} searches them`,
    };
  }
  questions.left--;
  const { source, nowMs, quotes = true } = questions;
  const state = await explainState(source, partition, fn, place, { nowMs, quotes });
  return { state, unasked: null };
}

/**
 * Returns the state of an event for each function that reads its type, in the order of their names.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function eventStates(
  source: RedisSource,
  place: EventPlace,
  { quotes = true }: Pick<StateOptions, 'quotes'> = {},
): Promise<readonly (AskedState & { readonly function: string })[]> {
  const [partition, nowMs] = await Promise.all([
    readPartition(source, place.partition),
    serverTime(source),
  ]);
  const questions: StateQuestions = { source, nowMs, quotes, left: Infinity, missed: 0 };
  const states: (AskedState & { readonly function: string })[] = [];
  for (const fn of partition.functions)
    if (fn.types.includes(place.type))
      states.push({ function: fn.name, ...(await askState(questions, place, partition, fn)) });
  return states;
}
