/**
 * Turns the measured state into the figures of the rules. Pure: some figures need the state of
 * earlier looks, which comes in and goes out as values.
 */
import type { FunctionLag, TypeLag } from '../lag/lag.ts';
import { backlogRatio, changeOf, timeUntil, type Point } from '../lag/rates.ts';
import { retentionHeldMs } from '../upkeep/retention-held.ts';
import { labelsKey, type FigureName, type Readings, type FigureSample } from './figures.ts';
import type { History } from './history.ts';
import type { Measured } from './measured.ts';

/** By `<function>/<partition>`: number of settled events, and the time since it is this number. */
export type Lanes = ReadonlyMap<string, readonly [settled: number, sinceMs: number]>;

/** Window of the rate at which a backlog grows, ms. */
export const BACKLOG_WINDOW_MS = 300_000;
/** Shortest time that tells a rate, ms. */
const LEAST_RATE_MS = 30_000;
/** Most lanes that are watched. Further lanes have no figure. */
const MOST_LANES = 4096;

export interface ReadingsOptions {
  readonly measured: Measured;
  /** Partitions of the deployment. */
  readonly partitions: number;
  readonly nowMs: number;
  /** State of the earlier look. */
  readonly history: History;
  readonly lanes: Lanes;
  /** Whether Redis refused the writes of the earlier look. */
  readonly writesRefused: boolean;
}

export interface ReadingsNow {
  readonly readings: Readings;
  readonly lanes: Lanes;
}

export function readingsOf(options: ReadingsOptions): ReadingsNow {
  const { measured, nowMs, writesRefused } = options;
  const found = new Found();
  const lanes = laneFigures(found, options);
  functionFigures(found, measured);
  limitFigures(found, options);
  const { outboxes, losses, nodes, diskRatio } = measured;
  found.add('outbox_flushes', outboxes, ({ partition, entries }) => [
    { labels: { partition: String(partition) }, value: entries },
  ]);
  found.add('outbox_oldest_seconds', outboxes, ({ partition, oldestMs }) =>
    oldestMs === null ? [] : [{ labels: { partition: String(partition) }, value: oldestMs / 1000 }],
  );
  found.add('loss_age_seconds', losses && [...losses], ([kind, atMs]) => [
    { labels: { kind }, value: Math.max(0, nowMs - atMs) / 1000 },
  ]);
  found.add('redis_memory_ratio', nodes, ({ node, memoryRatio }) => [
    { labels: { node }, value: memoryRatio },
  ]);
  found.add('redis_persistence_ok', nodes, ({ node, persistenceOk }) => [
    { labels: { node }, value: persistenceOk ? 1 : 0 },
  ]);
  const disks = diskRatio === null ? null : diskRatio === undefined ? [] : [diskRatio];
  found.add('redis_disk_ratio', disks, (value) => [{ labels: {}, value }]);
  found.add('redis_writes_refused', [writesRefused], (refused) => [
    { labels: {}, value: refused ? 1 : 0 },
  ]);
  return { readings: found, lanes };
}

/** The figures found so far. */
class Found implements Readings {
  readonly samples = new Map<FigureName, readonly FigureSample[]>();
  readonly unread = new Set<FigureName>();

  /** @param from null: it could not be read */
  add<T>(
    figure: FigureName,
    from: readonly T[] | null,
    samplesOf: (one: T) => readonly FigureSample[],
  ): void {
    if (from === null) this.unread.add(figure);
    else this.samples.set(figure, from.flatMap(samplesOf));
  }
}

const OF_FUNCTION: Readonly<Partial<Record<FigureName, (lag: FunctionLag) => number>>> = {
  appended_events: (lag) => lag.appended,
  done_events: (lag) => lag.done,
  lag_events: (lag) => lag.lag,
  pending_events: (lag) => lag.pending,
  parked_events: (lag) => lag.parked,
  dead_events: (lag) => lag.dead,
  dead_letters: (lag) => lag.letters,
  held_events: (lag) => lag.states.held.events,
  oldest_held_seconds: (lag) => (lag.states.held.oldestMs ?? 0) / 1000,
  oldest_event_seconds: (lag) => (lag.oldestMs ?? 0) / 1000,
  conserved: (lag) => (lag.conserved ? 1 : 0),
};

