/**
 * One lane: it takes, runs and commits a function's events of one partition, turn after turn.
 *
 *   recover → wait for work → for outbox room → commit ended handlers → slot → turn
 *
 * A turn does not wait for slow handlers. They run beside the next turns (in-flight.ts), and a
 * commit of its own follows when they end.
 *
 * A lane is idle, in a turn or failing until a verdict ends it: stopped, lease lost or retired
 * (lane-state.ts). A stopped lane finishes the turn under way. A lane without a lease throws the
 * turn away, because the commit would be refused.
 */
import { sleep } from '../../core/clock.ts';
import { SetupError } from '../../core/errors/handler-errors.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { OWNER } from '../../core/function-spec.ts';
import type { SetupFailure } from '../../core/setup-failure.ts';
import type { KeptLane } from '../ownership/lane-keeper.ts';
import type { Bell } from '../read/doorbell.ts';
import { LaneCommits } from './lane-commit.ts';
import { LaneContext, type LaneOptions } from './lane-context.ts';
import type { LaneProgress } from './lane-progress.ts';
import type { LaneStages } from './lane-stages.ts';
import { Recovery } from './recovery.ts';
import { SetupWatch } from './setup-watch.ts';
import { Turns } from './turn.ts';

/** Pause after a failed turn, ms. It doubles while turns fail. */
const BACKOFF_MS = { min: 50, max: 2000 };
/** Number of failures in a row from which on one that may pass by itself is logged as an error. */
const PASSING_FAILURES = 5;

export class Lane implements Bell, KeptLane {
  readonly streamKeys: readonly string[];
  readonly #lane: LaneContext;
  readonly #recovery: Recovery;
  readonly #commits: LaneCommits;
  readonly #setup: SetupWatch;
  readonly #turns: Turns;
  #loop: Promise<void> | null = null;

  constructor(options: LaneOptions, stages: LaneStages) {
    this.streamKeys = options.streamKeys;
    this.#lane = new LaneContext(options, stages);
    this.#recovery = new Recovery(this.#lane);
    this.#commits = new LaneCommits(this.#lane, this.#recovery);
    this.#setup = new SetupWatch(stages);
    this.#turns = new Turns(this.#lane, this.#recovery, this.#commits, this.#setup);
  }

  get fn(): string {
    return this.#lane.options.spec.name;
  }
  get partition(): number {
    return this.#lane.options.partition;
  }
  get consumer(): string {
    return this.#lane.options.consumer ?? OWNER;
  }
  get heir(): boolean {
    return this.#lane.options.heir ?? false;
  }
  get leaseValue(): string {
    return this.#lane.options.leaseValue;
  }
  get progress(): LaneProgress {
    return this.#lane.progress;
  }
  /** Whether the lane waits for work, or for room in the outbox. */
  get idle(): boolean {
    return this.#lane.bell.waiting;
  }
  /** Whether the last look found many events. */
  get hot(): boolean {
    return this.#turns.hot;
  }
  /** Id of its last committed turn; '' before the first. */
  get committed(): string {
    return this.#lane.turnIds.committed;
  }
  get committedMs(): number {
    return this.#lane.turnIds.committedMs;
  }
  /** Whether the lease is lost: another dispatcher may have the lane. */
  get lost(): boolean {
    return this.#lane.state.lost;
  }
  /** Whether the lane was an heir and has nothing left to do. Its consumer and lease are gone. */
  get retired(): boolean {
    return this.#lane.state.verdict === 'retired';
  }
  /** Address of the event that runs marked in a crash search, '' without one. */
  get marked(): string {
    return this.#recovery.search?.marked ?? '';
  }
  get passed(): boolean {
    return this.#recovery.passed;
  }
  /** Failure of the function's setup here. Null: the setup works, as far as is known. */
  get setupFailure(): SetupFailure | null {
    return this.#setup.failure;
  }
  /** Time for which the setup has failed here, ms. 0: it works, as far as is known. */
  get setupFailingMs(): number {
    return this.#setup.failingMs;
  }
  /** Handlers that run: those of its batch, and those beside its turns. */
  get handlers(): number {
    return this.#lane.control.running;
  }

  /**
   * Notes how long the lease lasts, whatever Redis does: one TTL after the last renewal was sent.
   * @param untilMs by monotonicMs()
   */
  leaseHeld(untilMs: number): void {
    this.#lane.control.extend(untilMs);
  }

  ring(): void {
    this.#lane.bell.ring();
  }

  /** Redis has forgotten the last commit (power loss, failover). See Recovery. */
  startOver(): void {
    this.#recovery.goBack();
  }

