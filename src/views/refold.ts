/** Folds rows again from their histories, to compare them with the stored rows. */
import { isDeepStrictEqual } from 'node:util';
import { compareEntryIds } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { counterFields, countOf, readPartitions } from '../redis/counters.ts';
import type { StoredRow } from '../wire/view-row.ts';
import type { ViewFold } from '../core/view-fold.ts';
import type { Generation } from './generations.ts';
import { findCategories, readSubject, type HistoryEvent } from './history-walk.ts';

/** Longest history to fold. A longer one would take too much time. */
const MOST = { events: 2000, bytes: 2_097_152 } as const;

/** Compares a row with the fold of its histories; null: this row cannot be compared. */
export type Refold = (partition: number, id: string, stored: StoredRow) => Promise<boolean | null>;

/**
 * Creates the comparison; null: no row of the view can be compared. A row can be compared if its
 * histories hold all events of the view's types, and the view has left none out. That is so in a
 * partition where the histories hold as many events as were appended. The view must hold rows back
 * for dead events, and none may be purged.
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
      new Map(),
    );
    if (folded.kind !== 'folded') return folded.kind === 'stopped' ? null : false;
    const text = folded.rows().get(id);
    // The rows are compared as data: the order of a row's fields may depend on the events of a
    // batch.
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), stored);
  };
}
