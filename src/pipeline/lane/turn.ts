/**
 * One turn of a lane, a line of steps:
 *
 *   take → due retries → load → inbox → run → commit (plan, send, learn) → settle
 *
 * Each step hands its result to the next one, or says how the turn is over. A step that throws has
 * failed the turn: its reads and its commit have an unknown outcome.
 */
import { monotonicMs, wallClockMs } from '../../core/clock.ts';
import { SetupError } from '../../core/errors/handler-errors.ts';
import { GroupLostError } from '../../core/errors/server-errors.ts';
import { createBatch, type Batch, type RetryUnit, type StreamEntry } from '../batch/batch.ts';
import { withRepeats, type Seen } from '../inbox/inbox.ts';
import type { Taken } from '../read/lane-reader.ts';
import type { BatchResult } from '../run/batch-result.ts';
import { withoutUntouched, type Touched } from '../run/untouched.ts';
import type { CommitEnd, LaneCommits } from './lane-commit.ts';
import type { LaneContext } from './lane-context.ts';
import type { Recovery } from './recovery.ts';
import type { SetupWatch } from './setup-watch.ts';
import { SEARCH_EVENTS } from './turn-budget.ts';

/**
 * A turn that was over before its commit:
 * - no work: no event was taken that may run now
 * - cut off: the lane was told to start nothing, or the dispatcher ended the run
 * - lease lost
 * - heir done: the helper's pending entries are settled. The helper is retired, unless entries came
 *   up meanwhile
 */
interface Over {
  readonly kind: 'no work' | 'cut off' | 'lease lost' | 'heir done';
}

export type TurnEnd =
  | Over
  | {
      readonly kind: 'committed' | 'not committed';
      /** Time of its batch in pool threads, ms. */
      readonly busyMs: number;
    };

interface Work {
  readonly kind: 'work';
  readonly entries: readonly StreamEntry[];
  /** Parked units whose retry is due. */
  readonly due: readonly string[];
}

interface Retries {
  readonly kind: 'retries';
  readonly units: readonly RetryUnit[];
}

interface Ran {
  readonly kind: 'ran';
  readonly result: BatchResult;
  /** The batch without the events that were not started. Null: no event was started. */
  readonly touched: Touched<BatchResult> | null;
}

/**
 * Number of events in a look from which on the lane is hot. A hot lane looks again a few ms later,
 * without waiting for an entry.
 */
const HOT_EVENTS = 8;

export class Turns {
  readonly #lane: LaneContext;
  readonly #recovery: Recovery;
  readonly #commits: LaneCommits;
  readonly #setup: SetupWatch;
  #hot = false;

  constructor(lane: LaneContext, recovery: Recovery, commits: LaneCommits, setup: SetupWatch) {
    this.#lane = lane;
    this.#recovery = recovery;
    this.#commits = commits;
    this.#setup = setup;
  }

  /** Whether the last look found many events. */
  get hot(): boolean {
    return this.#hot;
  }

  /** Takes one turn. @throws GroupLostError, SetupError, UnknownOutcomeError, RedisReplyError */
  async take(): Promise<TurnEnd> {
    const work = await this.#take();
    if (work.kind !== 'work') return work;
    const retries = await this.#dueRetries(work.due);
    if (retries.kind !== 'retries') return retries;
    const batch = await this.#load(work.entries, retries.units);
    const seen = await this.#inbox(batch);
    const ran = await this.#run(batch, seen);
    if (ran.kind !== 'ran') return ran;
    const commit = await this.#commit(ran);
    return this.#settle(work, ran, commit);
  }

