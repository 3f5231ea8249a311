/**
 * Keeps the lanes of this dispatcher. It announces the functions served here, computes each lane's
 * owner from the members, and asks for the leases of its own lanes. It keeps those alive, and gives
 * back the lanes of others.
 *
 * The members only say who should; the lease says who may. Two dispatchers that disagree for a
 * moment wait for each other.
 *
 * Ordering 'none': all dispatchers of such a function read a partition's events at the same time.
 * The owner reads as the consumer `lane` and runs the retries. Every other member reads as itself,
 * a helper, under a lease that says that it lives. The owner settles the entries pending for a
 * helper that is gone, in the helper's name (its heir), and retires the helper's consumer.
 *
 * Bounds, with TTL = MILLRACE_LEASE_MS and check = min(1 s, TTL / 4): the lanes of a dispatcher
 * that died are taken over within TTL + check; of one that left within check; one that joins has
 * its share within 2 checks plus the turns under way (timeoutMs + 1 s at most).
 *
 * Owned here: the lanes, and the last known members.
 */
import type { Log } from '../../core/log.ts';
import { sharedAbort } from '../../core/shared-signal.ts';
import { monotonicMs, sleep, wallClockMs } from '../../core/clock.ts';
import { MillraceError, RedisReplyError } from '../../core/errors.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry } from '../../redis/retry.ts';
import { epochOf, type HeldLane, type LaneAddress } from './lane-address.ts';
import { claimLease, hasGoneBack, noteNotDead, releaseLease, renewLeases } from './leases.ts';
import { announceMember, assignLanes, removeMember } from './members.ts';

/** All of a lane that its keeper uses. */
export interface KeptLane extends HeldLane {
  readonly heir: boolean;
  /** Id of the last committed turn; '' before the first. */
  readonly committed: string;
  /** Address of the event that runs marked, '' without one. */
  readonly marked: string;
  readonly lost: boolean;
  readonly retired: boolean;
  start(): void;
  stop(): Promise<void>;
  retire(): Promise<boolean>;
  loseLease(): void;
  leaseHeld(untilMs: number): void;
  startOver(): void;
  dueAt(dueMs: number | null, serverNowMs: number): void;
}

/** A lane whose lease was just acquired. */
export interface AcquiredLane extends HeldLane {
  /** See acquireLease(). */
  readonly presumedDead: string;
  /** In place of a helper that is gone. */
  readonly heir: boolean;
}

export interface LaneKeeperOptions<Lane extends KeptLane> {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** This process, in leases and among the members. */
  readonly dispatcher: string;
  /** Names. */
  readonly functions: readonly string[];
  /** Whether the function has ordering 'none'. */
  readonly competing: (fn: string) => boolean;
  readonly partitions: number;
  readonly leaseTtlMs: number;
  /** Aborts when the dispatcher stops. */
  readonly stopping: AbortSignal;
  readonly createLane: (acquired: AcquiredLane) => Lane;
  /** Told of a lane that runs from now on: ring it. */
  readonly opened: (lane: Lane) => void;
  readonly closed: (lane: Lane) => void;
  readonly log: Log;
}

const placeOf = ({ fn, partition, consumer }: LaneAddress): string =>
  `${laneName(fn, consumer)}/${partition}`;

/** Resolves when all have ended. @throws the first one's error */
async function allEnded(promises: readonly Promise<void>[]): Promise<void> {
  await Promise.allSettled(promises);
  await Promise.all(promises);
}

