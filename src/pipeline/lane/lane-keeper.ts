/**
 * Which lanes this dispatcher runs: it says which functions it serves, computes from the members
 * who shall own each lane, asks for the leases of its own, keeps them alive, and gives back what
 * now belongs to somebody else.
 *
 * The members only say who should; the lease says who may. Two dispatchers that disagree for a
 * moment wait for each other.
 *
 * Ordering 'none': a partition's events of such a function are read by all of its dispatchers at
 * the same time. The owner reads as the consumer `lane` and runs the retries; every other member
 * reads as itself, a helper, under a lease that says that it lives. What is pending for a helper
 * that is gone is settled by the owner, in its name (its heir), and its consumer retired.
 *
 * Bounds, with TTL = MILLRACE_LEASE_MS and check = min(1 s, TTL / 4): the lanes of a dispatcher
 * that died are taken over within TTL + check; of one that left within check; one that joins has
 * its share within 2 checks plus the turns under way (timeoutMs + 1 s at most).
 *
 * Owned here: the lanes, and the last known members.
 */
import { sharedAbort } from '../../core/shared-signal.ts';
import { monotonicMs, sleep, wallClockMs } from '../../core/clock.ts';
import { MillraceError, RedisReplyError } from '../../core/errors.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import { withRetry, type RedisConnection } from '../../redis/connection.ts';
import type { Lane } from './lane.ts';
import { acquireLease, hasGoneBack, noteNotDead, releaseLease, renewLeases } from './leases.ts';
import { announceMember, assignLanes, removeMember } from './members.ts';

export interface LaneKeeperOptions {
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
  readonly createLane: (
    fn: string,
    partition: number,
    leaseValue: string,
    presumedDead: string,
    consumer: string,
    heir: boolean,
  ) => Lane;
  /** It runs from now on: ring it. */
  readonly opened: (lane: Lane) => void;
  readonly closed: (lane: Lane) => void;
  readonly log: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields: Record<string, unknown>,
  ) => void;
}

const placeOf = (fn: string, partition: number, consumer: string): string =>
  `${laneName(fn, consumer)}/${partition}`;

export class LaneKeeper {
  readonly #options: LaneKeeperOptions;
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
  #loop: Promise<void> | null = null;
  readonly #done = sharedAbort();

  constructor(options: LaneKeeperOptions) {
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
        const place = placeOf(fn, partition, OWNER);
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
    await this.#look();
    this.#loop = this.#keep();
  }

  /**
   * Lets the turns under way end, gives the leases back. Whoever aborts the lanes meanwhile makes
   * it quicker.
   */
  async stop(): Promise<void> {
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
    // Until here the leases were kept: a long turn's commit must not be refused because of a drain.
    this.#done.abort();
    await this.#loop;
    await Promise.all([left, ...this.#judging]);
    this.#lanes.clear();
  }

  async #release(lane: Lane): Promise<void> {
    this.#givenBack.add(lane);
    if (lane.consumer !== OWNER && (await lane.retire())) return;
    await releaseLease(
      this.#options.connection,
      this.#options.keys,
      lane.partition,
      lane.fn,
      lane.leaseValue,
      lane.consumer,
    );
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
    if (rewound >= Number(leaseValue.slice(leaseValue.lastIndexOf(':') + 1))) {
      log(
        'info',
        'lease lost to a rewind: what was under way is thrown away, the lane goes on from there',
        { function: fn, partition },
      );
      return;
    }
    this.#losses++;
    log('warn', 'lease lost: what was under way is thrown away', { function: fn, partition });
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
        this.#options.log('warn', 'lease could not be given back: it ends by itself', {
          function: lane.fn,
          partition: lane.partition,
          err: error,
        }),
      )
      .then(() => {
        this.#tellLost(lane);
        this.#lanes.delete(placeOf(lane.fn, lane.partition, lane.consumer));
        this.#closing.delete(lane);
      });
  }

  /** Who serves what now; gives back what is not ours any more, asks for what is. */
  async #look(): Promise<void> {
    const { connection, keys, functions, dispatcher, leaseTtlMs, partitions, log, stopping } =
      this.#options;
    this.#freeInMs = Infinity;
    this.#elsewhere.clear();
    await Promise.all(
      functions.map(async (fn) => {
        const members = await withRetry(
          () => announceMember(connection, keys, fn, dispatcher, leaseTtlMs),
          { signal: stopping, deadlineMs: 10_000 },
        );
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
    const wanted: Promise<void>[] = [];
    for (const fn of functions) {
      const owners = this.#assigned.get(fn)?.owners ?? [];
      for (let partition = 0; partition < partitions; partition++) {
        const lane = this.#lanes.get(placeOf(fn, partition, OWNER));
        const ours = owners[partition] === dispatcher;
        if (lane && !ours && !this.#closing.has(lane)) this.#close(lane);
        if (!lane && ours) wanted.push(this.#claim(fn, partition, OWNER));
        if (this.#options.competing(fn)) wanted.push(this.#help(fn, partition, ours, lane));
      }
    }
    await Promise.all(wanted);
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
    const helper = this.#lanes.get(placeOf(fn, partition, dispatcher));
    if (!ours) {
      for (const lane of this.#lanes.values()) {
        if (lane.heir && lane.fn === fn && lane.partition === partition && !this.#closing.has(lane))
          this.#close(lane);
      }
      if (!helper) await this.#claim(fn, partition, dispatcher);
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
      if (!this.#lanes.has(placeOf(fn, partition, name)))
        await this.#claim(fn, partition, name, true);
    }
  }

  async #claim(fn: string, partition: number, consumer: string, heir = false): Promise<void> {
    const { connection, keys, dispatcher, leaseTtlMs, stopping, createLane, opened } =
      this.#options;
    let askedMs = 0;
    const answer = await withRetry(
      () => {
        askedMs = monotonicMs();
        return acquireLease(connection, keys, partition, fn, dispatcher, leaseTtlMs, consumer);
      },
      { signal: stopping, deadlineMs: 10_000 },
    );
    if (!('value' in answer)) {
      this.#elsewhere.add(placeOf(fn, partition, consumer));
      this.#freeInMs = Math.min(this.#freeInMs, answer.freeInMs);
      return;
    }
    if (stopping.aborted) return;
    const lane = createLane(fn, partition, answer.value, answer.presumedDead, consumer, heir);
    this.#lanes.set(placeOf(fn, partition, consumer), lane);
    lane.leaseHeld(askedMs + leaseTtlMs);
    opened(lane);
    lane.start();
  }
}
