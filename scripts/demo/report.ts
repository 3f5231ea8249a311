/** Prints the outcome of the demo. */
import Table from 'cli-table3';
import type { Deployment } from '../../src/index.ts';
import type { Progress } from './progress.ts';
import { differences, type Sums } from './sums.ts';
import type { Totals } from './totals.ts';

export function printFunctions(
  functions: readonly string[],
  totals: Map<string, Totals>,
  progress: Map<string, Progress>,
  events: number,
): void {
  const table = new Table({
    head: ['function', 'done', 'retried', 'dead', 'lag', 'events/s', 'p50 ms', 'p99 ms'],
    style: { head: [], border: [] },
  });
  for (const fn of functions) {
    const t = totals.get(fn) as Totals;
    const p = progress.get(fn);
    const seconds = p ? Math.max(0.001, (p.lastMs - p.firstMs) / 1000) : 1;
    table.push([
      fn,
      t.done,
      p?.retried ?? 0,
      t.dead,
      t.lag,
      Math.round(events / seconds),
      p?.latency.percentile(50) ?? 0,
      p?.latency.percentile(99) ?? 0,
    ]);
  }
  console.log(table.toString());
}

export async function printDeadLetters(
  deployment: Deployment,
  functions: readonly string[],
): Promise<void> {
  const shown: string[] = [];
  let count = 0;
  for (const fn of functions) {
    for (let partition = 0; partition < deployment.partitions; partition++) {
      const entries = (await deployment.connection.command(
        'XRANGE',
        deployment.keys.dead(partition, fn),
        '-',
        '+',
        'COUNT',
        1000,
      )) as [string, string[]][];
      for (const [, fields] of entries) {
        count++;
        const field = (name: string) => fields[fields.indexOf(name) + 1] ?? '';
        if (shown.length < 5)
          shown.push(
            `  ${fn}: ${field('type')} ${field('subject')}: ${field('reason')}: ${field('message')}`,
          );
      }
    }
  }
  if (count > 0) console.log(`dead letters: ${count}, for example\n${shown.join('\n')}`);
}

export function printSums(expected: Sums, actual: Sums): void {
  const table = new Table({
    head: ['country', 'orders', 'cancelled', 'items', 'revenue (pence)', 'input says'],
    style: { head: [], border: [] },
  });
  for (const [country, e] of [...expected].sort(([, a], [, b]) => b.revenue - a.revenue)) {
    const a = actual.get(country) ?? { orders: 0, cancellations: 0, items: 0, revenue: 0 };
    const same = differences(new Map([[country, e]]), new Map([[country, a]])).length === 0;
    table.push([
      country,
      a.orders,
      a.cancellations,
      a.items,
      a.revenue,
      same ? 'the same' : `${e.orders} / ${e.cancellations} / ${e.items} / ${e.revenue}`,
    ]);
  }
  console.log(table.toString());
}
