/**
 * The figures that the expressions of alert rules may name. readings.ts measures each of them once
 * per evaluation. The table in docs/alerts.md is printed from here.
 */
export type Labels = Readonly<Record<string, string>>;

/** One value of a figure. */
export interface FigureSample {
  readonly labels: Labels;
  readonly value: number;
}

interface Figure {
  readonly labels: readonly string[];
  /** Meaning, in Markdown. */
  readonly text: string;
  /** Whether the figure counts from 0 and only rises. Default false. */
  readonly counts?: boolean;
}

const OF_FUNCTION = ['function'] as const;

export const FIGURES = {
  appended_events: { labels: OF_FUNCTION, text: 'events appended for the function', counts: true },
  done_events: { labels: OF_FUNCTION, text: 'events that are done', counts: true },
  lag_events: { labels: OF_FUNCTION, text: 'events not delivered yet' },
  pending_events: { labels: OF_FUNCTION, text: 'events delivered and not settled' },
  parked_events: {
    labels: OF_FUNCTION,
    text: 'events that wait for a retry, or behind one; held ones included',
  },
  held_events: {
    labels: OF_FUNCTION,
    text: "parked events that wait behind a dead letter (`onDead: 'hold'`)",
  },
  oldest_held_seconds: {
    labels: OF_FUNCTION,
    text: 'age of the oldest held event, s; 0 without one',
  },
  dead_events: { labels: OF_FUNCTION, text: 'dead events, purged ones included', counts: true },
  dead_letters: { labels: OF_FUNCTION, text: 'dead letters that are kept' },
  oldest_event_seconds: {
    labels: OF_FUNCTION,
    text: 'age of the oldest event that waits and will run (held events will not), s; 0 without one',
  },
  conserved: {
    labels: OF_FUNCTION,
    text: '1 where done, parked, dead, pending and lag add up to the appended events, else 0',
  },
  lane_stalled_seconds: {
    labels: ['function', 'partition'],
    text: 'time for which a lane has had work and has settled nothing, s; missing without work',
  },
  backlog_ratio: {
    labels: ['function', 'type'],
    text: 'part of the limit `--max-backlog` that the function uses, in its fullest partition',
  },
  backlog_limit_seconds: {
    labels: ['function', 'type'],
    text: 'time until that limit is reached at the rate of the last 5 minutes, s; missing where the backlog does not grow',
  },
  retention_held_seconds: {
    labels: ['function', 'type'],
    text: 'age of the oldest event that the function keeps above a limit of its type, s; missing without one',
  },
  outbox_flushes: { labels: ['partition'], text: 'emitted flushes that wait in an outbox' },
  outbox_oldest_seconds: {
    labels: ['partition'],
    text: 'age of the oldest flush in an outbox, s; missing where the outbox is empty',
  },
  loss_age_seconds: {
    labels: ['kind'],
    text: 'time since the last loss of this kind, s: see `millrace losses`; missing without one',
  },
  redis_memory_ratio: {
    labels: ['node'],
    text: "used part of the server's `maxmemory`, or of its machine's memory where there is no limit",
  },
  redis_disk_ratio: {
    labels: [],
    text: "used part of the disk of the server's data; only for a server on this machine (unix socket)",
  },
  redis_persistence_ok: {
    labels: ['node'],
    text: '1 where the last writes of the append-only file and of the snapshot succeeded, else 0',
  },
  redis_writes_refused: {
    labels: [],
    text: '1 while Redis refuses the writes of the alerts themselves, else 0',
  },
} as const satisfies Readonly<Record<string, Figure>>;

export type FigureName = keyof typeof FIGURES;

/** Figures of one moment. */
export interface Readings {
  /** By figure. A figure without a value has an empty list, or is missing. */
  readonly samples: ReadonlyMap<FigureName, readonly FigureSample[]>;
  /**
   * Figures that could not be read. Nothing is known about them: their alerts stay as they are.
   */
  readonly unread: ReadonlySet<FigureName>;
}

/** Whether the figure counts from 0 and only rises. */
export function isCounter(name: FigureName): boolean {
  const figure: Figure = FIGURES[name];
  return figure.counts === true;
}

export function isFigure(name: string): name is FigureName {
  return Object.hasOwn(FIGURES, name);
}

/** Returns one text for the labels, whatever their order: the identity of a series. */
export function labelsKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
