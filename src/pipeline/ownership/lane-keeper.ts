/**
 * Keeps the lanes of this dispatcher. It announces the functions served here, and computes each
 * lane's owner from the members. It acquires and renews the leases of its own lanes, and gives back
 * the lanes of others.
 *
 * The members only say who should own a lane; the lease says who may. Two dispatchers that disagree
 * for a moment wait for each other.
 *
 * Ordering 'none': all dispatchers of such a function read a partition's events at the same time.
 * The owner reads as the consumer `lane` and runs the retries. Every other member is a helper: it
 * reads as itself, under a lease that says that it lives. When a helper is gone, the owner runs a
 * lane in the helper's name: the heir. The heir settles the helper's pending entries, and retires
 * the helper's consumer.
 *
 * Leases are renewed apart from the rest, in each partition by itself. A call without a reply then
 * costs no other lane its lease.
 *
 * Bounds, with TTL = MILLRACE_LEASE_MS and check = min(1 s, TTL / 4): the lanes of a dispatcher
 * that died are taken over within TTL + check. Lanes of a dispatcher that left are taken over
 * within check. A dispatcher that joins has its share within 2 checks plus the turns under way
 * (timeoutMs + 1 s at most).
 *
 * Owned here: the lanes.
 */
import { monotonicMs, wallClockMs } from '../../core/clock.ts';
import type { RedisReplyError } from '../../core/errors/server-errors.ts';
import { OWNER } from '../../core/function-spec.ts';
import { Loop, type Lifecycle } from '../../core/lifecycle.ts';
import { failureLevel, type Log } from '../../core/log.ts';
import { sharedAbort } from '../../core/shared-signal.ts';
import { hasGoneBack } from '../../core/turn-id.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { isWriteRefusal } from '../../redis/refused-writes.ts';
import { withRetry } from '../../redis/retry.ts';
import { placeOf, type HeldLane, type LaneAddress } from './lane-address.ts';
import { LaneShare, type ShareReport } from './lane-share.ts';
import { countUnowned, LeaseTimes, type LeaseReport, type TimedLane } from './lease-times.ts';
import { claimLease, releaseLease, renewLeases, type RanUnderLease } from './leases.ts';
import { LostLeases } from './lost-leases.ts';
import { announceMember, removeMember } from './members.ts';

/** Time after which the log is told again of the same failure, ms. */
const REPEAT_MS = 60_000;

/** The looks, or the renewals of a partition. Each fails, and gets well, by itself. */
type FailingPart = 'looks' | number;

/** A lane, as far as its keeper uses it. */
export interface KeptLane extends HeldLane, Lifecycle, RanUnderLease, TimedLane {
  /** Whether it runs in place of a helper that is gone. */
  readonly heir: boolean;
  /** Id of the last committed turn; '' before the first. */
  readonly committed: string;
  /** Whether its lease is lost. */
  readonly lost: boolean;
  /** Whether it has given its consumer and its lease up itself. */
  readonly retired: boolean;
  start(): void;
  /** Resolves with false where entries are pending for its consumer. */
  retire(): Promise<boolean>;
  loseLease(): void;
  /** @param untilMs end of the lease, by monotonicMs() */
  leaseHeld(untilMs: number): void;
  /** Redis has forgotten the last commit. */
  startOver(): void;
  /** The next retry is due then, by the server's clock. */
  dueAt(dueMs: number | null, serverNowMs: number): void;
}

/** A lane whose lease was just acquired. */
export interface AcquiredLane extends HeldLane {
  /** Whether it is to run in place of a helper that is gone. */
  readonly heir: boolean;
}

export interface LaneKeeperOptions<Lane extends KeptLane> {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Names this process in leases and among the members. */
  readonly dispatcher: string;
  /** Names. */
  readonly functions: readonly string[];
  /** Whether the function has ordering 'none'. */
  readonly competing: (fn: string) => boolean;
  readonly partitions: number;
  readonly leaseTtlMs: number;
  readonly createLane: (acquired: AcquiredLane) => Lane;
  /** Told of a lane that runs from now on and is to be rung. */
  readonly opened: (lane: Lane) => void;
  /** Told of a lane that is to be rung no more. */
  readonly closed: (lane: Lane) => void;
  readonly log: Log;
}

