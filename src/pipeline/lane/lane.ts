/**
 * One lane: a function's events of one partition, taken, run and committed turn after turn.
 *
 *   wait for work → a slot → take → batch → run → commit → again
 *
 * A turn does not wait for slow handlers: they run beside the next ones (in-flight.ts), and a turn
 * of its own commits how they end.
 *
 * States: `running` until its lease is lost or stop() is called; a turn under way is then finished
 * (stop) or thrown away (lease lost: its commit would be refused).
 *
 * Owned here: the turn counter, the set of parked units, the wish to look again. Everything that
 * must survive is in Redis.
 */
import { sharedAbort } from '../../core/shared-signal.ts';
import { monotonicMs, sleep, wallClockMs } from '../../core/clock.ts';
import { EMIT_LIMITS } from '../../core/emitted.ts';
import { GroupLostError, MillraceError, SetupError } from '../../core/errors.ts';
import { OWNER, type FunctionSpec } from '../../core/function-spec.ts';
import type { EventRef } from '../../core/thread-protocol.ts';
import { CELL } from '../../core/progress-cells.ts';
import { identityOfEvent } from '../../wire/event-identity.ts';
import { decodeParked } from '../../wire/parked.ts';
import { createBatch, type Batch } from '../batch/batch.ts';
import type { CommitPlan, CommitReply } from '../commit/commit.ts';
import type { CrashSearch } from '../ownership/crash-search.ts';
import type { LaneStages } from './lane-stages.ts';
import { withRepeats } from '../inbox/inbox.ts';
import { LaneProgress } from './lane-progress.ts';
import type { Bell } from '../read/doorbell.ts';
import type { ReadBudget } from '../read/lane-reader.ts';
import {
  recordOf,
  unitOf,
  type BatchResult,
  type Ended,
  type RunControl,
  type Running,
} from '../run/run-isolating.ts';
import { StartControl } from '../run/start-control.ts';
import { withoutUntouched } from '../run/untouched.ts';
import {
  IN_FLIGHT,
  InFlights,
  OpenBatch,
  parkedForMs,
  type InFlight,
  type SettledBatch,
} from './in-flight.ts';

/** A handler of this turn's batch that goes on beside the next turns. */
interface Leaving {
  readonly unit: string;
  readonly one: Running;
  readonly attempt: number;
  /** Server's clock. */
  readonly sinceMs: number;
}

export interface LaneOptions {
  readonly spec: FunctionSpec;
  readonly partition: number;
  readonly leaseValue: string;
  /**
   * Default: the lane's owner. Others are helpers (ordering 'none'): they leave the retries to the
   * owner.
   */
  readonly consumer?: string;
  /** In place of a helper that is gone: settles what is pending for it, and retires it. */
  readonly heir?: boolean;
  readonly streamKeys: readonly string[];
  /** Most bytes of a batch. */
  readonly batchBytes: number;
  /** Most events of a batch. */
  readonly batchEvents: number;
  /** TTL of the lease. */
  readonly leaseTtlMs: number;
  /** A batch should keep a thread about this long. */
  readonly batchMs: number;
  /** Look for work at least this often, whatever the doorbell says. */
  readonly pollMs: number;
}

const RETRY_UNITS = 64;
const SEARCH_EVENTS = 16;
/** Rows of a view that a turn should read and write, in bytes. */
const ROW_BYTES = 4 * 1024 * 1024;
/** With so many events parked that were only not started, a lane reads nothing new. */
const MOST_LEFT = 1000;
/**
 * A look that finds so many events is followed by another one a few ms later, without waiting for
 * the doorbell.
 */
const HOT_EVENTS = 8;
const BACKOFF_MS = { min: 50, max: 2000 };

