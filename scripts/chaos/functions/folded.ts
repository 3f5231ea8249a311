/** A view: what it writes is in Redis itself, and exactly once, whatever happens. Nothing dies of it: that would hold its subject for good. */
import { defineView } from '../../../src/define/index.ts';
import type { FoldedRow } from '../function-rules.ts';
import { policy } from './_observed.ts';

/** Ids that failed once in this thread. */
const failed = new Set<string>();

export default defineView({
  name: 'folded',
  version: 1,
  on: ['test.event', 'test.other'],
  ...policy,
  // Each thread that comes upon it fails it once.
  retry: { ...policy.retry, attempts: 50 },
  evolve(row: FoldedRow | null, event): FoldedRow {
    const { order, number } = event.data as { order: string; number: number };
    if (order === 'throw-once' && !failed.has(event.id)) {
      failed.add(event.id);
      throw new Error('thrown once as ordered');
    }
    return { count: (row?.count ?? 0) + 1, last: number, disordered: (row?.disordered ?? 0) + (row && number <= row.last ? 1 : 0) };
  },
});
