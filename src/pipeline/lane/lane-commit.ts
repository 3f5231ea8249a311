/**
 * Commits a lane's turns: leaves or awaits slow handlers, plans, sends, and learns from the reply.
 *
 * Owned here: the reports that are made only once, and whether the lane fills an outbox.
 */
import { wallClockMs } from '../../core/clock.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { Batch } from '../batch/batch.ts';
import type { CommitPlan } from '../commit/commit-plan.ts';
import type { CommitReply } from '../commit/commit.ts';
import { EventLocator } from '../run/event-locator.ts';
import type { BatchResult } from '../run/batch-result.ts';
import type { InFlight, SettledBatch } from './in-flight.ts';
import type { LaneContext } from './lane-context.ts';
import { queueTimes } from './queue-times.ts';
import type { Recovery } from './recovery.ts';
import { batchOfEnded, chooseLeaving, settle, type Leaving } from './slow-handlers.ts';

/**
 * - committed
 * - nothing: there was nothing to commit
 * - cut off: the dispatcher has ended handlers that the turn waited for
 * - refused: entries were no longer pending. Nothing was written; the other entries run again
 * - gone back: Redis had forgotten the previous commit
 * - lease lost
 */
export type CommitEnd =
  'committed' | 'nothing' | 'cut off' | 'refused' | 'gone back' | 'lease lost';

type OkReply = Extract<CommitReply, { kind: 'ok' }>;

/** Changes that a commit brings to the handlers beside the turns. */
interface Moves {
  /** Handlers that run beside the turns from this commit on. */
  readonly leaving: readonly Leaving[];
  /** Units whose handlers ran beside the turns and have ended. */
  readonly landed: readonly string[];
}

const STAY: Moves = { leaving: [], landed: [] };

export class LaneCommits {
  readonly #lane: LaneContext;
  readonly #recovery: Recovery;
  /** Keys that are no indexes and were logged. At most as many as the view has indexes. */
  readonly #noIndexes = new Set<string>();
  #fillsOutbox = false;

  constructor(lane: LaneContext, recovery: Recovery) {
    this.#lane = lane;
    this.#recovery = recovery;
  }

  /** Whether the lane has emitted to other partitions, and the outbox is full. */
  get outboxFull(): boolean {
    return this.#fillsOutbox && this.#lane.stages.outboxFull();
  }

