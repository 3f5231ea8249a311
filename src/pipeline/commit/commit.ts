/**
 * Sends the one script call that plan-commit.ts has planned, and reads its reply.
 *
 * The lane owns its turn counter and its set of parked units; Redis owns everything else. A commit
 * whose reply was lost is sent again unchanged: commit.lua recognises the turn id.
 */
import type { OutboxSize } from '../../core/emitted.ts';
import { ScheduleFullError } from '../../core/errors/append-errors.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { MAX_SCHEDULED } from '../../core/delivery-time.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { APPEND_ENTRIES, ARRIVALS, HOLDS_LEASE, SCHEDULE_EVENT } from '../../redis/lua/shared.ts';
import type { CommitPlan } from './commit-plan.ts';

const script = defineScript({
  url: new URL('./commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    ARRIVALS,
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
  /** Nothing was written: Redis has forgotten the lane's last commit. */
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

/**
 * Commits a turn.
 * @param setKeyAside sets the key of a unit's parked list aside, because somebody else has written
 *   it. The commit is then sent again
 * @throws UnknownOutcomeError, RedisReplyError, ScheduleFullError: send the same plan again
 */
export async function sendCommit(
  connection: RedisConnection,
  plan: CommitPlan,
  setKeyAside?: (unit: string) => Promise<void>,
): Promise<CommitReply> {
  const reply = (await script.run(connection, plan.keys, plan.args)) as Reply;
  switch (reply[0]) {
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
      return sendCommit(connection, plan, setKeyAside);
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
