/**
 * A view: what it writes is in Redis itself, and exactly once, whatever happens. Nothing dies of
 * it: that would hold its subject for good.
 */
import { defineView } from '../../../src/define/index.ts';
import type { FoldedRow } from '../function-rules.ts';
import { policy } from './_observed.ts';

/**
 * How often the events of these ids failed in this thread. A turn in which one fails is folded
 * twice: an attempt is two calls.
 */
const failures = new Map<string, number>();

export default defineView({
  name: 'folded',
  version: 1,
  on: ['test.event', 'test.other'],
  ...policy,
  // Each thread that comes upon it fails it once or twice.
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
