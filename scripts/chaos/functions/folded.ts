/**
 * A view. Its rows are in Redis itself, written exactly once whatever happens. No event becomes
 * dead by it: a dead event would hold its subject for good.
 */
import { defineView } from '../../../src/define/index.ts';
import type { FoldedRow } from '../function-rules.ts';
import { policy } from './_observed.ts';

/**
 * Number of failures per event id in this thread. A turn with a failing event is folded twice: an
 * attempt is two calls.
 */
const failures = new Map<string, number>();

export default defineView({
  name: 'folded',
  version: 1,
  on: ['test.event', 'test.other'],
  ...policy,
  // Each thread that meets the event fails it once or twice.
  retry: { ...policy.retry, attempts: 50 },
  evolve(row: FoldedRow | null, event): FoldedRow {
    const { order, number } = event.data as { order: string; number: number };
    if (order === 'throw-once' && (failures.get(event.id) ?? 0) < 2) {
      failures.set(event.id, (failures.get(event.id) ?? 0) + 1);
      throw new Error('thrown once as ordered');
    }
    return {
      count: (row?.count ?? 0) + 1,
      last: number,
      disordered: (row?.disordered ?? 0) + (row && number <= row.last ? 1 : 0),
    };
  },
});
