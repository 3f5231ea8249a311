/** The metrics of this process: its dispatchers, its publishers, its connections. */
import { eventLoopBusyMs } from '../core/clock.ts';
import { ANSWER_SECONDS, Distribution } from '../core/distribution.ts';
import { REASON_CODES } from '../core/health-reason.ts';
import { packageVersion } from '../core/package-info.ts';
import type { Deployment } from '../deployment.ts';
import type { Dispatcher } from '../dispatcher.ts';
import type { PublishMeters } from '../pipeline/append/publish-meters.ts';
import { PROCESS_METRICS } from './catalogue.ts';
import { Exposition, type ReadersOf, type Sample } from './exposition.ts';
import type { FunctionMeters, TurnMeters } from './turn-meters.ts';

/** The part of a dispatcher that is told of. */
export type Watched = Pick<
  Dispatcher,
  | 'functions'
  | 'lanesOwned'
  | 'threads'
  | 'busyThreads'
  | 'threadDeaths'
  | 'uncaughtErrors'
  | 'leaseLosses'
  | 'repeats'
  | 'queuedBatches'
  | 'schemaWaits'
  | 'health'
>;

export interface ProcessSources {
  readonly deployment: Pick<Deployment, 'connection' | 'server' | 'roundTrips'>;
  readonly turns: TurnMeters;
  readonly publishing: PublishMeters;
  /** The process's dispatchers, as far as they exist yet. */
  readonly dispatchers: () => readonly Watched[];
}

export class ProcessMetrics {
  readonly #sources: ProcessSources;
  readonly #exposition: Exposition;

  constructor(sources: ProcessSources) {
    this.#sources = sources;
    this.#exposition = new Exposition(PROCESS_METRICS, {
      ...ofTurns(sources.turns),
      ...ofDispatchers(sources.dispatchers),
      ...ofConnection(sources.deployment),
      ...ofPublishers(sources.publishing),
      millrace_event_loop_busy_seconds_total: () => [{ value: eventLoopBusyMs() / 1000 }],
    } satisfies ReadersOf<typeof PROCESS_METRICS>).withDefaults();
  }

  text(): Promise<string> {
    // Functions without an outcome yet are told as 0.
    for (const { functions } of this.#sources.dispatchers())
      for (const { spec } of functions) this.#sources.turns.of(spec.name);
    return this.#exposition.text();
  }
}

function ofTurns(turns: TurnMeters) {
  const each = (of: (meters: FunctionMeters) => Distribution) => (): Sample<Distribution>[] =>
    [...turns].map(([fn, meters]) => ({ labels: { function: fn }, value: of(meters) }));
  return {
    millrace_events_total: (): Sample<number>[] =>
      [...turns].flatMap(([fn, { done, retried, dead }]) => [
        { labels: { function: fn, outcome: 'done' }, value: done },
        { labels: { function: fn, outcome: 'retry' }, value: retried },
        { labels: { function: fn, outcome: 'dead' }, value: dead },
      ]),
    millrace_turn_seconds: each((of) => of.turnSeconds),
    millrace_thread_wait_seconds: each((of) => of.threadWaitSeconds),
    millrace_commit_seconds: each((of) => of.commitSeconds),
    millrace_batch_events: each((of) => of.batchEvents),
    millrace_batch_bytes: each((of) => of.batchBytes),
    millrace_queue_seconds: each((of) => of.queueSeconds),
    millrace_latency_seconds: each((of) => of.latencySeconds),
  };
}

function ofDispatchers(dispatchers: () => readonly Watched[]) {
  const sum = (of: (dispatcher: Watched) => number) => (): Sample<number>[] => [
    { value: dispatchers().reduce((total, dispatcher) => total + of(dispatcher), 0) },
  ];
  return {
    millrace_lanes: sum((of) => of.lanesOwned),
    millrace_stalled_lanes: sum((of) => of.health().problems.length),
    millrace_setup_failing_lanes: (): Sample<number>[] =>
      dispatchers().flatMap((dispatcher) => {
        // A place that is mended is left out.
        const { setups } = dispatcher.health();
        const failing = new Map(setups.map((setup) => [setup.function, setup]));
        return dispatcher.functions.map(({ spec: { name } }) => {
          const { lanes = 0, at = '' } = failing.get(name) ?? {};
          return { labels: { function: name, at }, value: lanes };
        });
      }),
    millrace_health: (): Sample<number>[] => {
      const reasons = dispatchers().flatMap((dispatcher) => dispatcher.health().reasons);
      const held = new Set(reasons.map(({ code }) => code));
      return REASON_CODES.map((reason) => ({
        labels: { reason },
        value: held.has(reason) ? 1 : 0,
      }));
    },
    millrace_threads: sum((of) => of.threads),
    millrace_threads_busy: sum((of) => of.busyThreads),
    millrace_queued_batches: sum((of) => of.queuedBatches),
    millrace_thread_deaths_total: sum((of) => of.threadDeaths),
    millrace_uncaught_errors_total: sum((of) => of.uncaughtErrors),
    millrace_lease_losses_total: sum((of) => of.leaseLosses),
    millrace_repeated_events_total: sum((of) => of.repeats),
    millrace_schema_wait_seconds: (): Sample<Distribution>[] => [
      {
        value: Distribution.sum(
          ANSWER_SECONDS,
          dispatchers().map((of) => of.schemaWaits),
        ),
      },
    ],
  };
}

function ofConnection({ connection, server, roundTrips }: ProcessSources['deployment']) {
  const build = {
    version: packageVersion(),
    node_version: process.versions.node,
    redis_version: server.version,
  };
  return {
    millrace_build_info: (): Sample<number>[] => [{ labels: build, value: 1 }],
    millrace_redis_up: (): Sample<number>[] => [{ value: connection.status === 'up' ? 1 : 0 }],
    millrace_redis_round_trip_seconds: (): Sample<Distribution>[] =>
      [...roundTrips.seconds].map(([command, value]) => ({ labels: { command }, value })),
  };
}

function ofPublishers(publishing: PublishMeters) {
  const sum =
    (of: (publisher: { bufferedBytes: number; waitingCalls: number }) => number) => () => [
      { value: [...publishing.open].reduce((total, publisher) => total + of(publisher), 0) },
    ];
  return {
    millrace_published_events_total: (): Sample<number>[] =>
      [...publishing.events].map(([type, value]) => ({ labels: { type }, value })),
    millrace_publisher_flush_events: () => [{ value: publishing.flushEvents }],
    millrace_publisher_flush_seconds: () => [{ value: publishing.flushSeconds }],
    millrace_publisher_buffered_bytes: sum((of) => of.bufferedBytes),
    millrace_publisher_waiting_calls: sum((of) => of.waitingCalls),
  };
}
