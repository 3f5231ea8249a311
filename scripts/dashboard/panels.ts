/** The panels of the Grafana dashboard, row by row. Their queries use only metrics of Millrace. */
export interface Query {
  /** PromQL, in which `$function` is the chosen functions and `$__rate_interval` Grafana's. */
  readonly expr: string;
  /** Legend, with the series' labels in `{{…}}`. */
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** Meaning, shown with a panel. */
  readonly text: string;
  /** Unit of Grafana: `short`, `s`, `bytes`, `ops`, `percentunit`. */
  readonly unit: 'short' | 's' | 'bytes' | 'ops' | 'percentunit';
  readonly queries: readonly Query[];
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** Several processes tell the same of the deployment: one of them counts. */
const once = (expr: string): string => `max without (instance, pod) (${expr})`;
const rate = (series: string): string => `rate(${series}[$__rate_interval])`;
const OF_FUNCTION = '{function=~"$function"}';

function state(metric: string): string {
  return `max by (function) (${metric}${OF_FUNCTION})`;
}

function quantile(q: number, metric: string, by: string, labels = ''): string {
  return `histogram_quantile(${q}, sum by (${by}, le) (${rate(`${metric}_bucket${labels}`)}))`;
}

/** @param metric histogram with the label `function` */
function spread(metric: string): Query[] {
  return [0.5, 0.99].map((q) => ({
    expr: quantile(q, metric, 'function', OF_FUNCTION),
    legend: `{{function}} p${q * 100}`,
  }));
}

const byFunction = (expr: string): Query[] => [{ expr, legend: '{{function}}' }];
const byInstance = (expr: string): Query[] => [{ expr, legend: '{{instance}}' }];

const FUNCTIONS: Row = {
  title: 'Functions',
  panels: [
    {
      title: 'Lag',
      text: 'Events that are not delivered yet.',
      unit: 'short',
      queries: byFunction(state('millrace_lag_events')),
    },
    {
      title: 'Oldest event',
      text: 'Age of the oldest event that is not settled.',
      unit: 's',
      queries: byFunction(state('millrace_oldest_event_seconds')),
    },
    {
      title: 'Arrivals and work done',
      text: 'Events appended for a function, and settled by it.',
      unit: 'ops',
      queries: [
        {
          expr: `sum by (function) (${once(rate(`millrace_appended_events_total${OF_FUNCTION}`))})`,
          legend: '{{function}} arrivals',
        },
        {
          expr: `sum by (function) (${once(rate(`millrace_settled_events_total${OF_FUNCTION}`))})`,
          legend: '{{function}} settled',
        },
      ],
    },
    {
      title: 'Rates of the last minute',
      text: 'As millrace lag --rates tells them: arrivals, and events that ended as done or dead.',
      unit: 'ops',
      queries: ['arrival', 'settled'].map((name) => ({
        expr: `sum by (function) (${once(`millrace_${name}_events_per_second${OF_FUNCTION}`)})`,
        legend: `{{function}} ${name}`,
      })),
    },
    {
      title: 'Time to drain',
      text: 'At the rates of the last minute. Missing where more events arrive than are settled.',
      unit: 's',
      queries: byFunction(state('millrace_drain_seconds')),
    },
    {
      title: 'Time to the backlog limit',
      text: 'At the rates of the last minute. Missing without growth, or without a limit.',
      unit: 's',
      queries: [
        {
          expr: `min by (function, type) (millrace_backlog_limit_seconds${OF_FUNCTION})`,
          legend: '{{function}} {{type}}',
        },
      ],
    },
    {
      title: 'Retention held',
      text: 'Age of events above a limit of their type that a function has not settled.',
      unit: 's',
      queries: [
        {
          expr: `max by (function, type) (millrace_retention_held_seconds${OF_FUNCTION})`,
          legend: '{{function}} {{type}}',
        },
      ],
    },
    {
      title: 'Latency',
      text: 'Age of events when they were committed as done.',
      unit: 's',
      queries: spread('millrace_latency_seconds'),
    },
    {
      title: 'Time in the stream',
      text: 'Time from the append to the turn that took the event.',
      unit: 's',
      queries: spread('millrace_queue_seconds'),
    },
    {
      title: 'Pending, parked, dead',
      text: 'Pending events run now. Parked ones wait for a retry.',
      unit: 'short',
      queries: ['pending', 'parked', 'dead'].map((name) => ({
        expr: state(`millrace_${name}_events`),
        legend: `{{function}} ${name}`,
      })),
    },
    {
      title: 'Oldest event by state',
      text: 'Held events wait behind a dead letter of their subject.',
      unit: 's',
      queries: [
        {
          expr: `max by (function, state) (millrace_state_oldest_seconds${OF_FUNCTION})`,
          legend: '{{function}} {{state}}',
        },
      ],
    },
    {
      title: 'Conserved',
      text: 'Whether the states of a function add up to its events. 0 is a loss.',
      unit: 'short',
      queries: byFunction(`min by (function) (millrace_conserved${OF_FUNCTION})`),
    },
    {
      title: 'Outcomes',
      text: 'Outcomes committed by the processes that are scraped.',
      unit: 'ops',
      queries: [
        {
          expr: `sum by (function, outcome) (${rate(`millrace_events_total${OF_FUNCTION}`)})`,
          legend: '{{function}} {{outcome}}',
        },
      ],
    },
  ],
};

const DISPATCHERS: Row = {
  title: 'Dispatchers',
  panels: [
    {
      title: 'Use of the pool',
      text: 'Share of the threads that is at work. Near 1: more threads or processes are needed.',
      unit: 'percentunit',
      queries: byInstance(
        `sum by (instance) (${rate('millrace_turn_seconds_sum')}) / (sum by (instance) (millrace_threads) > 0)`,
      ),
    },
    {
      title: 'Waiting batches, busy threads',
      text: 'Batches that wait for a thread, and threads that have one.',
      unit: 'short',
      queries: [
        { expr: 'millrace_queued_batches', legend: '{{instance}} waiting' },
        { expr: 'millrace_threads_busy', legend: '{{instance}} busy' },
      ],
    },
    {
      title: 'Time in a thread',
      text: 'Time that a turn keeps a thread.',
      unit: 's',
      queries: spread('millrace_turn_seconds'),
    },
    {
      title: 'Wait for a thread',
      text: 'Time that a batch waits for a thread.',
      unit: 's',
      queries: spread('millrace_thread_wait_seconds'),
    },
    {
      title: 'Commit',
      text: "Time of a turn's commit.",
      unit: 's',
      queries: spread('millrace_commit_seconds'),
    },
    {
      title: 'Events of a batch',
      text: 'Larger batches mean more load, not more trouble.',
      unit: 'short',
      queries: spread('millrace_batch_events'),
    },
    {
      title: 'Bytes of a batch',
      text: 'Batches end at MILLRACE_BATCH_BYTES.',
      unit: 'bytes',
      queries: spread('millrace_batch_bytes'),
    },
    {
      title: 'Lanes',
      text: 'Lanes that a process owns. Stalled ones have work and do not get on.',
      unit: 'short',
      queries: [
        { expr: 'millrace_lanes', legend: '{{instance}}' },
        { expr: 'millrace_stalled_lanes', legend: '{{instance}} stalled' },
      ],
    },
    {
      title: 'Main thread',
      text: 'Share of a core that the event loop of the main thread takes.',
      unit: 'percentunit',
      queries: byInstance(rate('millrace_event_loop_busy_seconds_total')),
    },
    {
      title: 'Delay of the event loop',
      text: '99th percentile since the scrape before.',
      unit: 's',
      queries: byInstance('nodejs_eventloop_lag_p99_seconds'),
    },
    {
      title: 'Memory',
      text: 'Resident memory of the processes.',
      unit: 'bytes',
      queries: byInstance('process_resident_memory_bytes'),
    },
    {
      title: 'Faults',
      text: 'Deaths of threads, uncaught errors, lost lanes and repeated events.',
      unit: 'ops',
      queries: [
        ['thread_deaths', 'thread deaths'],
        ['uncaught_errors', 'uncaught errors'],
        ['lease_losses', 'lost lanes'],
        ['repeated_events', 'repeated events'],
      ].map(([name = '', legend = '']) => ({
        expr: `sum(${rate(`millrace_${name}_total`)})`,
        legend,
      })),
    },
  ],
};

const REDIS: Row = {
  title: 'Redis, schemas, outboxes',
  panels: [
    {
      title: 'Connected',
      text: '1 while the connection to Redis is up.',
      unit: 'short',
      queries: byInstance('millrace_redis_up'),
    },
    {
      title: 'Round trips, p99',
      text: 'Time from a command to its reply.',
      unit: 's',
      queries: [
        {
          expr: quantile(0.99, 'millrace_redis_round_trip_seconds', 'command'),
          legend: '{{command}}',
        },
      ],
    },
    {
      title: 'Commands',
      text: 'Commands and scripts sent to Redis.',
      unit: 'ops',
      queries: [
        {
          expr: `sum by (command) (${rate('millrace_redis_round_trip_seconds_count')})`,
          legend: '{{command}}',
        },
      ],
    },
    {
      title: 'Memory of Redis',
      text: 'Used memory, and its limit.',
      unit: 'bytes',
      queries: [
        { expr: 'max(millrace_redis_memory_bytes)', legend: 'used' },
        { expr: 'max(millrace_redis_memory_limit_bytes)', legend: 'limit' },
      ],
    },
    {
      title: 'Disk of Redis',
      text: "Used bytes of the disk with the server's data. Only of a server on the same machine.",
      unit: 'bytes',
      queries: [
        { expr: 'max(millrace_redis_disk_bytes)', legend: 'used' },
        { expr: 'max(millrace_redis_disk_limit_bytes)', legend: 'limit' },
      ],
    },
    {
      title: 'Outboxes',
      text: 'Flushes of emitted events that have not reached their partition.',
      unit: 'short',
      queries: [{ expr: 'max(millrace_outbox_flushes)', legend: 'flushes' }],
    },
    {
      title: 'Oldest flush of the outboxes',
      text: 'Above some seconds: the target takes nothing.',
      unit: 's',
      queries: [{ expr: 'max(millrace_outbox_oldest_seconds)', legend: 'oldest' }],
    },
    {
      title: 'Waits for schemas',
      text: 'Schemas that the threads had to wait for.',
      unit: 'ops',
      queries: byInstance(rate('millrace_schema_wait_seconds_count')),
    },
  ],
};

const PUBLISHERS: Row = {
  title: 'Publishers (services that serve millrace.metrics())',
  panels: [
    {
      title: 'Published',
      text: 'Events appended by the publishers that are scraped.',
      unit: 'ops',
      queries: [
        {
          expr: `sum by (type) (${rate('millrace_published_events_total')})`,
          legend: '{{type}}',
        },
      ],
    },
    {
      title: 'Buffered',
      text: 'Bytes accepted and not yet appended.',
      unit: 'bytes',
      queries: byInstance('millrace_publisher_buffered_bytes'),
    },
    {
      title: 'Waiting calls',
      text: 'Calls of publish that wait for room in the buffer.',
      unit: 'short',
      queries: byInstance('millrace_publisher_waiting_calls'),
    },
    {
      title: 'Flushes',
      text: "Time from a flush's first event to the answer of Redis.",
      unit: 's',
      queries: [0.5, 0.99].map((q) => ({
        expr: quantile(q, 'millrace_publisher_flush_seconds', 'instance'),
        legend: `{{instance}} p${q * 100}`,
      })),
    },
    {
      title: 'Events of a flush',
      text: 'Flushes grow with the load.',
      unit: 'short',
      queries: [0.5, 0.99].map((q) => ({
        expr: quantile(q, 'millrace_publisher_flush_events', 'instance'),
        legend: `{{instance}} p${q * 100}`,
      })),
    },
  ],
};

export const ROWS: readonly Row[] = [FUNCTIONS, DISPATCHERS, REDIS, PUBLISHERS];
