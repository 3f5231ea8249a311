/** Metrics that are read at each scrape: those of the dispatcher, and those of the deployment. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Dispatcher } from '../dispatcher.ts';
import type { FunctionLag } from '../lag/lag.ts';

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

/**
 * Gauges and counters of the dispatcher, read at each scrape.
 * @param dispatcher null: there is none (yet)
 */
export function watch(registry: Registry, dispatcher: () => Watched | null): void {
  const registers = [registry];
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
    'lanes (function and partition) that this process owns',
    (of) => of.lanesOwned,
  );
  gauge('millrace_queued_batches', 'batches that wait for a pool thread', (of) => of.queuedBatches);
  gauge(
    'millrace_stalled_lanes',
    'lanes with work but without progress, and outboxes that do not move; above 0, /healthz is red',
    (of) => of.health().problems.length,
  );
  setupGauge(registry, dispatcher);
  gauge('millrace_redis_up', '1 while the connection to Redis is up', (of) =>
    of.health().connection === 'up' ? 1 : 0,
  );
  counter(
    'millrace_thread_deaths_total',
    'pool threads that died or were ended',
    (of) => of.threadDeaths,
  );
  counter(
    'millrace_uncaught_errors_total',
    'errors in pool threads that nothing caught, and calls of process.exit; each ended its thread',
    (of) => of.uncaughtErrors,
  );
  counter(
    'millrace_lease_losses_total',
    'lanes that were lost while they ran',
    (of) => of.leaseLosses,
  );
  counter(
    'millrace_repeated_events_total',
    'events that were done here and run again, because their lane was lost or their commit failed',
    (of) => of.repeats,
  );
}

function setupGauge(registry: Registry, dispatcher: () => Watched | null): void {
  new Gauge({
    name: 'millrace_setup_failing_lanes',
    help: 'lanes whose function has a setup that fails, with its place in the code; no event runs',
    labelNames: ['function', 'at'] as const,
    registers: [registry],
    collect() {
      // A place that is mended is left out.
      this.reset();
      const of = dispatcher();
      const failing = new Map(of?.health().setups.map((setup) => [setup.function, setup]));
      for (const { spec } of of?.functions ?? []) {
        const { lanes = 0, at = '' } = failing.get(spec.name) ?? {};
        this.set({ function: spec.name, at }, lanes);
      }
    },
  });
}

function orZero(dispatcher: Watched | null, value: (of: Watched) => number): number {
  return dispatcher === null ? 0 : value(dispatcher);
}

export interface OutboxGauges {
  readonly flushes: Gauge;
  readonly bytes: Gauge;
  readonly seconds: Gauge;
}

export function outboxGauges(registry: Registry): OutboxGauges {
  const outbox = (name: string, help: string): Gauge =>
    new Gauge({ name, help, registers: [registry] });
  return {
    flushes: outbox(
      'millrace_outbox_flushes',
      'whole deployment: flushes of emitted events that have not reached their partition yet',
    ),
    bytes: outbox(
      'millrace_outbox_bytes',
      'whole deployment: bytes of the flushes in millrace_outbox_flushes',
    ),
    seconds: outbox(
      'millrace_outbox_oldest_seconds',
      'whole deployment: age of the oldest flush in millrace_outbox_flushes, 0 without one',
    ),
  };
}

/** Gauge of one state of the functions, in the whole deployment. */
export interface StateGauge {
  readonly gauge: Gauge<'function'>;
  readonly of: (lag: FunctionLag) => number;
}

export function stateGauges(registry: Registry): StateGauge[] {
  const state = (name: string, help: string, of: StateGauge['of']): StateGauge => ({
    gauge: new Gauge({ name, help, labelNames: ['function'] as const, registers: [registry] }),
    of,
  });
  return [
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
      'whole deployment: events in the dead letters, and purged ones',
      (lag) => lag.dead,
    ),
    state(
      'millrace_purged_events',
      'whole deployment: dead events whose letters were purged',
      (lag) => lag.purged,
    ),
    state(
      'millrace_oldest_event_seconds',
      'whole deployment: age of the oldest event that waits and will run, 0 without one',
      (lag) => (lag.oldestMs ?? 0) / 1000,
    ),
    state(
      'millrace_conserved',
      'whole deployment: 1 if done, parked, dead, pending and lag add up to the appended events',
      (lag) => (lag.conserved ? 1 : 0),
    ),
  ];
}