  async #take(): Promise<Work | Over> {
    const { stages, options, budget, parked, inFlight, progress, bell } = this.#lane;
    const { reader } = stages;
    bell.look();
    // The owner settles the lists that a helper has parked: only Redis knows how many are left.
    if (parked.full && !this.#lane.isOwner) await this.#lane.countParked();
    progress.doing = 'reading';
    const askedMs = monotonicMs();
    const most = budget.next(parked, inFlight, this.#recovery.search !== null);
    let taken = await reader.take(options.leaseValue, most);
    // The lease may have ended although nobody took the lane: Redis, or this process, stood still.
    if (taken.kind === 'stale' && (await stages.stillOurs()))
      taken = await reader.take(options.leaseValue, most);
    if (taken.kind === 'stale') {
      this.#lane.loseLease();
      return { kind: 'lease lost' };
    }
    if (taken.kind === 'nogroup') return this.#registerAgain(taken.message);
    this.#lane.control.extend(askedMs + options.leaseTtlMs);
    return this.#sort(taken);
  }

  async #registerAgain(reply: string): Promise<never> {
    const { spec, partition } = this.#lane.options;
    this.#lane.log(
      'error',
      'LOSS: the consumer group is gone (FLUSHALL, failover, or somebody destroyed it); recreating it behind the last commit',
      { reply },
    );
    this.#recovery.rowsLost();
    await this.#lane.stages.register();
    // The lane goes on after a pause, which grows while groups are lost again and again.
    throw new GroupLostError(spec.name, partition, reply);
  }

  /** Separates events that may run now from those that may not. */
  #sort(taken: Extract<Taken, { kind: 'ok' }>): Work | Over | Promise<Over> {
    const { stages, options, budget, bell, inFlight, progress } = this.#lane;
    const { entries, units, serverNowMs, nextDueMs } = taken;
    if (taken.more) bell.ring();
    let events = 0;
    let bytes = 0;
    for (const entry of entries) {
      events += entry.count;
      bytes += entry.bytes.length;
    }
    this.#hot = events >= HOT_EVENTS;
    budget.looked(events, bytes, !taken.more);
    if (options.heir && stages.reader.drained && entries.length === 0) return this.#retire();
    // A unit that is overdue and still runs here must not run twice at a time.
    const due = units.filter((unit) => !inFlight.has(unit));
    if (entries.length + units.length > 0) this.#lane.serverAheadMs = serverNowMs - wallClockMs();
    if (entries.length + due.length > 0) {
      this.#lane.times = { takenMs: serverNowMs, waitMs: 0 };
      return { kind: 'work', entries, due };
    }
    progress.made();
    this.#lane.dueAt(nextDueMs, serverNowMs);
    return this.#noWork();
  }

  async #noWork(): Promise<Over> {
    if (this.#allRan()) await this.#recovery.pass();
    return { kind: 'no work' };
  }

  /** Whether nothing is left of the lane's pending list, nor runs beside its turns. */
  #allRan(): boolean {
    const { stages, inFlight } = this.#lane;
    return !stages.reader.pendingLeft && inFlight.size === 0;
  }

  async #retire(): Promise<Over> {
    const { stages, state, bell } = this.#lane;
    if (await stages.retire()) {
      state.endAs('retired');
      this.#lane.abandon();
    } else {
      stages.reader.reset();
      bell.ring();
    }
    return { kind: 'heir done' };
  }

  async #dueRetries(due: readonly string[]): Promise<Retries | Over> {
    const { stages, parked, control, isOwner } = this.#lane;
    for (const unit of due) if (!parked.has(unit)) parked.add(unit, 0);
    const units = due.length > 0 ? await stages.fetchParked(due) : [];
    if (control.halted) return { kind: 'cut off' };
    if (isOwner) for (const { unit, fresh } of units) if (fresh) parked.leave(unit);
    return { kind: 'retries', units };
  }

  async #load(entries: readonly StreamEntry[], retries: readonly RetryUnit[]): Promise<Batch> {
    const { stages, options, progress } = this.#lane;
    const { spec, partition } = options;
    const read = createBatch(spec.name, partition, spec.on, retries, entries);
    const batch = spec.view ? await stages.load(read, this.#recovery.rowsVoid) : read;
    this.#recovery.rowsLoaded();
    const gone = entries.filter((entry) => entry.gone).map((entry) => entry.id);
    if (gone.length > 0) stages.lost({ kind: 'pending', entryIds: gone });
    progress.running();
    return batch;
  }

  /** Null: the function has no inbox. */
  async #inbox(batch: Batch): Promise<Seen | null> {
    const { stages, options, inFlight } = this.#lane;
    if (!options.spec.dedupe) return null;
    // With ordering 'none' the units are ids of events.
    return stages.lookUp(batch, options.spec.ordering === 'none' ? [...inFlight.units()] : []);
  }

  async #run(batch: Batch, seen: Seen | null): Promise<Ran | Over> {
    const { stages, options, parked, runControl, progress, budget, bell } = this.#lane;
    const { search } = this.#recovery;
    const handedMs = monotonicMs();
    const ran = await stages
      .run(batch, {
        blocked: options.spec.ordering === 'key' ? parked.units() : [],
        search,
        control: runControl,
        before: seen?.states ?? null,
      })
      .finally(() => runControl.observe(null, 0));
    if (ran.kind === 'setup-failed') throw new SetupError(options.spec.name, ran.error);
    if (ran.kind === 'stopped') {
      if (search?.leaseLost) this.#lane.loseLease();
      stages.reader.reset();
      return { kind: 'cut off' };
    }
    progress.gotOn();
    this.#setup.worked();
    if (this.#lane.times) this.#lane.times.waitMs = monotonicMs() - handedMs - ran.busyMs;
    const result = seen ? withRepeats(ran, seen) : ran;
    if (batch.rows) budget.weigh(batch, result.effects);
    const touched = withoutUntouched(batch, result);
    if (touched === null || !touched.whole) {
      // Events that were read and not started are read again.
      stages.reader.reset();
      bell.ring();
    }
    return { kind: 'ran', result, touched };
  }

  async #commit({ touched }: Ran): Promise<CommitEnd> {
    return touched === null ? 'nothing' : this.#commits.commitBatch(touched.batch, touched.result);
  }

  /** Learns from the turn. Ends a search that has passed all pending events. */
  async #settle({ due }: Work, { result, touched }: Ran, commit: CommitEnd): Promise<TurnEnd> {
    const { budget } = this.#lane;
    const { busyMs } = result;
    if (touched === null) return { kind: 'not committed', busyMs };
    const committed = commit === 'committed';
    const passed = this.#allRan() && due.length < SEARCH_EVENTS;
    if (committed && touched.whole && passed) await this.#recovery.pass();
    if (touched.started > 0) {
      const emitted = result.emitted.reduce((sum, { bytes }) => sum + bytes, 0);
      budget.ran(touched.started, busyMs, emitted);
    }
    return { kind: committed ? 'committed' : 'not committed', busyMs };
  }
}
