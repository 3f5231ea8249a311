/**
 * What a dispatcher says of itself to Prometheus. Counted per turn, never per event; the rest is
 * looked up when somebody asks. Where the functions stand is the deployment's, and the same from
 * every dispatcher.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { sleep } from '../core/clock.ts';
import type { Dispatcher } from '../dispatcher.ts';
import type { FunctionLag, LagReport } from '../lag/lag.ts';
import type { OutboxState } from '../outbox/outbox-state.ts';
import type { TurnDone } from '../pipeline/lane/lane-stages.ts';

/** A scrape waits so long for Redis, then goes without what only Redis knows. */
const LAG_WAIT_MS = 3000;
const TURN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

export type Watched = Pick<
  Dispatcher,
  | 'functions'
  | 'lanesOwned'
  | 'threadDeaths'
  | 'uncaughtErrors'
  | 'leaseLosses'
  | 'repeats'
  | 'queuedBatches'
  | 'health'
>;

interface FunctionMeters {
  readonly done: Counter.Internal;
  readonly retried: Counter.Internal;
  readonly dead: Counter.Internal;
  readonly seconds: Histogram.Internal<'function'>;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #events: Counter<'function' | 'outcome'>;
  readonly #seconds: Histogram<'function'>;
  readonly #functions = new Map<string, FunctionMeters>();
  readonly #dispatcher: () => Watched | null;
  readonly #lag: () => Promise<LagReport>;
  readonly #outboxes: () => Promise<readonly OutboxState[]>;
  readonly #outbox: { readonly flushes: Gauge; readonly bytes: Gauge; readonly seconds: Gauge };
  readonly #states: readonly {
    readonly gauge: Gauge<'function'>;
    readonly of: (lag: FunctionLag) => number;
  }[];

  /** @param dispatcher null: there is none (yet) */
  constructor(
    dispatcher: () => Watched | null,
    lag: () => Promise<LagReport>,
    outboxes: () => Promise<readonly OutboxState[]>,
  ) {
    this.#dispatcher = dispatcher;
    this.#lag = lag;
    this.#outboxes = outboxes;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#events = new Counter({
      name: 'millrace_events_total',
      help: 'outcomes of events in this process: done, retry (parked for another attempt), dead',
      labelNames: ['function', 'outcome'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'millrace_turn_seconds',
      help: 'time a lane turn kept a pool thread',
      labelNames: ['function'],
      buckets: TURN_SECONDS,
      registers,
    });
    const gauge = (name: string, help: string, value: (of: Watched) => number): void => {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(orZero(dispatcher(), value));
        },
      });
    };
    const counter = (name: string, help: string, value: (of: Watched) => number): void => {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(orZero(dispatcher(), value));
        },
      });
    };
    gauge(
      'millrace_lanes',
      'lanes (function and partition) this process owns',
      (of) => of.lanesOwned,
    );
    gauge(
      'millrace_queued_batches',
      'batches that wait for a pool thread',
      (of) => of.queuedBatches,
    );
    gauge(
      'millrace_stalled_lanes',
      'lanes that have work and get nothing done, and outboxes that do not move: what makes /healthz red',
      (of) => of.health().problems.length,
    );
    gauge('millrace_redis_up', '1 while the connection to Redis is up', (of) =>
      of.health().connection === 'up' ? 1 : 0,
    );
    counter(
      'millrace_thread_deaths_total',
      'pool threads that died or were taken',
      (of) => of.threadDeaths,
    );
    counter(
      'millrace_uncaught_errors_total',
      'errors in pool threads that nobody handled, and calls of process.exit: each ended its thread',
      (of) => of.uncaughtErrors,
    );
    counter(
      'millrace_lease_losses_total',
      'lanes that were lost while they ran',
      (of) => of.leaseLosses,
    );
    counter(
      'millrace_repeated_events_total',
      'events that were done here and run again all the same: their lane was lost, or they could not be committed',
      (of) => of.repeats,
    );
    const outbox = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
    this.#outbox = {
      flushes: outbox(
        'millrace_outbox_flushes',
        'whole deployment: flushes of emitted events that are not in the partition they are for yet',
      ),
      bytes: outbox('millrace_outbox_bytes', 'whole deployment: their bytes'),
      seconds: outbox(
        'millrace_outbox_oldest_seconds',
        'whole deployment: age of the oldest of them, 0 without one',
      ),
    };
    const state = (name: string, help: string, of: (lag: FunctionLag) => number) => ({
      gauge: new Gauge({ name, help, labelNames: ['function'] as const, registers }),
      of,
    });
    this.#states = [
      state('millrace_lag_events', 'whole deployment: events not delivered yet', (lag) => lag.lag),
      state(
        'millrace_pending_events',
        'whole deployment: events delivered and not settled',
        (lag) => lag.pending,
      ),
      state(
        'millrace_parked_events',
        'whole deployment: events that wait for a retry, or behind one',
        (lag) => lag.parked,
      ),
      state(
        'millrace_dead_events',
        'whole deployment: dead letters, and those purged',
        (lag) => lag.dead,
      ),
      state(
        'millrace_purged_events',
        'whole deployment: of the dead, those whose letters were purged',
        (lag) => lag.purged,
      ),
      state(
        'millrace_oldest_event_seconds',
        'whole deployment: age of the oldest event that is not settled, 0 without one',
        (lag) => (lag.oldestMs ?? 0) / 1000,
      ),
      state(
        'millrace_conserved',
        'whole deployment: 1 where done, parked, dead, pending and lag add up to what was appended',
        (lag) => (lag.conserved ? 1 : 0),
      ),
    ];
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  readonly turn = (turn: TurnDone): void => {
    const meters = this.#meters(turn.fn);
    meters.done.inc(turn.done);
    meters.retried.inc(turn.retried);
    meters.dead.inc(turn.dead);
    meters.seconds.observe(turn.busyMs / 1000);
  };

  async text(): Promise<string> {
    // Also functions that have done nothing yet are told of, as 0.
    for (const { spec } of this.#dispatcher()?.functions ?? []) this.#meters(spec.name);
    await this.#readStates();
    return this.#registry.metrics();
  }

  async #readStates(): Promise<void> {
    const waited = new AbortController();
    const late = sleep(LAG_WAIT_MS, waited.signal).then(() => null);
    const [report, outboxes] = await Promise.all([
      Promise.race([this.#lag().catch(() => null), late]),
      Promise.race([this.#outboxes().catch(() => null), late]),
    ]);
    waited.abort();
    for (const { gauge, of } of this.#states) {
      // Nothing is told of what is not known, and nothing of functions that are gone.
      gauge.reset();
      for (const lag of report?.functions ?? []) gauge.set({ function: lag.name }, of(lag));
    }
    const { flushes, bytes, seconds } = this.#outbox;
    for (const gauge of [flushes, bytes, seconds]) gauge.remove();
    if (outboxes === null) return;
    flushes.set(outboxes.reduce((sum, { entries }) => sum + entries, 0));
    bytes.set(outboxes.reduce((sum, outbox) => sum + outbox.bytes, 0));
    seconds.set(Math.max(0, ...outboxes.map(({ oldestMs }) => (oldestMs ?? 0) / 1000)));
  }

  #meters(fn: string): FunctionMeters {
    let meters = this.#functions.get(fn);
    if (!meters) {
      const outcome = (name: string): Counter.Internal =>
        this.#events.labels({ function: fn, outcome: name });
      meters = {
        done: outcome('done'),
        retried: outcome('retry'),
        dead: outcome('dead'),
        seconds: this.#seconds.labels({ function: fn }),
      };
      for (const one of [meters.done, meters.retried, meters.dead]) one.inc(0);
      this.#seconds.zero({ function: fn });
      this.#functions.set(fn, meters);
    }
    return meters;
  }
}

function orZero(dispatcher: Watched | null, value: (of: Watched) => number): number {
  return dispatcher === null ? 0 : value(dispatcher);
}
