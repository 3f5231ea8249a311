/**
 * A view whose fold counts. The row shows an event that was folded twice, not at all, or out of
 * order.
 */
import { defineView } from '../../../../src/define/index.ts';

export interface Tally {
  count: number;
  sum: number;
  /** Value that depends on the order of the events. */
  chain: number;
  size: 'small' | 'large';
  last: string;
}

export const step = (row: Tally | null, type: string, number: number): Tally => {
  const { count = 0, sum = 0, chain = 7 } = row ?? {};
  const total = sum + number;
  // A huge row stays huge.
  const last = row && row.last.length > 1000 ? row.last : type;
  return {
    count: count + 1,
    sum: total,
    chain: (chain * 31 + number) % 1_000_003,
    size: total > 100 ? 'large' : 'small',
    last,
  };
};

/**
 * Number of failures per event id in this thread. A batch with a failing event is folded twice: the
 * first attempt is two calls.
 */
const failures = new Map<string, number>();

export default defineView({
  name: 'tally',
  version: 1,
  on: ['test.event', 'test.other'],
  retry: { attempts: 4, minDelayMs: 10, maxDelayMs: 20, jitter: false },
  timeoutMs: 5000,
  maxRowBytes: 2000,
  evolve(row: Tally | null, event): Tally | null {
    const { order, number } = event.data as { order: string; number: number };
    if (order === 'drop') return null;
    if (order === 'exit') process.exit(3);
    if (order === 'throw') throw new Error('as ordered');
    if (order === 'huge') return { ...step(row, event.type, number), last: 'x'.repeat(3000) };
    if (order === 'wrong') return 5 as unknown as Tally;
    if (order === 'spoil' && row && (failures.get(event.id) ?? 0) < 2) {
      failures.set(event.id, (failures.get(event.id) ?? 0) + 1);
      row.sum = -1_000_000;
      throw new Error('spoilt the row it was given, then failed');
    }
    const next = step(row, event.type, number);
    // A fold may change the row in place.
    return row ? Object.assign(row, next) : next;
  },
  indexes: {
    size: { by: 'size', sort: 'sum' },
    sum: { sort: (row) => row.sum },
    // Indexes only some rows.
    odd: { by: (row) => (row.count % 2 === 1 ? row.last : null) },
  },
});
