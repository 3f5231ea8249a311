/**
 * The state that the parts of one lane share: its options, its stages, and its memory between
 * turns. Everything that must survive is in Redis.
 */
import { monotonicMs, wallClockMs } from '../../core/clock.ts';
import { OWNER, type FunctionSpec } from '../../core/function-spec.ts';
import { sharedAbort } from '../../core/shared-signal.ts';
import { turnIdOf, withLastTurn } from '../../core/turn-id.ts';
import type { RunControl } from '../run/run-isolating.ts';
import { StartControl } from '../run/start-control.ts';
import { InFlights } from './in-flight.ts';
import { LaneBell } from './lane-bell.ts';
import { LaneProgress } from './lane-progress.ts';
import type { LaneStages } from './lane-stages.ts';
import { LaneState } from './lane-state.ts';
import { ParkedCount } from './parked-count.ts';
import { TurnBudget } from './turn-budget.ts';

export interface LaneOptions {
  readonly spec: FunctionSpec;
  readonly partition: number;
  readonly leaseValue: string;
  /**
   * Name in the consumer groups. Default: OWNER. Other consumers are helpers (ordering 'none'),
   * which leave the retries to the owner.
   */
  readonly consumer?: string;
  /**
   * Whether the lane runs in place of a helper that is gone: it settles the helper's pending
   * entries, and retires the helper. Default false.
   */
  readonly heir?: boolean;
  readonly streamKeys: readonly string[];
  /** Most bytes of a batch. */
  readonly batchBytes: number;
  /** Most events of a batch. */
  readonly batchEvents: number;
  /** TTL of the lease, ms. */
  readonly leaseTtlMs: number;
  /** Time for which a batch should keep a thread, ms. */
  readonly batchMs: number;
  /** Longest time between two looks for work, ms, also without a ring of the doorbell. */
  readonly pollMs: number;
}

/** Counts a lane's turns, and names them. */
export class TurnIds {
  readonly #leaseValue: string;
  #turn = 0;
  #committed = '';
  #committedMs = -Infinity;

  constructor(leaseValue: string) {
    this.#leaseValue = leaseValue;
  }

  /** Id of the last turn that is known to be committed; '' before the first. */
  get committed(): string {
    return this.#committed;
  }
  set committed(id: string) {
    this.#committed = id;
    if (id !== '') this.#committedMs = monotonicMs();
  }

  /** Time of the last known commit, by monotonicMs(); -Infinity before the first. */
  get committedMs(): number {
    return this.#committedMs;
  }

  next(): string {
    return turnIdOf(this.#leaseValue, ++this.#turn);
  }

  /** The ids that a commit is sent with: the turn's, and behind a space that of the last commit. */
  withLast(id: string): string {
    return withLastTurn(id, this.#committed);
  }
}

/** Times of a turn, for metrics. */
export interface TurnTimes {
  /** Time at which its entries were taken, by the server's clock, ms since 1970. */
  readonly takenMs: number;
  /** Time that its batch has waited for a thread, ms. */
  waitMs: number;
}

export class LaneContext {
  readonly options: LaneOptions;
  readonly stages: LaneStages;
  readonly isOwner: boolean;
  readonly state = new LaneState();
  /** Aborts when no further event is to start. */
  readonly stopping = sharedAbort();
  /** Aborts when the turn under way is to be thrown away. */
  readonly abandoned = sharedAbort();
  readonly control = new StartControl();
  readonly runControl: RunControl;
  readonly progress: LaneProgress;
  readonly bell = new LaneBell();
  readonly turnIds: TurnIds;
  readonly parked: ParkedCount;
  readonly inFlight = new InFlights(() => this.bell.ring());
  readonly budget: TurnBudget;
  /** The server's clock minus this process's clock, ms. */
  serverAheadMs = 0;
  /** Times of the turn under way, for its metrics. Turns write them, the commit takes them. */
  times: TurnTimes | null = null;

  constructor(options: LaneOptions, stages: LaneStages) {
    const { spec, leaseValue, consumer = OWNER } = options;
    this.options = options;
    this.stages = stages;
    this.isOwner = consumer === OWNER;
    this.turnIds = new TurnIds(leaseValue);
    this.progress = new LaneProgress(spec.timeoutMs);
    this.parked = new ParkedCount(spec.maxParkedPerPartition, (full) => this.#sayFull(full));
    const { maxParkedPerSubject } = spec;
    this.budget = new TurnBudget({ ...options, isOwner: this.isOwner, maxParkedPerSubject });
    const [control, progress] = [this.control, this.progress];
    this.runControl = {
      turnMs: control.turnMs,
      get mayStart() {
        return control.mayStart;
      },
      observe(cells, events) {
        control.observe(cells, events);
        progress.observe(cells, events);
      },
      beside: (cells, ends) => control.beside(cells, ends),
    };
  }

  /** Estimate of the server's clock, ms since 1970. */
  serverNowMs(): number {
    return wallClockMs() + this.serverAheadMs;
  }

  /** Rings when the next retry is due, by the server's clock, ms. Null: nothing is parked. */
  dueAt(dueMs: number | null, serverNowMs: number): void {
    if (!this.isOwner) return;
    this.bell.ringIn(
      dueMs === null ? null : Math.min(Math.max(0, dueMs - serverNowMs), 60_000) + 1,
    );
  }

  /** Starts nothing from now on. Ends a wait. */
  halt(): void {
    this.state.endAs('stopped');
    this.stopping.abort();
    this.control.halt();
    this.bell.close();
  }

  /** Throws the turn under way away: it stays pending in Redis. */
  abandon(): void {
    this.halt();
    this.abandoned.abort();
  }

  loseLease(): void {
    this.state.endAs('lease lost');
    this.control.lose();
    this.abandon();
  }

  /** Asks Redis how many events are parked. */
  async countParked(): Promise<void> {
    this.parked.recount(await this.stages.listParked());
  }

  log(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
    const { spec, partition } = this.options;
    this.stages.log(level, message, { function: spec.name, partition, ...fields });
  }

  #sayFull(full: boolean): void {
    this.bell.ring();
    const fields = {
      parked: this.parked.events,
      subjects: this.parked.size,
      limit: this.options.spec.maxParkedPerPartition,
    };
    if (full)
      this.log(
        'error',
        'too many events are parked (maxParkedPerPartition): the lane reads nothing new until there are fewer',
        fields,
      );
    else this.log('info', 'fewer events are parked: the lane reads on', fields);
  }
}