export class Lane implements Bell {
  readonly streamKeys: readonly string[];
  readonly #options: LaneOptions;
  readonly #stages: LaneStages;
  /** Units that are parked, and how many events wait in each. */
  readonly #parked = new Map<string, number>();
  #parkedEvents = 0;
  /** Of these, where nothing has failed: their events were not started in their turn. */
  readonly #left = new Set<string>();
  readonly #control = new StartControl();
  #full = false;
  readonly #stop = sharedAbort();
  readonly #abandon = sharedAbort();
  #turn = 0;
  /** Id of the last turn that is known to be committed. */
  /**
   * Keys of indexes that are none, of which the log has been told. At most as many as the view has
   * indexes.
   */
  readonly #noIndexes = new Set<string>();
  #committed = '';
  #startOver = false;
  /** Wall clock; null: its function's setup has not failed, or works again. */
  #setupFailingSince: number | null = null;
  /** Redis has gone back in time since rows were loaded. */
  #loadAnew = false;
  #rings = 1;
  #seenRings = 0;
  #waiting: (() => void) | null = null;
  #dueTimer: NodeJS.Timeout | null = null;
  #loop: Promise<void> | null = null;
  #lost = false;
  #retired = false;
  #hot = false;
  #search: CrashSearch | null = null;
  #msPerEvent = 0;
  /** Bytes of rows, read and written, per event: follows a rise at once. */
  #rowBytesPerEvent = 0;
  /** Bytes emitted per event. */
  #emittedPerEvent = 0;
  /** It has emitted to other partitions. */
  #fillsOutbox = false;
  readonly #inFlight = new InFlights(() => this.ring());
  /** The server's clock minus ours. */
  #serverAheadMs = 0;
  readonly progress: LaneProgress;
  readonly #runControl: RunControl;

  constructor(options: LaneOptions, stages: LaneStages) {
    this.#options = options;
    this.#stages = stages;
    this.streamKeys = options.streamKeys;
    this.progress = new LaneProgress(options.spec.timeoutMs);
    const [control, progress] = [this.#control, this.progress];
    this.#runControl = {
      turnMs: control.turnMs,
      get mayStart() {
        return control.mayStart;
      },
      observe(cells, events) {
        control.observe(cells, events);
        progress.observe(cells, events);
      },
      beside: (cells, ended) => control.beside(cells, ended),
    };
  }

  get fn(): string {
    return this.#options.spec.name;
  }
  get partition(): number {
    return this.#options.partition;
  }
  get consumer(): string {
    return this.#options.consumer ?? OWNER;
  }
  get heir(): boolean {
    return this.#options.heir ?? false;
  }
  get leaseValue(): string {
    return this.#options.leaseValue;
  }
  get idle(): boolean {
    return this.#waiting !== null;
  }
  get hot(): boolean {
    return this.#hot;
  }
  /** Id of its last committed turn; '' before the first. */
  get committed(): string {
    return this.#committed;
  }
  /** The lease is gone: another dispatcher owns the lane. */
  get lost(): boolean {
    return this.#lost;
  }
  /**
   * Address of the event that runs marked in a search for what kills dispatchers, '' without one.
   */
  get marked(): string {
    return this.#search?.marked ?? '';
  }
  /** As an heir it has nothing left to do; its consumer and its lease are gone. */
  get retired(): boolean {
    return this.#retired;
  }

  /**
   * Its lease lasts until then, by monotonicMs(), whatever Redis does: one TTL after the request
   * was sent that prolonged it.
   */
  leaseHeld(untilMs: number): void {
    this.#control.extend(untilMs);
  }

  /** Handlers that run: of its batch, and beside its turns. */
  get handlers(): number {
    return this.#control.running + this.#inFlight.running;
  }

  ring(): void {
    this.#rings++;
    this.#waiting?.();
  }

  /**
   * Redis has forgotten the last commit (power loss, failover): what this lane remembers belongs to
   * a time that never was. From the next turn on it goes by what Redis holds, beginning with its
   * own pending list.
   */
  startOver(): void {
    if (this.#startOver) return;
    this.#startOver = true;
    this.#stages.log(
      'error',
      'LOSS: Redis has forgotten the last commit of a lane (power loss, failover): starting over from what it holds',
      {
        function: this.fn,
        partition: this.partition,
      },
    );
    this.ring();
  }