function functionFigures(found: Found, { lag }: Measured): void {
  for (const [figure, of] of Object.entries(OF_FUNCTION))
    found.add(figure as FigureName, lag && lag.functions, (one) => [
      { labels: { function: one.name }, value: of(one) },
    ]);
}

/** Finds lanes that have had work and have settled nothing. */
function laneFigures(found: Found, { measured, lanes, nowMs }: ReadingsOptions): Lanes {
  if (measured.lag === null) {
    found.unread.add('lane_stalled_seconds');
    return lanes;
  }
  const next = new Map<string, readonly [number, number]>();
  const samples: FigureSample[] = [];
  for (const { name, types } of measured.lag.functions) {
    for (const [partition, rows] of byPartition(types)) {
      if (!rows.some((row) => row.lag + row.pending > 0) || next.size >= MOST_LANES) continue;
      const key = `${name}/${partition}`;
      const settled = rows.reduce((sum, row) => sum + row.done + row.dead + row.parked, 0);
      const before = lanes.get(key);
      const sinceMs = before?.[0] === settled ? Math.min(before[1], nowMs) : nowMs;
      next.set(key, [settled, sinceMs]);
      samples.push({
        labels: { function: name, partition: String(partition) },
        value: (nowMs - sinceMs) / 1000,
      });
    }
  }
  found.samples.set('lane_stalled_seconds', samples);
  return next;
}

function byPartition(rows: readonly TypeLag[]): Map<number, TypeLag[]> {
  const partitions = new Map<number, TypeLag[]>();
  for (const row of rows) {
    const same = partitions.get(row.partition);
    if (same) same.push(row);
    else partitions.set(row.partition, [row]);
  }
  return partitions;
}

/** Figures of the types that have limits. */
function limitFigures(
  found: Found,
  { measured, partitions, history, nowMs }: ReadingsOptions,
): void {
  const { lag, limits } = measured;
  if (lag === null || limits === null) {
    for (const figure of [
      'backlog_ratio',
      'backlog_limit_seconds',
      'retention_held_seconds',
    ] as const)
      found.unread.add(figure);
    return;
  }
  const ratios: FigureSample[] = [];
  const held: FigureSample[] = [];
  for (const { name, types } of lag.functions) {
    for (const [type, rows] of byType(types)) {
      const limit = limits.get(type);
      if (limit === undefined) continue;
      const labels = { function: name, type };
      const { maxBacklog: max } = limit;
      const ratio = max === undefined ? null : backlogRatio(rows, { max, partitions });
      if (ratio !== null) ratios.push({ labels, value: ratio });
      const heldMs = Math.max(...rows.map((row) => retentionHeldMs(row, limit, partitions)));
      if (heldMs > 0) held.push({ labels, value: heldMs / 1000 });
    }
  }
  found.samples.set('backlog_ratio', ratios);
  found.samples.set('backlog_limit_seconds', timesToLimit(ratios, history, nowMs));
  found.samples.set('retention_held_seconds', held);
}

function byType(rows: readonly TypeLag[]): Map<string, TypeLag[]> {
  const types = new Map<string, TypeLag[]>();
  for (const row of rows) {
    const same = types.get(row.type);
    if (same) same.push(row);
    else types.set(row.type, [row]);
  }
  return types;
}

function timesToLimit(
  ratios: readonly FigureSample[],
  history: History,
  nowMs: number,
): FigureSample[] {
  const series = history.get('backlog_ratio');
  return ratios.flatMap(({ labels, value }) => {
    if (value >= 1) return [{ labels, value: 0 }];
    const points: readonly Point[] = series?.get(labelsKey(labels)) ?? [];
    const [overMs, grown] = changeOf([...points, [nowMs, value]], 'delta', BACKLOG_WINDOW_MS);
    const untilMs = overMs < LEAST_RATE_MS ? null : timeUntil(1 - value, grown, overMs);
    return untilMs === null ? [] : [{ labels, value: untilMs / 1000 }];
  });
}
