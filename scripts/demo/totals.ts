/** The sums that Redis holds: the counters of the functions, and the totals of their effects. */
import type { Deployment } from '../../src/index.ts';
import { counterFields } from '../../src/redis/counters.ts';
import type { Sums } from './sums.ts';

export interface Totals {
  done: number;
  dead: number;
  parked: number;
  lag: number;
}

/** Reads the totals from the counters of every partition. */
export async function readTotals(
  deployment: Deployment,
  functions: readonly string[],
): Promise<Map<string, Totals>> {
  const out = new Map<string, Totals>(
    functions.map((fn) => [fn, { done: 0, dead: 0, parked: 0, lag: 0 }]),
  );
  for (let partition = 0; partition < deployment.partitions; partition++) {
    const flat = (await deployment.connection.command(
      'HGETALL',
      deployment.keys.counters(partition),
    )) as string[];
    const counters = new Map<string, number>();
    for (let i = 0; i < flat.length; i += 2) counters.set(flat[i] as string, Number(flat[i + 1]));
    for (const [fn, totals] of out) {
      for (const type of ['order.created', 'order.cancelled']) {
        const [done = 0, dead = 0, parked = 0, appended = 0] = [
          counterFields.done(fn, type),
          counterFields.dead(fn, type),
          counterFields.parked(fn, type),
          counterFields.appended(type),
        ].map((field) => counters.get(field));
        totals.done += done;
        totals.dead += dead;
        totals.parked += parked;
        totals.lag += appended - done - dead - parked;
      }
    }
  }
  return out;
}

/** Reads the sums that the shop's analytics have written. */
export async function readAnalytics({ connection }: Deployment): Promise<Sums> {
  const sums: Sums = new Map();
  for (const key of ['orders', 'cancellations', 'items', 'revenue'] as const) {
    const flat = (await connection.command('HGETALL', `shop:analytics:${key}`)) as string[];
    for (let i = 0; i < flat.length; i += 2) {
      const country = flat[i] as string;
      const found = sums.get(country) ?? { orders: 0, cancellations: 0, items: 0, revenue: 0 };
      found[key] = Number(flat[i + 1]);
      sums.set(country, found);
    }
  }
  return sums;
}