  /** The next retry is due then, by the server's clock. */
  dueAt(dueMs: number | null, serverNowMs: number): void {
    if (this.consumer !== OWNER) return;
    if (this.#dueTimer) clearTimeout(this.#dueTimer);
    this.#dueTimer = null;
    if (dueMs === null || this.#stop.signal.aborted) return;
    const inMs = Math.min(Math.max(0, dueMs - serverNowMs), 60_000);
    this.#dueTimer = setTimeout(() => this.ring(), inMs + 1);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Starts no further event, commits what is done. Resolves when nothing is left. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#control.halt();
    this.#waiting?.();
    if (this.#dueTimer) clearTimeout(this.#dueTimer);
    await this.#loop;
  }

  /** Throws the turn under way away: it stays pending in Redis. */
  abandon(): void {
    this.#control.halt();
    this.#stop.abort();
    this.#abandon.abort();
    this.#waiting?.();
  }

  loseLease(): void {
    this.#lost = true;
    this.#control.lose();
    this.abandon();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let first = true;
    let fresh = true;
    while (!signal.aborted) {
      try {
        if (fresh) {
          const search = await this.#stages.beginSearch();
          fresh = false;
          if (search === 'stale') {
            this.loseLease();
            break;
          }
          this.#search = search;
          if (search) {
            this.#stages.log(
              'error',
              'dispatchers have died again and again at this place: what is pending runs one by one',
              {
                function: this.fn,
                partition: this.partition,
                suspect: search.suspect,
              },
            );
          }
          if (this.consumer === OWNER && (await this.#stages.releaseRunning()) === null) {
            this.loseLease();
            break;
          }
        }
        if (this.#startOver) {
          this.#loadAnew = true;
          // What they were parked by may be forgotten: then they are pending, and are not to run
          // twice at a time.
          await this.#inFlight.drop();
          this.#committed = '';
          this.#stages.reader.reset();
          first = true;
          // Or they still are: not until their time is over.
          if (this.consumer === OWNER && (await this.#stages.releaseRunning()) === null) {
            this.loseLease();
            break;
          }
          this.#startOver = false;
        }
        if (first) {
          await this.#countParked();
          first = false;
        }
        await this.#workToDo();
        await this.#roomInOutbox();
        if (signal.aborted) break;
        await this.#commitEnded();
        if (signal.aborted) break;
        this.progress.doing = 'waiting for a free slot';
        const slot = await this.#stages.share.acquire(this.fn);
        this.progress.gotOn();
        let busyMs = 0;
        try {
          if (!signal.aborted) busyMs = await this.#oneTurn();
        } finally {
          slot.release(busyMs);
        }
        this.progress.failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        this.progress.doing = 'failing';
        this.progress.lastError = (error as Error).message;
        // Unknown what was taken or committed: start over from what Redis holds.
        this.#stages.reader.reset();
        first = true;
        this.#rings++;
        const delayMs = Math.min(BACKOFF_MS.max, BACKOFF_MS.min * 2 ** this.progress.failures++);
        const expected = error instanceof MillraceError && error.retryable;
        this.#stages.log(
          expected && this.progress.failures < 5 ? 'warn' : 'error',
          'turn failed, trying again',
          {
            function: this.fn,
            partition: this.partition,
            delayMs,
            err: error,
          },
        );
        if (error instanceof SetupError) this.#setupFailed(error, delayMs);
        await sleep(delayMs, signal);
      }
    }
    await this.#land();
    this.progress.doing = 'idle';
    if (this.#dueTimer) clearTimeout(this.#dueTimer);
  }

  /** For whoever asks why nothing runs. */
  #setupFailed(error: SetupError, nextMs: number): void {
    const now = wallClockMs();
    this.#setupFailingSince ??= now;
    this.#stages.setupFailing({
      error: error.message,
      stack: error.stack ?? '',
      sinceMs: this.#setupFailingSince,
      atMs: now,
      nextMs: now + nextMs,
    });
  }

  /**
   * Until the lane is abandoned, what runs beside its turns may end and be committed. Then it stays
   * parked.
   */
  async #land(): Promise<void> {
    while (this.#inFlight.size > 0 && !this.#abandon.signal.aborted) {
      try {
        if (this.#inFlight.ended().length > 0) await this.#commitEnded();
        else if (this.#inFlight.running === 0) break;
        else
          await new Promise<void>((resolve) => (this.#waiting = resolve)).finally(
            () => (this.#waiting = null),
          );
      } catch (error) {
        this.#stages.log(
          'warn',
          'what slow handlers came to could not be committed, trying again',
          { function: this.fn, partition: this.partition, err: error },
        );
        await sleep(BACKOFF_MS.min, this.#abandon.signal);
      }
    }
    await this.#inFlight.drop();
  }

  /**
   * Resolves when the doorbell rang since the last look, a retry is due, or it is time to look
   * anyway.
   */
  #workToDo(): Promise<void> {
    if (this.#rings !== this.#seenRings) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(poll);
        this.#waiting = null;
        this.progress.made();
        resolve();
      };
      const poll = setTimeout(() => {
        this.#rings++;
        done();
      }, this.#options.pollMs);
      this.#waiting = done;
      this.progress.doing = 'idle';
      this.#stages.idle();
    });
  }

  /** Resolves when its events may emit to other partitions, or the lane is to stop. */
  async #roomInOutbox(): Promise<void> {
    while (this.#fillsOutbox && this.#stages.outboxFull() && !this.#stop.signal.aborted) {
      this.progress.doing = 'waiting for room in the outbox';
      await new Promise<void>((resolve) => (this.#waiting = resolve));
      this.#waiting = null;
    }
  }

  /** @returns ms its batch was in a pool thread */
  async #oneTurn(): Promise<number> {
    const { spec, partition, leaseValue } = this.#options;
    const { reader } = this.#stages;
    this.#seenRings = this.#rings;
    // The owner settles what a helper has parked: only Redis knows how much of it is left.
    if (this.#full && this.consumer !== OWNER) await this.#countParked();
    this.progress.doing = 'reading';

    const askedMs = monotonicMs();
    const budget = this.#budget();
    let taken = await reader.take(leaseValue, budget);
    // Its lease may have ended although nobody took the lane: Redis stood still, or this process.
    if (taken.kind === 'stale' && (await this.#stages.stillOurs()))
      taken = await reader.take(leaseValue, budget);
    if (taken.kind === 'ok') this.#control.extend(askedMs + this.#options.leaseTtlMs);
    if (taken.kind === 'stale') {
      this.loseLease();
      return 0;
    }
    if (taken.kind === 'nogroup') {
      this.#stages.log(
        'error',
        'LOSS: the consumer group is gone (FLUSHALL, failover, or somebody destroyed it); recreating it behind the last commit',
        {
          function: spec.name,
          partition,
          reply: taken.message,
        },
      );
      this.#loadAnew = true;
      await this.#stages.register();
      // Goes on after a pause that grows while groups get lost again and again.
      throw new GroupLostError(spec.name, partition, taken.message);
    }
    if (taken.more) this.#rings++;
    let events = 0;
    for (const entry of taken.entries) events += entry.count;
    this.#hot = events >= HOT_EVENTS;
    if (this.heir && reader.drained && taken.entries.length === 0) {
      await this.#retire();
      return 0;
    }
    if (taken.entries.length === 0 && taken.units.length === 0) {
      this.progress.made();
      this.dueAt(taken.nextDueMs, taken.serverNowMs);
      return 0;
    }

    this.#serverAheadMs = taken.serverNowMs - wallClockMs();
    // Overdue, and still running here: not to run twice at a time.
    const due = taken.units.filter((unit) => !this.#inFlight.has(unit));
    if (taken.entries.length === 0 && due.length === 0) {
      this.progress.made();
      this.dueAt(taken.nextDueMs, taken.serverNowMs);
      return 0;
    }
    for (const unit of due) if (!this.#parked.has(unit)) this.#park(unit, 0);
    const retries = due.length > 0 ? await this.#stages.fetchParked(due) : [];
    if (this.#control.halted) return 0;
    if (this.consumer === OWNER)
      for (const { unit, fresh } of retries) if (fresh) this.#left.add(unit);
    const read = createBatch(spec.name, partition, spec.on, retries, taken.entries);
    const batch = spec.view ? await this.#stages.load(read, this.#loadAnew) : read;
    this.#loadAnew = false;
    const blocked = spec.ordering === 'key' ? [...this.#parked.keys()] : [];

    const gone = taken.entries.filter((entry) => entry.gone).map((entry) => entry.id);
    if (gone.length > 0) this.#stages.lost({ kind: 'pending', entryIds: gone });

    this.progress.running();
    // Without order, units are ids of events.
    const beside = spec.dedupe && spec.ordering === 'none' ? [...this.#inFlight.units()] : [];
    const seen = spec.dedupe ? await this.#stages.lookUp(batch, beside) : null;
    const ran = await this.#stages
      .run(batch, {
        blocked,
        search: this.#search,
        control: this.#runControl,
        before: seen?.states ?? null,
      })
      .finally(() => {
        this.#runControl.observe(null, 0);
      });
    const result = seen && ran.kind === 'result' ? withRepeats(ran, seen) : ran;
    if (result.kind === 'result') this.progress.gotOn();
    if (result.kind === 'stopped') {
      if (this.#search?.leaseLost) this.loseLease();
      reader.reset();
      return 0;
    }
    if (result.kind === 'setup-failed') {
      throw new SetupError(spec.name, result.error);
    }
    if (this.#setupFailingSince !== null) {
      this.#setupFailingSince = null;
      this.#stages.setupFailing(null);
    }
    if (batch.rows) this.#weigh(batch, result.effects);
    const touched = withoutUntouched(batch, result);
    if (touched === null || !touched.whole) {
      // What was read and not started is read again.
      reader.reset();
      this.#rings++;
    }
    if (touched === null) return result.busyMs;
    const committed = await this.#commitTurn(touched.batch, touched.result);
    if (
      committed &&
      touched.whole &&
      this.#search &&
      !reader.pendingLeft &&
      due.length < SEARCH_EVENTS
    ) {
      // What the one before left behind has been passed.
      const search = this.#search;
      this.#search = null;
      await search.end();
    }
    if (touched.started > 0) {
      const emittedBytes = result.emitted.reduce((sum, { bytes }) => sum + bytes, 0);
      this.#emittedPerEvent +=
        (emittedBytes / touched.started - this.#emittedPerEvent) *
        (this.#emittedPerEvent === 0 ? 1 : 0.2);
      this.#msPerEvent +=
        (result.busyMs / touched.started - this.#msPerEvent) * (this.#msPerEvent === 0 ? 1 : 0.2);
    }
    return result.busyMs;
  }

  /**
   * Commits what is done; handlers that still run are left to run beside the lane's turns, or
   * waited for. @returns whether it is committed
   */
  async #commitTurn(batch: Batch, result: BatchResult): Promise<boolean> {
    if (!result.running) return this.#commit(batch, result, []);
    const leaving = this.#lost ? [] : this.#leaving(batch, result.running);
    const settled = await this.#settle(result, result.running, leaving);
    let committed = false;
    try {
      committed = settled !== null && (await this.#commit(batch, settled, leaving));
    } finally {
      // Not parked, so they may run again: not as long as they run.
      if (!committed) await Promise.all(leaving.map(({ one }) => one.ended));
    }
    if (settled === null) this.#stages.reader.reset();
    return committed;
  }

  /** Which of the handlers that still run are not waited for. */
  #leaving(batch: Batch, running: readonly Running[]): Leaving[] {
    const { ordering } = this.#options.spec;
    // A helper leaves parked lists to the owner; in a search everything runs one by one.
    if (
      this.consumer !== OWNER ||
      this.#search ||
      this.#inFlight.bytes + batch.bytes > IN_FLIGHT.bytes
    )
      return [];
    const leaving: Leaving[] = [];
    const units = new Set<string>();
    const nowMs = monotonicMs();
    for (const one of running) {
      const { ref } = one;
      const unit = ordering === 'key' ? ref.subject : ref.id;
      const known =
        units.has(unit) || this.#inFlight.has(unit) || (ref.entry >= 0 && this.#parked.has(unit));
      units.add(unit);
      if (known || this.#inFlight.size + leaving.length >= IN_FLIGHT.events) continue;
      const attempt = ref.entry < 0 ? decodeParked(recordOf(batch, ref.index)).attempts + 1 : 1;
      leaving.push({
        unit,
        one,
        attempt,
        sinceMs: wallClockMs() + this.#serverAheadMs - (nowMs - one.startedMs),
      });
    }
    return leaving;
  }

  /** Waits for the others. Null: the dispatcher has ended them. */
  async #settle(
    result: BatchResult,
    running: readonly Running[],
    leaving: readonly Leaving[],
  ): Promise<SettledBatch | null> {
    const leave = new Set(leaving.map(({ one }) => one));
    const settled = new OpenBatch(result);
    for (const { one } of leaving)
      settled.unsettled.push({
        ref: one.ref,
        delayMs: parkedForMs(this.#options.spec.timeoutMs),
        isolate: false,
      });
    for (const one of running) {
      if (!leave.has(one) && !settled.end(one.ref, await one.ended)) return null;
    }
    return settled.result();
  }

  /**
   * A turn of what has ended beside the turns.
   * @throws what a turn throws: nothing was committed, and nothing is forgotten
   */
  async #commitEnded(): Promise<void> {
    const ended = this.#inFlight.ended();
    if (ended.length === 0) return;
    const { spec, partition } = this.#options;
    this.progress.doing = 'committing';
    const fetched = await this.#stages.fetchParked(ended.map(({ unit }) => unit));
    // A unit that a letter has come to hold meanwhile is not among them.
    const heads = new Map(fetched.map(({ unit, records: [head] }) => [unit, head]));
    const valid: InFlight[] = [];
    ended.forEach((one) => {
      if (heads.get(one.unit)?.equals(one.record)) valid.push(one);
      else {
        // Lost with its list, or never parked because its entry had vanished.
        this.#inFlight.settle(one.unit);
        this.#stages.log(
          'warn',
          'what a slow handler came to is dropped: its event is not parked any more',
          { function: spec.name, partition, eventId: one.ref.id },
        );
      }
    });
    if (valid.length === 0) return;
    const batch = createBatch(
      spec.name,
      partition,
      spec.on,
      valid.map(({ unit, record }) => ({ unit, records: [record], isolate: false })),
      [],
    );
    const none: BatchResult = {
      kind: 'result',
      states: new Uint8Array(batch.events),
      failures: [],
      blocked: [],
      deadEntries: [],
      effects: [],
      emitted: [],
      ages: [],
      busyMs: 0,
      deaths: 0,
    };
    const settled = new OpenBatch(none);
    const identities: string[] = [];
    valid.forEach(({ record, ref, end }, index) => {
      const { index: indexInEntry, isolate, event, batchSource } = decodeParked(record);
      if (spec.dedupe) identities.push(identityOfEvent(event, batchSource));
      const at: EventRef = {
        ...ref,
        index,
        entry: -1,
        indexInEntry,
        offset: 0,
        length: record.length,
      };
      settled.end(
        at,
        end?.kind === 'again' ? { ...end, isolate: end.isolate || isolate } : (end as Ended),
      );
    });
    const ids = spec.dedupe ? { ids: identities } : {};
    await this.#commit(
      batch,
      { ...settled.result(), ...ids },
      [],
      valid.map(({ unit }) => unit),
    );
  }

  /**
   * @param leaving handlers that run beside the lane's turns from then on
   * @param landed units of those that do so no more
   * @returns whether it is committed
   */
  async #commit(
    batch: Batch,
    result: SettledBatch,
    leaving: readonly Leaving[],
    landed: readonly string[] = [],
  ): Promise<boolean> {
    const { spec, partition, leaseValue } = this.#options;
    this.progress.doing = 'committing';
    if (this.#lost) {
      this.#repeat(result);
      return false;
    }
    const ranMs = wallClockMs();
    const turnId = `${leaseValue.slice(leaseValue.lastIndexOf(':') + 1)}.${++this.#turn}`;
    const plan = this.#stages.plan(batch, result, {
      leaseValue,
      turnId: this.#committed === '' ? turnId : `${turnId} ${this.#committed}`,
      nowMs: ranMs + this.#serverAheadMs,
      parkedOf: (unit) => this.#parked.get(unit) ?? 0,
      isLeft: (unit) => this.#left.has(unit),
      inFlight: (unit) => this.#inFlight.has(unit),
      ...(leaving.length + landed.length > 0
        ? { running: this.#inFlight.describe(leaseValue, landed, leaving) }
        : {}),
    });
    const reply = await this.#stages.commit(plan, this.#abandon.signal).catch((error: unknown) => {
      // Not known to be committed: at a drain's end, or when Redis says nothing for good.
      if (this.#stop.signal.aborted) this.#repeat(result);
      throw error;
    });
    if (reply.kind !== 'ok') this.#repeat(result);
    if (reply.kind === 'stale') {
      this.loseLease();
      return false;
    }
    if (reply.kind === 'back') {
      this.startOver();
      return false;
    }
    if (reply.kind === 'refused') {
      this.#stages.lost({ kind: 'acknowledgement', entryIds: reply.missing });
      this.#stages.log(
        'error',
        'LOSS: entries were no longer pending at their acknowledgement; nothing of the turn was written, the others run again',
        {
          function: spec.name,
          partition,
          entries: reply.missing.slice(0, 20),
          count: reply.missing.length,
        },
      );
      this.#stages.reader.reset();
      this.#rings++;
      return false;
    }
    this.#committed = turnId;
    for (const unit of landed) this.#inFlight.settle(unit);
    const origin = { bytes: batch.bytes };
    for (const { unit, one, attempt, sinceMs } of leaving) {
      this.#inFlight.add({
        unit,
        attempt,
        sinceMs,
        ref: one.ref,
        ended: one.ended,
        end: null,
        batch: origin,
        record: plan.unsettled.get(one.ref.index) as Buffer,
      });
    }
    await this.#committedAs(plan, reply, result);
    this.#noteLeft(batch, result, plan, reply.emptied);
    const commitMs = wallClockMs() - ranMs;
    const ages = [...result.ages];
    for (let i = 0; i < ages.length; i += 2) ages[i] = (ages[i] as number) + commitMs;
    this.progress.made();
    this.#stages.turnDone({
      fn: spec.name,
      partition,
      done: plan.done,
      retried: plan.retried,
      dead: plan.dead,
      entries: batch.entries.length,
      ages,
      busyMs: result.busyMs,
    });
    return true;
  }

  /** What is known here once it is committed. */
  async #committedAs(
    plan: CommitPlan,
    reply: Extract<CommitReply, { kind: 'ok' }>,
    result: SettledBatch,
  ): Promise<void> {
    const { spec, partition } = this.#options;
    if (reply.outbox || (reply.repeated && result.emitted.length > 0)) {
      this.#fillsOutbox ||= reply.outbox !== null;
      this.#stages.relay(reply.outbox);
    }
    for (const [unit, growth] of plan.parked) this.#park(unit, growth);
    for (const unit of reply.emptied) {
      this.#parkedEvents -= this.#parked.get(unit) ?? 0;
      this.#parked.delete(unit);
    }
    // Which lists the first sending emptied is not known: ask.
    if (reply.repeated && plan.parked.size > 0) await this.#countParked();
    this.#checkParked();
    if (reply.missing.length > 0) {
      this.#stages.lost({ kind: 'acknowledgement', entryIds: reply.missing });
      this.#stages.log(
        'error',
        'LOSS: entries were no longer pending at their acknowledgement; what they would have caused was not applied',
        {
          function: spec.name,
          partition,
          entries: reply.missing.slice(0, 20),
          count: reply.missing.length,
        },
      );
    }
    for (const key of reply.noIndexes) this.#noIndex(key);
    if (plan.failed.length > 0) this.#stages.failed(plan.failed);
    this.dueAt(reply.nextDueMs, wallClockMs() + this.#serverAheadMs);
  }

  /** Said once: its entries are left out at each turn. */
  #noIndex(key: string): void {
    if (this.#noIndexes.has(key)) return;
    this.#noIndexes.add(key);
    const { spec, partition } = this.#options;
    this.#stages.log(
      'error',
      'a key of another type is where an index of the view should be: the rows are written, this index is not',
      {
        function: spec.name,
        partition,
        key,
        cure: "delete the key, raise the view's version, then millrace view rebuild",
      },
    );
  }