export class LaneKeeper<Lane extends KeptLane> {
  readonly #options: LaneKeeperOptions<Lane>;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that lost their lease, or are given back, and whose last batch still runs. */
  readonly #closing = new Set<Lane>();
  /** Per function the members, as last told, and what follows from them. */
  readonly #assigned = new Map<
    string,
    { readonly members: string; readonly owners: readonly string[] }
  >();
  /** Wanted leases that end soon: the next look is then. */
  #freeInMs = Infinity;
  #losses = 0;
  /** Looked at by whoever asks, and at each round of keeping. */
  #missingSinceMs: number | null = null;
  /** Places that somebody else had at the last look. */
  readonly #elsewhere = new Set<string>();
  /** Redis answers, and takes no writes: leases cannot be kept. Null where they can. */
  #refused: RedisReplyError | null = null;
  readonly #toldLost = new WeakSet<Lane>();
  /** Leases given back, or about to be: that they are not held any more is no loss. */
  readonly #givenBack = new WeakSet<Lane>();
  /** Losses that are being looked into. */
  readonly #judging = new Set<Promise<void>>();
  #firstLook: Promise<void> | null = null;
  #loop: Promise<void> | null = null;
  #stopped: Promise<void> | null = null;
  readonly #done = sharedAbort();

  constructor(options: LaneKeeperOptions<Lane>) {
    this.#options = options;
  }