  /** The next retry is due then, by the server's clock. */
  dueAt(dueMs: number | null, serverNowMs: number): void {
    this.#lane.dueAt(dueMs, serverNowMs);
  }

  start(): void {
    if (this.#loop !== null || this.#lane.stopping.signal.aborted) return;
    this.#lane.state.enter('idle');
    this.#loop = this.#run();
  }

  /** Starts no further event, commits what is done. Resolves when nothing is left. Idempotent. */
  async stop(): Promise<void> {
    this.#lane.halt();
    await this.#loop;
  }

  /** Throws the turn under way away: it stays pending in Redis. */
  abandon(): void {
    this.#lane.abandon();
  }

  loseLease(): void {
    this.#lane.loseLease();
  }

  /** Removes the helper's consumer. Resolves with false where entries are pending for it. */
  retire(): Promise<boolean> {
    return this.#lane.stages.retire();
  }

  async #run(): Promise<void> {
    const { stopping, progress, state, bell } = this.#lane;
    while (!stopping.signal.aborted) {
      try {
        await this.#next();
      } catch (error) {
        if (stopping.signal.aborted) break;
        await this.#failed(error as Error);
      }
    }
    await this.#land();
    progress.doing = 'idle';
    bell.close();
    state.enter('ended');
  }

  /** Does the steps before a turn, and the turn. */
  async #next(): Promise<void> {
    const { stopping, progress } = this.#lane;
    if ((await this.#recovery.recover()) === 'lease lost') return this.#lane.loseLease();
    await this.#workToDo();
    await this.#roomInOutbox();
    if (stopping.signal.aborted) return;
    await this.#commits.commitEnded();
    if (stopping.signal.aborted) return;
    await this.#oneTurn();
    progress.passed();
  }

  async #oneTurn(): Promise<void> {
    const { stages, state, budget, stopping, progress } = this.#lane;
    progress.doing = 'waiting for a free slot';
    const slot = await stages.share.acquire(this.fn, budget.small);
    progress.gotOn();
    let busyMs = 0;
    try {
      if (stopping.signal.aborted) return;
      state.enter('in a turn');
      const end = await this.#turns.take();
      if ('busyMs' in end) busyMs = end.busyMs;
      state.enter('idle');
    } finally {
      slot.release(busyMs);
    }
  }

  /** Pauses. The next turn then begins anew, from the state in Redis. */
  async #failed(error: Error): Promise<void> {
    const { progress, state, stopping } = this.#lane;
    state.enter('failing');
    progress.failed(error);
    this.#recovery.rereadPending();
    const delayMs = Math.min(BACKOFF_MS.max, BACKOFF_MS.min * 2 ** (progress.failures - 1));
    const passes = error instanceof MillraceError && error.retryable;
    const level = passes && progress.failures < PASSING_FAILURES ? 'warn' : 'error';
    this.#lane.stages.turnFailed({ level, error, delayMs });
    if (error instanceof SetupError) this.#setup.failed(error, delayMs);
    await sleep(delayMs, stopping.signal);
    state.enter('idle');
  }

  /**
   * Waits for the handlers beside the turns, and commits their outcomes, until the lane is
   * abandoned. Events without a committed outcome stay parked.
   */
  async #land(): Promise<void> {
    const { inFlight, abandoned, bell } = this.#lane;
    while (inFlight.size > 0 && !abandoned.signal.aborted) {
      try {
        if (inFlight.ended().length > 0) await this.#commits.commitEnded();
        else if (inFlight.running === 0) break;
        else await bell.wait();
      } catch (error) {
        this.#lane.log('warn', 'outcomes of slow handlers could not be committed, trying again', {
          err: error,
        });
        await sleep(BACKOFF_MS.min, abandoned.signal);
      }
    }
    await inFlight.drop();
  }

  /**
   * Resolves when the bell rang since the last look, a retry is due, or the longest time between
   * two looks is over.
   */
  async #workToDo(): Promise<void> {
    const { bell, progress, stages, options, stopping } = this.#lane;
    if (bell.rang || stopping.signal.aborted) return;
    const poll = setTimeout(() => bell.ring(), options.pollMs);
    const rung = bell.wait();
    progress.doing = 'idle';
    stages.idle();
    await rung;
    clearTimeout(poll);
    progress.made();
  }

  /** Resolves when the outbox has room for the lane's emits, or the lane is to stop. */
  async #roomInOutbox(): Promise<void> {
    const { bell, progress, stopping } = this.#lane;
    while (this.#commits.outboxFull && !stopping.signal.aborted) {
      progress.doing = 'waiting for room in the outbox';
      await bell.wait();
    }
  }
}
