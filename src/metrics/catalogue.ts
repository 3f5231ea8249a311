/**
 * All metrics of Millrace: declared once here. The tables in docs/metrics.md are printed from here.
 * A metric's name and labels are an outside contract: dashboards and rules are made of them.
 *
 * Labels are bounded: functions, types, outcomes, commands and partitions. No label holds an id, a
 * subject or a text of an event.
 */
export interface MetricRule {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  /** Unit of its values; empty: a number without a unit. */
  readonly unit: string;
  /** Meaning, in Markdown. */
  readonly text: string;
}

function counter(unit: string, labels: readonly string[], text: string) {
  return { type: 'counter', unit, labels, text } as const;
}

function gauge(unit: string, labels: readonly string[], text: string) {
  return { type: 'gauge', unit, labels, text } as const;
}

function histogram(unit: string, labels: readonly string[], text: string) {
  return { type: 'histogram', unit, labels, text } as const;
}

/** Metrics of one process: `/metrics`. */
export const PROCESS_METRICS = {
  millrace_build_info: gauge(
    '',
    ['version', 'node_version', 'redis_version'],
    'always 1; the labels name the versions of Millrace, Node and the server',
  ),
  millrace_events_total: counter(
    'events',
    ['function', 'outcome'],
    'outcomes of events in this process: done, retry (parked for another attempt), dead',
  ),
  millrace_turn_seconds: histogram(
    'seconds',
    ['function'],
    'time a lane turn kept a pool thread; its sum tells how much of the pool a function takes',
  ),
  millrace_thread_wait_seconds: histogram(
    'seconds',
    ['function'],
    'time a batch waited for a pool thread, and its answer for the dispatcher',
  ),
  millrace_commit_seconds: histogram(
    'seconds',
    ['function'],
    "time of a turn's commit, with its repeated attempts",
  ),
  millrace_batch_events: histogram('events', ['function'], 'events of a committed batch'),
  millrace_batch_bytes: histogram('bytes', ['function'], 'bytes of a committed batch'),
  millrace_queue_seconds: histogram(
    'seconds',
    ['function'],
    'time of events in their stream, from their append to their turn, by the clock of Redis. A batch with more than 16 entries is told by 16 of them',
  ),
  millrace_latency_seconds: histogram(
    'seconds',
    ['function'],
    'age of events when they were committed as done, from the `time` of the event on. The clocks of publisher and dispatcher both count',
  ),
  millrace_lanes: gauge('lanes', [], 'lanes (function and partition) that this process owns'),
  millrace_stalled_lanes: gauge(
    'lanes',
    [],
    'lanes with work but without progress, and outboxes that do not move; above 0, /healthz is red',
  ),
  millrace_setup_failing_lanes: gauge(
    'lanes',
    ['function', 'at'],
    'lanes whose function has a `setup` that fails, so that no event runs; `at` is its place in your code',
  ),
  millrace_health: gauge(
    'reasons',
    ['reason'],
    '1 while this reason holds, else 0: the dispatcher is not ready, or not well',
  ),
  millrace_threads: gauge('threads', [], 'threads of the pool'),
  millrace_threads_busy: gauge('threads', [], 'threads of the pool that have a batch now'),
  millrace_queued_batches: gauge('batches', [], 'batches that wait for a pool thread'),
  millrace_thread_deaths_total: counter('threads', [], 'pool threads that died or were ended'),
  millrace_uncaught_errors_total: counter(
    'errors',
    [],
    'errors in pool threads that nothing caught, and calls of process.exit; each ended its thread',
  ),
  millrace_lease_losses_total: counter('lanes', [], 'lanes that were lost while they ran'),
  millrace_repeated_events_total: counter(
    'events',
    [],
    'events that were done here and [run again](guarantees.md#when-completed-events-run-again), because their lane was lost or their commit failed',
  ),
  millrace_schema_wait_seconds: histogram(
    'seconds',
    [],
    'time that pool threads waited for a schema that this process had to fetch',
  ),
  millrace_redis_up: gauge('', [], '1 while the connection to Redis is up'),
  millrace_redis_round_trip_seconds: histogram(
    'seconds',
    ['command'],
    "time from a command's call to its reply, by script or command; without blocking reads. The dispatcher's own delay is part of it",
  ),
  millrace_event_loop_busy_seconds_total: counter(
    'seconds',
    [],
    "time for which the event loop of the process's main thread has worked; its rate is the share of a core. The delay of the loop is in `nodejs_eventloop_lag_*`",
  ),
  millrace_published_events_total: counter(
    'events',
    ['type'],
    'events that the publishers of this process have appended',
  ),
  millrace_publisher_flush_events: histogram('events', [], 'events of a flush'),
  millrace_publisher_flush_seconds: histogram(
    'seconds',
    [],
    "time from a flush's first event to the answer of Redis",
  ),
  millrace_publisher_buffered_bytes: gauge(
    'bytes',
    [],
    'bytes that publishers have accepted and not yet appended',
  ),
  millrace_publisher_waiting_calls: gauge(
    'calls',
    [],
    'calls of `publish` that wait for room in a full buffer',
  ),
} as const satisfies Readonly<Record<string, MetricRule>>;

