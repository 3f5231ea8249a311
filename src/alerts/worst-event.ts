/** Finds the worst event of an alert, and explains it. */
import { explainNewestLetter, explainOldest } from '../explain/explain-worst.ts';
import type { LagReport, TypeLag } from '../lag/lag.ts';
import type { RedisSource } from '../redis/source.ts';
import type { AlertRecord } from './alert-record.ts';
import type { FigureName } from './figures.ts';

/** Figures whose worst event is the newest dead one. */
const OF_LETTERS: ReadonlySet<FigureName> = new Set(['dead_events', 'dead_letters']);

/**
 * Explains the worst event of an alert: the newest dead event, or the oldest unsettled one, of the
 * function, type and partition in its labels.
 * @param lag null: it is not known
 * @returns null: the alert is about no function, or nothing waits any more
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function worstEventOf(
  source: RedisSource,
  { labels, figure }: Pick<AlertRecord, 'labels' | 'figure'>,
  lag: LagReport | null,
  nowMs: number,
): Promise<string | null> {
  const fn = labels['function'];
  if (fn === undefined) return null;
  if (OF_LETTERS.has(figure)) return explainNewestLetter(source, fn);
  const rows = lag?.functions.find(({ name }) => name === fn)?.types ?? [];
  const worst = oldestRow(rows, labels['type'], labels['partition']);
  return worst === null ? null : explainOldest(source, { fn, ...worst }, nowMs);
}

function oldestRow(
  rows: readonly TypeLag[],
  type: string | undefined,
  partition: string | undefined,
): Pick<TypeLag, 'type' | 'partition'> | null {
  let oldest: TypeLag | null = null;
  for (const row of rows) {
    if (row.oldestMs === null) continue;
    if (type !== undefined && row.type !== type) continue;
    if (partition !== undefined && String(row.partition) !== partition) continue;
    if (oldest === null || row.oldestMs > (oldest.oldestMs ?? 0)) oldest = row;
  }
  return oldest && { type: oldest.type, partition: oldest.partition };
}