  /** Commits a batch. Leaves handlers that still run beside the turns, or waits for them. */
  async commitBatch(batch: Batch, result: BatchResult): Promise<CommitEnd> {
    if (!result.running) return this.#commit(batch, result, STAY);
    const leaving = this.#mayLeave() ? chooseLeaving(this.#lane, batch, result.running) : [];
    const settled = await settle(this.#lane, result, result.running, leaving);
    let end: CommitEnd = 'cut off';
    try {
      if (settled !== null) end = await this.#commit(batch, settled, { leaving, landed: [] });
    } finally {
      // Their events are not parked, so they run again. These handlers must have ended before.
      if (end !== 'committed') await Promise.all(leaving.map(({ one }) => one.ended));
    }
    if (end === 'cut off') this.#lane.stages.reader.reset();
    return end;
  }

  /**
   * Commits the outcomes of handlers that have ended beside the turns.
   * @throws the errors of a turn: nothing was committed, and nothing is forgotten
   */
  async commitEnded(): Promise<CommitEnd> {
    const { inFlight, progress, stages } = this.#lane;
    const ended = inFlight.ended();
    if (ended.length === 0) return 'nothing';
    this.#lane.times = null;
    progress.doing = 'committing';
    const fetched = await stages.fetchParked(ended.map(({ unit }) => unit));
    // A unit that a dead letter holds meanwhile is not among the fetched ones.
    const heads = new Map(fetched.map(({ unit, records: [head] }) => [unit, head]));
    const valid = ended.filter((one) => {
      const parked = heads.get(one.unit)?.equals(one.record) ?? false;
      if (!parked) this.#forget(one);
      return parked;
    });
    if (valid.length === 0) return 'nothing';
    const { batch, result } = batchOfEnded(this.#lane, valid);
    return this.#commit(batch, result, { leaving: [], landed: valid.map(({ unit }) => unit) });
  }

  /** A helper leaves parked lists to the owner. In a search all events run one by one. */
  #mayLeave(): boolean {
    return this.#lane.isOwner && !this.#lane.state.lost && this.#recovery.search === null;
  }

  /** The record was lost with its list, or was never parked because its entry had vanished. */
  #forget({ unit, ref }: InFlight): void {
    this.#lane.inFlight.settle(unit);
    this.#lane.log(
      'warn',
      'the outcome of a slow handler is dropped: its event is no longer parked',
      { eventId: ref.id },
    );
  }

  async #commit(batch: Batch, result: SettledBatch, moves: Moves): Promise<CommitEnd> {
    const { progress, state, stages, turnIds, abandoned, stopping } = this.#lane;
    progress.doing = 'committing';
    if (state.lost) {
      this.#repeat(result);
      return 'lease lost';
    }
    const ranMs = wallClockMs();
    const turnId = turnIds.next();
    const plan = this.#plan(batch, result, moves, turnId);
    const reply = await stages.commit(plan, abandoned.signal).catch((error: unknown) => {
      // The commit's outcome stays unknown: the drain is over, or Redis does not answer any more.
      if (stopping.signal.aborted) this.#repeat(result);
      throw error;
    });
    if (reply.kind !== 'ok') return this.#notCommitted(reply, result);
    turnIds.committed = turnId;
    this.#move(batch, plan, moves);
    await this.#learn(plan, reply, result);
    this.#noteLeft(batch, result, plan, reply.emptied);
    progress.made();
    this.#tellDone(batch, result, plan, wallClockMs() - ranMs);
    return 'committed';
  }

  #plan(batch: Batch, result: SettledBatch, moves: Moves, turnId: string): CommitPlan {
    const { stages, options, turnIds, parked, inFlight } = this.#lane;
    const { leaseValue } = options;
    const { leaving, landed } = moves;
    return stages.plan(batch, result, {
      leaseValue,
      turnId: turnIds.withLast(turnId),
      nowMs: this.#lane.serverNowMs(),
      parkedOf: (unit) => parked.of(unit),
      isLeft: (unit) => parked.isLeft(unit),
      inFlight: (unit) => inFlight.has(unit),
      running:
        leaving.length + landed.length > 0
          ? inFlight.describe(leaseValue, landed, leaving)
          : undefined,
    });
  }

  #notCommitted(reply: Exclude<CommitReply, OkReply>, result: SettledBatch): CommitEnd {
    this.#repeat(result);
    switch (reply.kind) {
      case 'stale':
        this.#lane.loseLease();
        return 'lease lost';
      case 'back':
        this.#recovery.goBack();
        return 'gone back';
      case 'refused':
        this.#sayMissing(
          reply.missing,
          'LOSS: entries were no longer pending at their acknowledgement; nothing of the turn was written, the others run again',
        );
        this.#lane.stages.reader.reset();
        this.#lane.bell.ring();
        return 'refused';
    }
  }

  #move(batch: Batch, plan: CommitPlan, { leaving, landed }: Moves): void {
    const { inFlight } = this.#lane;
    for (const unit of landed) inFlight.settle(unit);
    const origin = { bytes: batch.bytes };
    for (const { unit, one, attempt, sinceMs } of leaving) {
      inFlight.add({
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
  }

  /** Brings the lane's memory in line with the commit. */
  async #learn(plan: CommitPlan, reply: OkReply, result: SettledBatch): Promise<void> {
    const { stages, parked } = this.#lane;
    if (reply.outbox || (reply.repeated && result.emitted.length > 0)) {
      this.#fillsOutbox ||= reply.outbox !== null;
      stages.relay(reply.outbox);
    }
    for (const [unit, growth] of plan.parked) parked.add(unit, growth);
    for (const unit of reply.emptied) parked.remove(unit);
    // The lists that the first sending emptied are not known, so Redis is asked.
    if (reply.repeated && plan.parked.size > 0) await this.#lane.countParked();
    parked.check();
    if (reply.missing.length > 0)
      this.#sayMissing(
        reply.missing,
        'LOSS: entries were no longer pending at their acknowledgement; their outcomes were not applied',
      );
    for (const key of reply.noIndexes) this.#sayNoIndex(key);
    if (plan.failed.length > 0) stages.failed(plan.failed);
    this.#lane.dueAt(reply.nextDueMs, this.#lane.serverNowMs());
  }

  /** Notes the units that hold only events which were not started. */
  #noteLeft(
    batch: Batch,
    result: SettledBatch,
    plan: CommitPlan,
    emptied: readonly string[],
  ): void {
    const { parked, isOwner, bell } = this.#lane;
    if (!isOwner) return;
    for (const unit of plan.left) parked.leave(unit);
    if (!parked.anyLeft) return;
    for (const unit of emptied) parked.unleave(unit);
    let locator: EventLocator | null = null;
    for (const { ref } of result.failures) {
      if (ref.entry >= 0) continue;
      locator ??= new EventLocator(batch);
      parked.unleave(batch.retries[locator.unitOf(ref.index)]?.unit ?? '');
    }
    // These units are due at once.
    if (parked.anyLeft) bell.ring();
  }

  #tellDone(batch: Batch, result: SettledBatch, plan: CommitPlan, commitMs: number): void {
    const { stages, options, times } = this.#lane;
    this.#lane.times = null;
    const ages = [...result.ages];
    for (let i = 0; i < ages.length; i += 2) ages[i] = (ages[i] as number) + commitMs;
    stages.turnDone({
      fn: options.spec.name,
      partition: options.partition,
      done: plan.done,
      retried: plan.retried,
      dead: plan.dead,
      entries: batch.entries.length,
      ages,
      busyMs: result.busyMs,
      events: batch.events,
      bytes: batch.bytes,
      commitMs,
      waitMs: times && Math.max(0, times.waitMs),
      queued: times ? queueTimes(batch.entries, times.takenMs) : [],
    });
  }

  /** Tells of events that were done, and are not known to be committed. */
  #repeat({ states }: SettledBatch): void {
    let done = 0;
    for (const state of states) if (state === CELL.DONE) done++;
    if (done > 0) this.#lane.stages.repeats(done);
  }

  #sayMissing(missing: readonly string[], message: string): void {
    this.#lane.stages.lost({ kind: 'acknowledgement', entryIds: missing });
    this.#lane.log('error', message, { entries: missing.slice(0, 20), count: missing.length });
  }

  /** Logs a key once, although each turn leaves its entries out. */
  #sayNoIndex(key: string): void {
    if (this.#noIndexes.has(key)) return;
    this.#noIndexes.add(key);
    this.#lane.log(
      'error',
      'an index of the view cannot be written, because its key has another type; the rows are written',
      { key, cure: "delete the key, raise the view's version, then millrace view rebuild" },
    );
  }
}
