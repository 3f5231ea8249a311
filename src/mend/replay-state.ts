/**
 * Progress of a replay of many letters. It outlives an interruption in Redis, as the string
 * `mr:replay:<id>`: JSON, for seven days.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { DeadLetterFilter } from '../pipeline/dead/dead-letters.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import type { RedisSpace } from '../redis/source.ts';
import type { OutcomeCounts } from './replayed-outcomes.ts';

/** Choice of the letters, without its bounds. */
export type ReplayFilter = Pick<
  DeadLetterFilter,
  'function' | 'type' | 'subject' | 'reason' | 'eventId' | 'group' | 'ids' | 'limit'
>;

export interface ReplayPace {
  /** First letters to replay, whose outcomes are awaited before the others. Null: none. */
  readonly canary: number | null;
  /** Most letters a second. Null: no bound. */
  readonly rate: number | null;
  /** Share of failures, 0 to 1, beyond which the replay stops. Null: it never does. */
  readonly stopAt: number | null;
}

export interface ReplayRunState {
  readonly id: string;
  /** Server time, ms since 1970. */
  readonly startedMs: number;
  readonly filter: ReplayFilter;
  readonly pace: ReplayPace;
  /** Last letter of each place at the start. Later letters are not replayed. */
  readonly upTo: Readonly<Record<string, string>>;
  /** Id of the last letter handled. Null: none. */
  readonly after: string | null;
  /** Whether the canary has passed, or there is none. */
  readonly canaryPassed: boolean;
  readonly replayed: number;
  /** Letters that somebody else has replayed or purged meanwhile. */
  readonly gone: number;
  /** Letters that hold no event. */
  readonly notReplayable: number;
  /** Outcomes of the replayed events. Only a canary, or a bound of failures, follows them. */
  readonly outcomes: OutcomeCounts;
  /** End of the last try to go on. Null: it goes on, or its process died. */
  readonly end: ReplayEnd | null;
}

/**
 * - `finished`: all chosen letters were handled
 * - `interrupted`: the caller has ended it
 * - `canary-failed`: an event of the canary failed
 * - `undecided`: events had no outcome in time, so that the others were not replayed
 * - `failure-rate`: more events failed than allowed
 */
export type ReplayEnd = 'finished' | 'interrupted' | 'canary-failed' | 'undecided' | 'failure-rate';

/** Time for which progress is kept, ms. A finished replay is kept for those who look at it. */
const KEEP_MS = { unfinished: 7 * 86_400_000, finished: 3_600_000 } as const;
const ID = /^[0-9a-f]{12}$/;

/** The id names no replay, or one that has ended too long ago. */
export class ReplayRunError extends MillraceError {
  readonly code = 'REPLAY_RUN';
  constructor(id: string, problem: string) {
    super(
      `there is no replay ${JSON.stringify(id.slice(0, 100))} to go on with: ${problem}. Its letters are either replayed or still there: dlq groups shows them`,
    );
  }
}

/**
 * Keeps the progress, best effort: a server that takes no writes refuses it.
 * @returns whether it is kept
 */
export async function saveReplayRun(
  { connection, keys }: RedisSpace,
  state: ReplayRunState,
): Promise<boolean> {
  try {
    await withRetry(
      () =>
        connection.command(
          'SET',
          keys.replayRun(state.id),
          JSON.stringify(state),
          'PX',
          KEEP_MS[state.end === 'finished' ? 'finished' : 'unfinished'],
        ),
      { deadlineMs: DEADLINE_MS },
    );
    return true;
  } catch (error) {
    if (error instanceof RedisReplyError && error.refuses === 'writes') return false;
    throw error;
  }
}

/** @throws ReplayRunError */
export async function readReplayRun(
  { connection, keys }: RedisSpace,
  id: string,
): Promise<ReplayRunState> {
  if (!ID.test(id)) throw new ReplayRunError(id, 'ids have 12 hexadecimal digits');
  const text = (await connection.command('GET', keys.replayRun(id))) as string | null;
  if (text === null) throw new ReplayRunError(id, 'its progress is kept for seven days');
  try {
    const state = JSON.parse(text) as ReplayRunState;
    if (state.id !== id || typeof state.upTo !== 'object' || typeof state.filter !== 'object')
      throw new TypeError('it is no progress of a replay');
    return state;
  } catch (error) {
    throw new ReplayRunError(id, `its progress cannot be read: ${(error as Error).message}`);
  }
}