  /** What was done, and is not known to be committed. */
  #repeat({ states }: SettledBatch): void {
    let done = 0;
    for (const state of states) if (state === CELL.DONE) done++;
    if (done > 0) this.#stages.repeats(done);
  }

  /** Which units hold only what was not started. */
  #noteLeft(
    batch: Batch,
    result: SettledBatch,
    plan: CommitPlan,
    emptied: readonly string[],
  ): void {
    if (this.consumer !== OWNER) return;
    for (const unit of plan.left) this.#left.add(unit);
    if (this.#left.size === 0) return;
    for (const unit of emptied) this.#left.delete(unit);
    for (const { ref } of result.failures)
      if (ref.entry < 0) this.#left.delete(batch.retries[unitOf(batch, ref.index)]?.unit ?? '');
    // They are due at once.
    if (this.#left.size > 0) this.#rings++;
  }

  /** Resolves with false where entries are pending for its consumer. Not for the owner. */
  retire(): Promise<boolean> {
    return this.#stages.retire();
  }

  async #retire(): Promise<void> {
    this.#retired = await this.#stages.retire();
    if (this.#retired) return this.abandon();
    this.#stages.reader.reset();
    this.#rings++;
  }

  async #countParked(): Promise<void> {
    const found = await this.#stages.listParked();
    this.#parked.clear();
    this.#parkedEvents = 0;
    for (const [unit, events] of found) this.#park(unit, events);
    for (const unit of this.#left) if (!this.#parked.has(unit)) this.#left.delete(unit);
    this.#checkParked();
  }

  #park(unit: string, growth: number): void {
    const events = Math.max(0, (this.#parked.get(unit) ?? 0) + growth);
    this.#parkedEvents += events - (this.#parked.get(unit) ?? 0);
    this.#parked.set(unit, events);
  }

  #weigh(batch: Batch, effects: readonly Uint8Array[]): void {
    let bytes = batch.rows?.length ?? 0;
    for (const block of effects) bytes += block.length;
    this.#rowBytesPerEvent = Math.max(bytes / batch.events, this.#rowBytesPerEvent * 0.9);
  }

  /** At the bound nothing new is read, so that nothing more is parked; retries go on. */
  #checkParked(): void {
    const full = this.#parkedEvents >= this.#options.spec.maxParkedPerPartition;
    if (full === this.#full) return;
    this.#full = full;
    this.#rings++;
    const fields = {
      function: this.fn,
      partition: this.partition,
      parked: this.#parkedEvents,
      subjects: this.#parked.size,
      limit: this.#options.spec.maxParkedPerPartition,
    };
    if (full)
      this.#stages.log(
        'error',
        'too many events are parked (maxParkedPerPartition): the lane reads nothing new until there are fewer',
        fields,
      );
    else this.#stages.log('info', 'fewer events are parked: the lane reads on', fields);
  }

  #budget(): ReadBudget {
    const { batchEvents, batchBytes, batchMs } = this.#options;
    const byTime = this.#msPerEvent > 0 ? Math.max(1, Math.floor(batchMs / this.#msPerEvent)) : 256;
    const retryUnits = this.consumer === OWNER ? RETRY_UNITS + this.#inFlight.size : 0;
    // Behind an event whose handler runs, no more may queue up than may be parked of a subject.
    let room = Infinity;
    for (const unit of this.#inFlight.units())
      room = Math.min(room, this.#options.spec.maxParkedPerSubject - (this.#parked.get(unit) ?? 0));
    let left = 0;
    for (const unit of this.#left) left += this.#parked.get(unit) ?? 0;
    if (this.#full || room <= 0 || left >= MOST_LEFT) return { events: 0, bytes: 0, retryUnits };
    // In a search every event is found and run by itself: few at a time.
    if (this.#search)
      return {
        events: SEARCH_EVENTS,
        bytes: batchBytes,
        retryUnits: Math.min(retryUnits, SEARCH_EVENTS),
      };
    const byRows =
      this.#rowBytesPerEvent > 0
        ? Math.max(1, Math.floor(ROW_BYTES / this.#rowBytesPerEvent))
        : Infinity;
    // What a turn emits is bounded too: events beyond that would be held, one by one.
    const byEmits =
      this.#emittedPerEvent > 0
        ? Math.max(1, Math.floor(EMIT_LIMITS.turnBytes / 2 / this.#emittedPerEvent))
        : Infinity;
    return {
      events: Math.min(batchEvents, byTime, byRows, byEmits, room),
      bytes: batchBytes,
      retryUnits,
    };
  }
}
