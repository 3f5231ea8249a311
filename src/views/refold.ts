/** Folds rows anew from their histories, to compare them with the stored ones. */
import { isDeepStrictEqual } from 'node:util';
import { compareEntryIds } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { counterFields, countOf, readPartitions } from '../redis/counters.ts';
import type { StoredRow } from '../wire/view-row.ts';
import type { ViewFold } from '../core/view-fold.ts';
import type { Generation } from './generations.ts';
import { findCategories, readSubject, type HistoryEvent } from './history-walk.ts';

/** Of longer histories a fold would be too much work for a look. */
const MOST = { events: 2000, bytes: 2_097_152 } as const;

/** Whether a row is equal to the fold of its histories; null: that cannot be told of it. */
export type Refold = (partition: number, id: string, stored: StoredRow) => Promise<boolean | null>;

/**
 * Where all events of the view's types went through histories, and none was left out: in a
 * partition in which so many were appended to histories as were appended at all, of a view whose
 * rows wait for their dead events, without a purged one.
 */
export async function createRefold(
  source: RedisSource,
  { name, types }: Generation,
  fold: ViewFold,
): Promise<Refold | null> {
  const whole = new Set<number>();
  for (const state of await readPartitions(source)) {
    if (
      types.every(
        (type) =>
          countOf(state, counterFields.stored(type)) ===
            countOf(state, counterFields.appended(type)) &&
          countOf(state, counterFields.purged(name, type)) === 0 &&
          countOf(state, counterFields.base(name, type)) === 0,
      )
    )
      whole.add(state.partition);
  }
  if (whole.size === 0 || fold.spec.onDead !== 'hold') return null;
  const categories = await findCategories(source);
  return async (partition, id, stored) => {
    if (!whole.has(partition)) return null;
    const events = await readSubject(source, partition, categories, id, MOST);
    if (events === null) return null;
    const behind = stored.at.indexOf('/');
    const [entryId, position] = [stored.at.slice(0, behind), Number(stored.at.slice(behind + 1))];
    const isIn = (event: HistoryEvent): boolean =>
      (compareEntryIds(event.entryId, entryId) || event.position - position) <= 0;
    const wanted = events.filter((event) => types.includes(event.type) && isIn(event));
    if (wanted.length === 0) return false;
    const folded = await fold.fold(
      partition,
      wanted.map(({ entryId: from, type, bytes }) => ({
        entryId: from,
        type: fold.spec.on.indexOf(type),
        bytes,
      })),
      true,
    );
    if (folded.kind !== 'folded') return folded.kind === 'stopped' ? null : false;
    const text = folded.rows().get(id);
    // Compared as data: in which order a row's fields stand may depend on what came in one batch.
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), stored);
  };
}
