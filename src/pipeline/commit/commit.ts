/**
 * Sends the one script call that plan-commit.ts has planned, and reads its reply.
 *
 * The lane owns its turn counter and its set of parked units; Redis owns everything else. A commit
 * whose reply was lost is sent again unchanged: commit.lua recognises the turn id.
 */
import type { OutboxSize } from '../../core/emitted.ts';
import { ScheduleFullError } from '../../core/errors/append-errors.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { JoinedCalls } from '../../core/joined-calls.ts';
import { MAX_SCHEDULED } from '../../core/delivery-time.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import {
  APPEND_ENTRIES,
  ARRIVALS,
  HOLDS_LEASE,
  LETTER_GROUPS,
  SCHEDULE_EVENT,
} from '../../redis/lua/shared.ts';
import type { CommitPlan } from './commit-plan.ts';

const script = defineScript({
  url: new URL('./commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    ARRIVALS,
    LETTER_GROUPS,
    new URL('./emit-events.lua', import.meta.url),
  ],
  keys: 'variable',
});

export type CommitReply =
  | { readonly kind: 'stale' }
  /**
   * Nothing was written: these entries are no longer pending, and the turn has effects or parks
   * events of several types.
   */
  | { readonly kind: 'refused'; readonly missing: readonly string[] }
  /** Nothing was written: Redis has forgotten the lane's last commit, or the records in hand. */
  | { readonly kind: 'back' }
  | {
      readonly kind: 'ok';
      readonly repeated: boolean;
      readonly nextDueMs: number | null;
      readonly missing: readonly string[];
      readonly emptied: readonly string[];
      /** Size of the outbox; null: nothing was put there, or the size is not known. */
      readonly outbox: OutboxSize | null;
      /** Keys of a view's indexes that are of another type, and so were not written. */
      readonly noIndexes: readonly string[];
    };

type OkReply = Extract<CommitReply, { kind: 'ok' }>;
/** The reply as commit.lua's header describes it. */
type Reply =
  | readonly ['error', string]
  | readonly ['stale' | 'back' | 'full']
  | readonly ['foreign' | 'exhausted' | 'repeat', string]
  | readonly ['refused', readonly string[]]
  | readonly [
      'ok',
      string,
      string,
      readonly string[],
      readonly string[],
      '' | readonly [number, number],
      readonly string[],
    ];

/** The parts of a plan that are sent. */
type CommitCall = Pick<CommitPlan, 'partition' | 'keys' | 'args'>;

type SetKeyAside = (unit: string) => Promise<void>;

/** Most arguments of one call: Redis does nothing else meanwhile. */
const MOST_ARGS = 20_000;

/** Commits for the lanes of one partition. Lanes share a call when they commit at one moment. */
export class PartitionCommits {
  readonly #calls: JoinedCalls<CommitCall, Reply>;

  constructor(connection: RedisConnection) {
    this.#calls = new JoinedCalls({
      send: (plans) => sendPlans(connection, plans),
      most: MOST_ARGS,
      weigh: ({ args }) => args.length,
    });
  }

  /** As sendCommit(). */
  async send(plan: CommitCall, setKeyAside?: SetKeyAside): Promise<CommitReply> {
    return settle(plan, (same) => this.#calls.call(same), setKeyAside);
  }
}

/**
 * Commits a turn.
 * @param setKeyAside sets the key of a unit's parked list aside, because somebody else has written
 *   it. The commit is then sent again
 * @throws UnknownOutcomeError, RedisReplyError, ScheduleFullError: send the same plan again
 */
export function sendCommit(
  connection: RedisConnection,
  plan: CommitCall,
  setKeyAside?: SetKeyAside,
): Promise<CommitReply> {
  const send = async (same: CommitCall): Promise<Reply> =>
    (await sendPlans(connection, [same]))[0] as Reply;
  return settle(plan, send, setKeyAside);
}

async function sendPlans(
  connection: RedisConnection,
  plans: readonly CommitCall[],
): Promise<readonly Reply[]> {
  const keys: string[] = [];
  const args: (string | number | Buffer)[] = [];
  // Loops: flatMap and spreads define each element anew, at ten times the cost.
  for (const plan of plans) {
    for (const key of plan.keys) keys.push(key);
    for (const arg of plan.args) args.push(arg);
  }
  if (plans.length > 1) for (const plan of plans) args.push(plan.keys.length, plan.args.length);
  args.push(plans.length);
  return (await script.run(connection, keys, args)) as readonly Reply[];
}

async function settle(
  plan: CommitCall,
  send: (plan: CommitCall) => Promise<Reply>,
  setKeyAside: SetKeyAside | undefined,
): Promise<CommitReply> {
  const reply = await send(plan);
  switch (reply[0]) {
    case 'error':
      throw new RedisReplyError('commit.lua', reply[1]);
    case 'stale':
    case 'back':
      return { kind: reply[0] };
    case 'refused':
      return { kind: 'refused', missing: reply[1] };
    case 'foreign':
      if (!setKeyAside)
        throw new RedisReplyError(
          'commit.lua',
          `WRONGTYPE the key of the parked events of ${JSON.stringify(reply[1])} is no list. Delete or rename it`,
        );
      await setKeyAside(reply[1]);
      return settle(plan, send, setKeyAside);
    case 'full':
      throw new ScheduleFullError(plan.partition, MAX_SCHEDULED);
    case 'exhausted':
      throw new RedisReplyError(
        'commit',
        `stream ${reply[1]} takes no more entries: its last id is the largest possible one. Keep its events elsewhere, then delete the stream`,
      );
    case 'repeat':
      return repeated(reply[1]);
    case 'ok': {
      const [, , nextDue, missing, emptied, outbox, noIndexes] = reply;
      return {
        kind: 'ok',
        repeated: false,
        nextDueMs: dueOf(nextDue),
        missing,
        emptied,
        outbox: outbox === '' ? null : { entries: outbox[0], bytes: outbox[1] },
        noIndexes,
      };
    }
  }
}

/** The commit was there already: the entries it missed and the lists it emptied are not known. */
const repeated = (nextDue: string): OkReply => ({
  kind: 'ok',
  repeated: true,
  nextDueMs: dueOf(nextDue),
  missing: [],
  emptied: [],
  outbox: null,
  noIndexes: [],
});

const dueOf = (text: string): number | null => (text === '' ? null : Number(text));
