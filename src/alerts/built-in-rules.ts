/** The rules that are on by default. docs/alerts.md has a section for each of them. */
import type { AlertRule, AlertSeverity } from './alert-rule.ts';
import { parseExpression } from './expression.ts';

interface Declared {
  readonly expression: string;
  readonly forMs?: number;
  readonly severity: AlertSeverity;
  /** It names no threshold: a file may change that. */
  readonly summary: string;
}

const MINUTE_MS = 60_000;
/** Place of the steps in Millrace's own docs. A rule of the file may name another one. */
const RUNBOOK = 'docs/alerts.md';

const DECLARED: Readonly<Record<string, Declared>> = {
  'oldest-event': {
    expression: 'oldest_event_seconds > 1m',
    severity: 'warning',
    summary: 'An event of the function waits for too long.',
  },
  'lag-growing': {
    expression: 'lag_events > 1000 and delta(lag_events[10m]) > 0',
    forMs: 10 * MINUTE_MS,
    severity: 'warning',
    summary: 'The function is slower than its events arrive.',
  },
  'dead-letters-growing': {
    expression: 'increase(dead_events[10m]) > 0',
    severity: 'warning',
    summary: 'Events of the function died lately.',
  },
  'conservation-broken': {
    expression: 'conserved < 1',
    forMs: MINUTE_MS,
    severity: 'critical',
    summary: 'The states of the function do not add up to the appended events.',
  },
  loss: {
    expression: 'loss_age_seconds{kind!="wedged"} < 15m',
    severity: 'critical',
    summary: 'Millrace has found data missing in Redis.',
  },
  'lane-stalled': {
    expression: 'lane_stalled_seconds > 5m',
    severity: 'critical',
    summary: 'A lane has had work for too long and has settled nothing.',
  },
  'backlog-limit-near': {
    expression: 'backlog_limit_seconds < 15m',
    forMs: 2 * MINUTE_MS,
    severity: 'critical',
    summary: 'At this rate the function reaches its backlog limit soon, and publishers are slowed.',
  },
  'retention-held': {
    expression: 'retention_held_seconds > 0',
    forMs: 10 * MINUTE_MS,
    severity: 'warning',
    summary: 'A stream stays above its limit, because the function has not settled its events.',
  },
  'outbox-stuck': {
    expression: 'outbox_oldest_seconds > 1m',
    severity: 'critical',
    summary: 'Emitted events do not reach their partition.',
  },
  'redis-memory': {
    expression: 'redis_memory_ratio > 90%',
    forMs: MINUTE_MS,
    severity: 'critical',
    summary: "The server's memory is nearly used up. Without memory Redis refuses new events.",
  },
  'redis-disk': {
    expression: 'redis_disk_ratio > 90%',
    forMs: MINUTE_MS,
    severity: 'critical',
    summary:
      "The disk of the server's data is nearly full. On a full disk Redis refuses all writes.",
  },
  'redis-not-persisting': {
    expression: 'redis_persistence_ok < 1',
    severity: 'critical',
    summary: 'Redis cannot write its data to disk.',
  },
  'redis-refuses-writes': {
    expression: 'redis_writes_refused > 0',
    severity: 'critical',
    summary: 'Redis refuses writes, so nothing is published, committed or moved.',
  },
};

export const BUILT_IN_RULES: readonly AlertRule[] = Object.entries(DECLARED).map(
  ([name, { expression, forMs = 0, severity, summary }]) => ({
    name,
    expression: parseExpression(expression),
    forMs,
    severity,
    labels: {},
    summary,
    runbook: `${RUNBOOK}#${name}`,
  }),
);
