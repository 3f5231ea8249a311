/**
 * Metrics of a dispatcher for Prometheus. Outcomes are counted per turn, never per event; all else
 * is read at each scrape. The states of the functions are those of the whole deployment, and the
 * same from every dispatcher.
 */
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client';
import { sleep } from '../core/clock.ts';
import type { LagReport } from '../lag/lag.ts';
import type { OutboxState } from '../outbox/outbox-state.ts';
import type { TurnDone } from '../pipeline/lane/lane-stages.ts';

import {
  outboxGauges,
  stateGauges,
  watch,
  type OutboxGauges,
  type StateGauge,
  type Watched,
} from './meters.ts';

export type { Watched } from './meters.ts';

/**
 * Longest wait of a scrape for Redis, ms. Then the scrape leaves out the values that only Redis
 * knows.
 */
const LAG_WAIT_MS = 3000;
const TURN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

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
  readonly #outbox: OutboxGauges;
  readonly #states: readonly StateGauge[];

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
    watch(this.#registry, dispatcher);
    this.#outbox = outboxGauges(this.#registry);
    this.#states = stateGauges(this.#registry);
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
    // Functions without an outcome yet are reported as 0.
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
      // Unknown values and removed functions are left out.
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