export class LaneKeeper<Lane extends KeptLane> implements Lifecycle {
  readonly #options: LaneKeeperOptions<Lane>;
  readonly #share: LaneShare;
  readonly #losses: LostLeases;
  readonly #times: LeaseTimes;
  /** By place. */
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that are to end, and whose last batch may still run. Each with its end. */
  readonly #closing = new Map<Lane, Promise<void>>();
  /** Lanes whose lease was given back, or is about to be: a lease not held any more is no loss. */
  readonly #givenBack = new WeakSet<Lane>();
  /** Renewals under way, by partition. */
  readonly #renewing = new Map<number, Promise<void>>();
  /** Time until the first wanted lease of another holder ends, ms. The next look is then. */
  #freeInMs = Infinity;
  /** Failures that last, by what failed: the looks, or a partition's renewals. */
  readonly #failures = new Map<FailingPart, unknown>();
  /** The failure that the log was told of last, and when. */
  #told = { text: '', ms: -Infinity };
  readonly #stopping = sharedAbort();
  #firstLook: Promise<void> | null = null;
  readonly #renewals: Loop;
  readonly #looks: Loop;
  #stopped: Promise<void> | null = null;

  constructor(options: LaneKeeperOptions<Lane>) {
    this.#options = options;
    this.#share = new LaneShare(options.dispatcher, options.partitions);
    this.#losses = new LostLeases(options);
    this.#times = new LeaseTimes(options.leaseTtlMs);
    const checkMs = Math.min(1000, options.leaseTtlMs / 4);
    const failed = (error: unknown): void => this.#notKept('looks', error);
    this.#renewals = new Loop({
      pass: () => this.#renew(),
      pauseMs: () => checkMs,
      pausesFirst: true,
      failed,
    });
    this.#looks = new Loop({
      pass: () => this.#lookAgain(),
      pauseMs: () => Math.min(checkMs, Math.max(20, this.#freeInMs + 1)),
      pausesFirst: true,
      failed,
    });
  }

  /** By place. */
  get lanes(): ReadonlyMap<string, Lane> {
    return this.#lanes;
  }

  /** Leases lost since the start, without those that a rewind took. */
  get losses(): number {
    return this.#losses.count;
  }

  /** Refusal of the last writes. Null: Redis takes writes, as far as is known. */
  get refused(): RedisReplyError | null {
    return [...this.#failures.values()].find(isWriteRefusal) ?? null;
  }

  /** The longest failure among those that last. Null: leases can be kept. */
  get failure(): unknown {
    const [first = null] = this.#failures.values();
    return first;
  }

  /** See LaneShare.report(). */
  reportShare(): ShareReport {
    return this.#share.report((place) => {
      const lane = this.#lanes.get(place);
      return lane !== undefined && !lane.lost;
    });
  }

  /** See LeaseTimes.report(). */
  reportLeases(): LeaseReport {
    return this.#times.report(this.#toRenew());
  }

  /** Resolves when every lane of the share was asked for once. May be called again if it failed. */
  async start(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    // The first look may last, and its first lanes run already.
    this.#renewals.start();
    this.#firstLook ??= this.#look();
    try {
      await this.#firstLook;
    } catch (error) {
      this.#firstLook = null;
      throw error;
    }
    this.#looks.start();
  }

  /**
   * Lets the turns under way end, and gives the leases back. Abandoning the lanes meanwhile makes
   * it quicker.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    const { connection, keys, dispatcher, functions } = this.#options;
    // The membership ends first, so that the others come for the lanes as they get free.
    const left = Promise.allSettled(
      functions.map((fn) => removeMember(connection, keys, fn, dispatcher)),
    );
    await Promise.all([...this.#lanes.values()].map((lane) => this.#close(lane)));
    // A look gives back itself all that it acquires during a stop.
    await this.#firstLook?.catch(() => undefined);
    await this.#looks.stop();
    // Leases are renewed until here: a long turn's commit must not be refused because of a drain.
    await this.#renewals.stop();
    await Promise.all([...this.#renewing.values(), left]);
    await this.#losses.settled();
    this.#lanes.clear();
  }

  async #lookAgain(): Promise<void> {
    // The report notes since when lanes are missing.
    this.reportShare();
    if (!this.#stopping.signal.aborted) await this.#look();
    await this.#findUnowned();
    this.#kept('looks');
  }

  /** A dispatcher with lanes leaves the search to those without. */
  async #findUnowned(): Promise<void> {
    const { connection, keys, functions, partitions } = this.#options;
    const search = this.#lanes.size === 0 && !this.#stopping.signal.aborted;
    this.#times.foundUnowned(
      search ? await countUnowned(connection, keys, functions, partitions) : 0,
    );
  }

  #kept(part: FailingPart): void {
    this.#failures.delete(part);
    if (this.#failures.size === 0) this.#told = { text: '', ms: -Infinity };
  }

  #notKept(part: FailingPart, error: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#failures.set(part, error);
    const text = (error as Error).message;
    const now = monotonicMs();
    if (text === this.#told.text && now - this.#told.ms < REPEAT_MS) return;
    this.#told = { text, ms: now };
    this.#options.log(failureLevel(error), 'leases could not be kept, trying again', {
      err: error,
      at: wallClockMs(),
    });
  }

  /** Starts a renewal in each partition that has none under way. */
  #renew(): void {
    this.#endLost();
    const byPartition = new Map<number, Lane[]>();
    for (const lane of this.#toRenew()) {
      const lanes = byPartition.get(lane.partition);
      if (lanes) lanes.push(lane);
      else byPartition.set(lane.partition, [lane]);
    }
    for (const part of this.#failures.keys())
      if (part !== 'looks' && !byPartition.has(part)) this.#kept(part);
    for (const [partition, lanes] of byPartition) {
      if (this.#renewing.has(partition)) continue;
      const renewing = this.#renewIn(partition, lanes)
        .then(
          () => {
            this.#kept(partition);
            this.#endLost();
          },
          (error: unknown) => this.#notKept(partition, error),
        )
        .finally(() => this.#renewing.delete(partition));
      this.#renewing.set(partition, renewing);
    }
  }

  #endLost(): void {
    for (const lane of this.#lanes.values()) {
      if (lane.lost) this.#losses.tell(lane);
      if (lane.lost || lane.retired) void this.#close(lane);
    }
  }

  #toRenew(): Lane[] {
    return [...this.#lanes.values()].filter(
      (lane) => !lane.lost && !lane.retired && !this.#givenBack.has(lane),
    );
  }

  #held(lane: Lane, untilMs: number): void {
    lane.leaseHeld(untilMs);
    this.#times.held(lane, untilMs);
  }

  /**
   * Renews the leases of one partition's lanes. Also tells a lane when its next retry is due, and
   * when Redis has gone back in time.
   */
  async #renewIn(partition: number, lanes: readonly Lane[]): Promise<void> {
    const { connection, keys, leaseTtlMs } = this.#options;
    const committed = lanes.map((lane) => lane.committed);
    const untilMs = monotonicMs() + leaseTtlMs;
    const renewed = await renewLeases(connection, keys, partition, lanes, leaseTtlMs);
    renewed.lanes.forEach(({ held, nextDueMs, turn }, i) => {
      const lane = lanes[i] as Lane;
      if (!held) {
        if (!this.#givenBack.has(lane)) lane.loseLease();
        return;
      }
      this.#held(lane, untilMs);
      if (hasGoneBack(turn, committed[i] as string)) lane.startOver();
      if (nextDueMs !== null) lane.dueAt(nextDueMs, renewed.serverNowMs);
    });
  }

  /**
   * Ends a lane; resolves when its lease is given back. Called again it resolves at the same end.
   */
  #close(lane: Lane): Promise<void> {
    let closed = this.#closing.get(lane);
    if (!closed) {
      closed = this.#end(lane);
      this.#closing.set(lane, closed);
    }
    return closed;
  }

  async #end(lane: Lane): Promise<void> {
    const { closed, log } = this.#options;
    const { fn, partition } = lane;
    closed(lane);
    try {
      await lane.stop();
      if (!lane.lost && !lane.retired) await this.#release(lane);
    } catch (error) {
      const text = 'lease could not be given back: it expires by itself';
      log('warn', text, { function: fn, partition, err: error });
    }
    // The lease may be lost before it is given back. The next owner then repeats the last turn.
    if (lane.lost) this.#losses.tell(lane);
    // The dispatcher works for the partitions of its lanes until the keeper has stopped.
    if (this.#stopping.signal.aborted) return;
    // The lane may be asked for again only now that its handlers have ended, so that no subject
    // runs twice at a time here.
    this.#lanes.delete(placeOf(lane));
    this.#closing.delete(lane);
  }

  async #release(lane: Lane): Promise<void> {
    this.#givenBack.add(lane);
    if (lane.consumer !== OWNER && (await lane.retire())) return;
    await releaseLease(this.#options.connection, this.#options.keys, lane, lane);
  }

  /** Asks for the members; gives back lanes that left the share, claims lanes that joined it. */
  async #look(): Promise<void> {
    this.#freeInMs = Infinity;
    this.#share.lookAnew();
    const { functions, partitions, competing } = this.#options;
    const startedMs = monotonicMs();
    await allEnded(functions.map((fn) => this.#announce(fn)));
    this.#times.kept(startedMs);
    if (this.#stopping.signal.aborted) return;
    const wanted: Promise<void>[] = [];
    for (const fn of functions) {
      for (let partition = 0; partition < partitions; partition++) {
        const owner: LaneAddress = { fn, partition, consumer: OWNER };
        const lane = this.#lanes.get(placeOf(owner));
        const ours = this.#share.isOurs(fn, partition);
        if (lane && !ours) void this.#close(lane);
        if (!lane && ours) wanted.push(this.#claim(owner));
        if (!competing(fn)) continue;
        wanted.push(ours ? this.#inherit(fn, partition, lane) : this.#help(fn, partition));
      }
    }
    await allEnded(wanted);
  }

  async #announce(fn: string): Promise<void> {
    const { connection, keys, dispatcher, leaseTtlMs, log } = this.#options;
    const { signal } = this.#stopping;
    const members = await withRetry(
      () => announceMember(connection, keys, fn, dispatcher, leaseTtlMs),
      { signal, deadlineMs: 10_000 },
    );
    // The removal by stop() may have overtaken the announcement.
    if (signal.aborted) return removeMember(connection, keys, fn, dispatcher);
    const ours = this.#share.learn(fn, members);
    if (ours !== null)
      log('info', 'lanes shared out', { function: fn, dispatchers: members.length, ours });
  }

  /** Ordering 'none', outside the share: reads beside the lane's owner, and is no heir. */
  async #help(fn: string, partition: number): Promise<void> {
    for (const lane of this.#lanes.values())
      if (lane.heir && lane.fn === fn && lane.partition === partition) void this.#close(lane);
    const own: LaneAddress = { fn, partition, consumer: this.#options.dispatcher };
    if (!this.#lanes.has(placeOf(own))) await this.#claim(own);
  }

  /** Ordering 'none', in the share: opens heirs for helpers that are gone. */
  async #inherit(fn: string, partition: number, owned: Lane | undefined): Promise<void> {
    const { dispatcher, connection, keys } = this.#options;
    const helper = this.#lanes.get(placeOf({ fn, partition, consumer: dispatcher }));
    if (helper && !helper.heir) void this.#close(helper);
    if (!owned || this.#closing.has(owned)) return;
    const living = this.#share.membersOf(fn);
    const helpers = (await withRetry(
      () => connection.command('SMEMBERS', keys.helpers(partition, fn)),
      { signal: this.#stopping.signal, deadlineMs: 10_000 },
    )) as string[];
    for (const consumer of helpers) {
      if (consumer !== dispatcher && living.has(consumer)) continue;
      const gone: LaneAddress = { fn, partition, consumer };
      if (!this.#lanes.has(placeOf(gone))) await this.#claim(gone, true);
    }
  }

  /** Asks for a lane's lease, and opens the lane where no other holder has it. */
  async #claim(address: LaneAddress, heir = false): Promise<void> {
    const { connection, keys, dispatcher, leaseTtlMs: ttlMs } = this.#options;
    const { signal } = this.#stopping;
    const answer = await claimLease(connection, keys, address, { dispatcher, ttlMs }, signal);
    if (!('value' in answer)) {
      this.#share.heldElsewhere(placeOf(address));
      this.#freeInMs = Math.min(this.#freeInMs, answer.freeInMs);
      return;
    }
    const { value: leaseValue, untilMs } = answer;
    const lane = this.#options.createLane({ ...address, leaseValue, heir });
    // The stop may have overtaken the claim. The lane does not run then.
    if (signal.aborted) return this.#release(lane);
    this.#lanes.set(placeOf(address), lane);
    this.#held(lane, untilMs);
    this.#options.opened(lane);
    lane.start();
  }
}

/** Resolves when all have ended. @throws the first one's error */
async function allEnded(promises: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(promises);
  await Promise.all(promises);
}