  get lanes(): ReadonlyMap<string, Lane> {
    return this.#lanes;
  }
  /** Those that may still run something. */
  get open(): readonly Lane[] {
    return [...this.#lanes.values()];
  }
  /** Leases lost since the start. */
  get losses(): number {
    return this.#losses;
  }

  /** What Redis said at the last check, if it takes no writes. */
  get refused(): RedisReplyError | null {
    return this.#refused;
  }

  /**
   * Lanes that are this dispatcher's share, and how many of them it does not hold; for how long
   * there have been some, in ms, of which Redis does not say either that somebody else still has
   * them (another dispatcher, a pass over the histories).
   */
  get share(): { readonly lanes: number; readonly missing: number; readonly missingMs: number } {
    let lanes = 0;
    let missing = 0;
    let nobodys = 0;
    for (const [fn, { owners }] of this.#assigned) {
      owners.forEach((owner, partition) => {
        if (owner !== this.#options.dispatcher) return;
        lanes++;
        const place = placeOf({ fn, partition, consumer: OWNER });
        const lane = this.#lanes.get(place);
        if (lane && !lane.lost) return;
        missing++;
        if (!this.#elsewhere.has(place)) nobodys++;
      });
    }
    if (nobodys === 0) this.#missingSinceMs = null;
    else this.#missingSinceMs ??= monotonicMs();
    return {
      lanes,
      missing,
      missingMs: this.#missingSinceMs === null ? 0 : monotonicMs() - this.#missingSinceMs,
    };
  }

  /** Resolves when it has asked once for every lane that is its own. */
  async start(): Promise<void> {
    this.#firstLook = this.#look();
    await this.#firstLook;
    this.#loop = this.#keep();
  }

  /**
   * Lets the turns under way end, gives the leases back. Aborting the lanes meanwhile makes it
   * quicker. `stopping` is aborted before. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { connection, keys, dispatcher, functions } = this.#options;
    // Beside the rest: the others come for the lanes as they get free.
    const left = Promise.allSettled(
      functions.map((fn) => removeMember(connection, keys, fn, dispatcher)),
    );
    await Promise.all(
      [...this.#lanes.values()].map(async (lane) => {
        await lane.stop();
        if (!lane.lost && !lane.retired) await this.#release(lane).catch(() => undefined);
        this.#tellLost(lane);
      }),
    );
    // The look gives back itself all that it acquires during a stop.
    await this.#firstLook?.catch(() => undefined);
    // Until here the leases were kept: a long turn's commit must not be refused because of a drain.
    this.#done.abort();
    await this.#loop;
    await Promise.all([left, ...this.#judging]);
    this.#lanes.clear();
  }

  async #release(lane: Lane): Promise<void> {
    this.#givenBack.add(lane);
    if (lane.consumer !== OWNER && (await lane.retire())) return;
    await releaseLease(this.#options.connection, this.#options.keys, lane);
  }

  async #keep(): Promise<void> {
    const { leaseTtlMs, stopping, log } = this.#options;
    const checkMs = Math.min(1000, leaseTtlMs / 4);
    const done = this.#done.signal;
    while (!done.aborted) {
      await sleep(Math.min(checkMs, Math.max(20, this.#freeInMs + 1)), done);
      if (done.aborted) return;
      void this.share;
      try {
        await this.#renew();
        this.#giveUpLost();
        if (!stopping.aborted) await this.#look();
        this.#refused = null;
      } catch (error) {
        if (stopping.aborted) continue;
        this.#refused =
          error instanceof RedisReplyError && error.refuses === 'writes' ? error : null;
        const expected = error instanceof MillraceError && error.retryable;
        log(expected ? 'warn' : 'error', 'leases could not be kept, trying again', {
          err: error,
          at: wallClockMs(),
        });
      }
    }
  }

  /**
   * Also tells lanes of retries that somebody else made due, and of a Redis that has gone back in
   * time.
   */
  async #renew(): Promise<void> {
    const { connection, keys, leaseTtlMs } = this.#options;
    const byPartition = new Map<number, Lane[]>();
    for (const lane of this.#lanes.values()) {
      if (lane.lost || lane.retired || this.#givenBack.has(lane)) continue;
      const lanes = byPartition.get(lane.partition);
      if (lanes) lanes.push(lane);
      else byPartition.set(lane.partition, [lane]);
    }
    await Promise.all(
      [...byPartition].map(async ([partition, lanes]) => {
        const committed = lanes.map((lane) => lane.committed);
        const askedMs = monotonicMs();
        const renewed = await renewLeases(connection, keys, partition, lanes, leaseTtlMs);
        renewed.lanes.forEach(({ held, nextDueMs, turn }, i) => {
          const lane = lanes[i] as Lane;
          if (held) lane.leaseHeld(askedMs + leaseTtlMs);
          if (held && hasGoneBack(turn, committed[i] as string)) lane.startOver();
          if (!held) {
            if (!this.#givenBack.has(lane)) lane.loseLease();
          } else if (nextDueMs !== null) lane.dueAt(nextDueMs, renewed.serverNowMs);
        });
      }),
    );
  }

  #giveUpLost(): void {
    for (const lane of this.#lanes.values()) {
      this.#tellLost(lane);
      if ((lane.lost || lane.retired) && !this.#closing.has(lane)) this.#close(lane);
    }
  }

  /**
   * Once, also of a lane that was on its way to somebody else: its last turn's work runs again
   * there.
   */
  #tellLost(lane: Lane): void {
    if (!lane.lost || this.#toldLost.has(lane)) return;
    this.#toldLost.add(lane);
    const judging = this.#judge(lane).finally(() => this.#judging.delete(judging));
    this.#judging.add(judging);
  }

  /**
   * A rewind takes the lease away on purpose: somebody wanted it, and nothing is wrong with this
   * process.
   */
  async #judge(lane: Lane): Promise<void> {
    const { connection, keys, log, leaseTtlMs } = this.#options;
    const { fn, partition, leaseValue } = lane;
    // In any case it says that it lives, so that its heir counts no death.
    const rewound = await withRetry(() => noteNotDead(connection, keys, lane, lane.marked), {
      deadlineMs: leaseTtlMs,
    }).catch(() => 0);
    if (rewound >= Number(epochOf(leaseValue))) {
      log(
        'info',
        'lease lost to a rewind: the running turn is discarded, the lane goes on from the target',
        { function: fn, partition },
      );
      return;
    }
    this.#losses++;
    log('warn', 'lease lost: the running turn is discarded', { function: fn, partition });
  }

  /**
   * Not awaited, because the other lanes' leases go on. The lane leaves the map, and may be asked
   * for again, only when its handlers have ended, so that no subject runs twice at a time here.
   */
  #close(lane: Lane): void {
    this.#closing.add(lane);
    this.#options.closed(lane);
    void lane
      .stop()
      .then(() => (lane.lost || lane.retired ? undefined : this.#release(lane)))
      .catch((error: unknown) =>
        this.#options.log('warn', 'lease could not be given back: it expires by itself', {
          function: lane.fn,
          partition: lane.partition,
          err: error,
        }),
      )
      .then(() => {
        this.#tellLost(lane);
        this.#lanes.delete(placeOf(lane));
        this.#closing.delete(lane);
      });
  }

  /** Who serves what now; gives back what is not ours any more, asks for what is. */
  async #look(): Promise<void> {
    const { connection, keys, functions, dispatcher, leaseTtlMs, partitions, log, stopping } =
      this.#options;
    this.#freeInMs = Infinity;
    this.#elsewhere.clear();
    await allEnded(
      functions.map(async (fn) => {
        const members = await withRetry(
          () => announceMember(connection, keys, fn, dispatcher, leaseTtlMs),
          { signal: stopping, deadlineMs: 10_000 },
        );
        // The removal by stop() may have overtaken the announcement.
        if (stopping.aborted) return removeMember(connection, keys, fn, dispatcher);
        const known = members.sort().join('\n');
        const before = this.#assigned.get(fn);
        if (before?.members === known) return;
        this.#assigned.set(fn, { members: known, owners: assignLanes(fn, partitions, members) });
        log('info', 'lanes shared out', {
          function: fn,
          dispatchers: members.length,
          ours: this.#assigned.get(fn)?.owners.filter((owner) => owner === dispatcher).length,
        });
      }),
    );
    if (stopping.aborted) return;
    const wanted: Promise<void>[] = [];
    for (const fn of functions) {
      const owners = this.#assigned.get(fn)?.owners ?? [];
      for (let partition = 0; partition < partitions; partition++) {
        const owner: LaneAddress = { fn, partition, consumer: OWNER };
        const lane = this.#lanes.get(placeOf(owner));
        const ours = owners[partition] === dispatcher;
        if (lane && !ours && !this.#closing.has(lane)) this.#close(lane);
        if (!lane && ours) wanted.push(this.#claim(owner));
        if (this.#options.competing(fn)) wanted.push(this.#help(fn, partition, ours, lane));
      }
    }
    await allEnded(wanted);
  }

  /**
   * Ordering 'none': reads beside the owner, or as the owner finishes what helpers that are gone
   * have left.
   */
  async #help(
    fn: string,
    partition: number,
    ours: boolean,
    owned: Lane | undefined,
  ): Promise<void> {
    const { dispatcher, connection, keys, stopping } = this.#options;
    const own: LaneAddress = { fn, partition, consumer: dispatcher };
    const helper = this.#lanes.get(placeOf(own));
    if (!ours) {
      for (const lane of this.#lanes.values()) {
        if (lane.heir && lane.fn === fn && lane.partition === partition && !this.#closing.has(lane))
          this.#close(lane);
      }
      if (!helper) await this.#claim(own);
      return;
    }
    if (helper && !helper.heir && !this.#closing.has(helper)) this.#close(helper);
    if (!owned || this.#closing.has(owned)) return;
    const living = new Set(this.#assigned.get(fn)?.members.split('\n'));
    const helpers = (await withRetry(
      () => connection.command('SMEMBERS', keys.helpers(partition, fn)),
      { signal: stopping, deadlineMs: 10_000 },
    )) as string[];
    for (const name of helpers) {
      if (name !== dispatcher && living.has(name)) continue;
      const gone: LaneAddress = { fn, partition, consumer: name };
      if (!this.#lanes.has(placeOf(gone))) await this.#claim(gone, true);
    }
  }

  async #claim(address: LaneAddress, heir = false): Promise<void> {
    const { connection, keys, dispatcher, leaseTtlMs: ttlMs, stopping } = this.#options;
    const claim = { dispatcher, ttlMs };
    const answer = await claimLease(connection, keys, address, claim, stopping);
    if (!('value' in answer)) {
      this.#elsewhere.add(placeOf(address));
      this.#freeInMs = Math.min(this.#freeInMs, answer.freeInMs);
      return;
    }
    const { value: leaseValue, presumedDead, untilMs } = answer;
    const lane = this.#options.createLane({ ...address, leaseValue, presumedDead, heir });
    // Acquired during a stop: nobody here may use the lease.
    if (stopping.aborted) return this.#release(lane);
    this.#lanes.set(placeOf(address), lane);
    lane.leaseHeld(untilMs);
    this.#options.opened(lane);
    lane.start();
  }
}