/** Metrics of the whole deployment that stand in `/metrics` too, unless settings leave them out. */
export const STATE_METRICS = {
  millrace_lag_events: gauge('events', ['function'], 'events not delivered yet'),
  millrace_pending_events: gauge('events', ['function'], 'events delivered and not settled'),
  millrace_parked_events: gauge(
    'events',
    ['function'],
    'events that wait for a retry, or behind one',
  ),
  millrace_dead_events: gauge(
    'events',
    ['function'],
    'events in the dead letters, and purged ones',
  ),
  millrace_purged_events: gauge('events', ['function'], 'dead events whose letters were purged'),
  millrace_oldest_event_seconds: gauge(
    'seconds',
    ['function'],
    'age of the oldest event that waits and will run (lag, pending or parked, not held), by the clock of Redis; 0 without one',
  ),
  millrace_conserved: gauge(
    '',
    ['function'],
    '1 if done, parked, dead, pending and lag add up to the appended events',
  ),
  millrace_outbox_flushes: gauge(
    'flushes',
    [],
    'flushes of emitted events that have not reached their partition yet',
  ),
  millrace_outbox_bytes: gauge('bytes', [], 'bytes of the flushes in `millrace_outbox_flushes`'),
  millrace_outbox_oldest_seconds: gauge(
    'seconds',
    [],
    'age of the oldest flush in `millrace_outbox_flushes`, 0 without one',
  ),
} as const satisfies Readonly<Record<string, MetricRule>>;

/** Metrics of the whole deployment that stand in `/metrics/deployment` only. */
export const DEPLOYMENT_METRICS = {
  millrace_partitions: gauge('partitions', [], 'partitions of the deployment'),
  millrace_appended_events_total: counter(
    'events',
    ['function', 'type'],
    'events appended for the function: its arrivals. A removed and registered function counts anew',
  ),
  millrace_settled_events_total: counter(
    'events',
    ['function', 'type', 'outcome'],
    'events that have ended, as done or dead: the work done. A rewind takes its events off again, which Prometheus sees as a reset',
  ),
  millrace_state_events: gauge(
    'events',
    ['function', 'type', 'state'],
    'events that are not settled, by state: `lag`, `pending`, `parked`, `held` (behind a dead letter of the same subject). `millrace_parked_events` counts held ones too',
  ),
  millrace_state_oldest_seconds: gauge(
    'seconds',
    ['function', 'type', 'state'],
    'age of the oldest event of the state, by the clock of Redis; 0 without one. `millrace lag --json` says where an age is a bound',
  ),
  millrace_arrival_events_per_second: gauge(
    'events',
    ['function', 'type'],
    'events appended for the function per second, over the last minute at most; missing until there are two looks',
  ),
  millrace_settled_events_per_second: gauge(
    'events',
    ['function', 'type'],
    'events that have ended, as done or dead, per second, over the same time; missing until there are two looks',
  ),
  millrace_drain_seconds: gauge(
    'seconds',
    ['function', 'type'],
    'time until no event waits any more at these rates, 0 where none does; held events do not count. Missing where more events arrive than are settled',
  ),
  millrace_backlog_limit_seconds: gauge(
    'seconds',
    ['function', 'type'],
    'time until a partition reaches its part of `millrace_backlog_limit_events`, 0 where it has. Missing where the backlog does not grow, or the type has no limit',
  ),
  millrace_backlog_limit_events: gauge(
    'events',
    ['type'],
    'events that the slowest function may be behind before publishers are slowed or refused (`millrace limits --max-backlog`); types without that limit are missing',
  ),
  millrace_retention_held_seconds: gauge(
    'seconds',
    ['function', 'type'],
    'age of the oldest event that a stream keeps above a limit (`millrace limits --max-age`, `--max-events`), because the function has not settled that event; 0 without one. Types without such a limit are missing',
  ),
  millrace_last_loss_timestamp_seconds: gauge(
    'seconds',
    [],
    'time of the last entry in the loss ledger (`millrace losses`), seconds since 1970 by the clock of Redis; 0 without one',
  ),
  millrace_redis_memory_bytes: gauge(
    'bytes',
    [],
    'memory that Redis has allocated, over all masters; missing where INFO is denied',
  ),
  millrace_redis_memory_limit_bytes: gauge(
    'bytes',
    [],
    "`maxmemory` of Redis, or the machine's memory where there is none, over all masters; missing where INFO is denied",
  ),
  millrace_redis_disk_bytes: gauge(
    'bytes',
    [],
    "used bytes of the disk with the server's data, all files counted. Only for a server on this machine (unix socket), and missing where CONFIG is denied",
  ),
  millrace_redis_disk_limit_bytes: gauge(
    'bytes',
    [],
    'bytes of that disk; missing where `millrace_redis_disk_bytes` is',
  ),
} as const satisfies Readonly<Record<string, MetricRule>>;

export type ProcessMetricName = keyof typeof PROCESS_METRICS;
export type StateMetricName = keyof typeof STATE_METRICS;
export type DeploymentMetricName = keyof typeof DEPLOYMENT_METRICS;

/** Returns the metric's help as plain text, without links. */
export function helpOf({ text }: MetricRule): string {
  return text.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '');
}
