/** Accounts for every event of a run: each was processed exactly once, and counted so. */
import { adoptForeign } from '../../src/lag/adopt.ts';
import { counterFields } from '../../src/redis/counters.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { View, type Page } from '../../src/views/view-query.ts';
import type { ConsumerResult } from './consumer.ts';
import type { Bench } from './fresh-server.ts';
import type { OrderRow } from './functions/view/view.ts';
import { expectedSeen, ORDER_TYPE, sameSeen, type Seen } from './order.ts';

/**
 * Compares Millrace's counters in Redis, the dispatcher's report, and the events that the functions
 * saw. All three must agree.
 */
export async function accounted(
  bench: Bench,
  functions: readonly string[],
  events: number,
  result: ConsumerResult,
): Promise<boolean> {
  const isView = functions[0] === 'view';
  const totals = await countersOf(bench.server.url, isView ? ['view@1'] : functions);
  const seen = isView ? await seenInRows(bench.server.url, bench.options.partitions) : result.seen;
  const runs = events * functions.length;
  const problems: string[] = [];
  if (totals.appended !== events) problems.push(`appended ${totals.appended}`);
  if (totals.done !== runs || totals.dead !== 0 || totals.parked !== 0)
    problems.push(`done ${totals.done}, dead ${totals.dead}, parked ${totals.parked}`);
  if (result.done !== runs || result.dead !== 0)
    problems.push(
      `the dispatcher reported done ${result.done}, retried ${result.retried}, dead ${result.dead}`,
    );
  const expected = expectedSeen(events, functions.length);
  if (!sameSeen(seen, expected))
    problems.push(
      `${isView ? 'the rows say' : 'the functions saw'} ${JSON.stringify(seen)}, expected ${JSON.stringify(expected)}`,
    );
  if (result.threadDeaths > 0) problems.push(`${result.threadDeaths} threads died`);
  if (problems.length > 0)
    console.error(
      `NOT ACCOUNTED, of ${events} events for ${functions.length} functions: ${problems.join('; ')}`,
    );
  return problems.length === 0;
}

/** Sums up every row, through the view's own list. */
async function seenInRows(url: string, partitions: number): Promise<Seen> {
  const connection = openConnection({ url, name: 'bench' });
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  try {
    const view = new View<OrderRow>({ connection, keys: createKeys('mr'), partitions }, 'view');
    let cursor: string | null = null;
    do {
      const page: Page<OrderRow> = await view.list({
        limit: 1000,
        ...(cursor === null ? {} : { cursor }),
      });
      for (const { row } of page.rows) {
        seen.count += row.count;
        seen.sum += row.sum;
        seen.mixed += row.mixed;
      }
      cursor = page.cursor;
    } while (cursor !== null);
    return seen;
  } finally {
    await connection.close();
  }
}

/** Sums up the counters over all partitions and the named functions. */
export async function countersOf(
  url: string,
  functions: readonly string[],
): Promise<{ appended: number; done: number; dead: number; parked: number; bytes: number }> {
  const connection = openConnection({ url, name: 'bench' });
  try {
    const keys = createKeys('mr');
    const partitions = Number(await connection.command('HGET', keys.settings(), 'partitions'));
    const totals = { appended: 0, done: 0, dead: 0, parked: 0, bytes: 0 };
    for (let partition = 0; partition < partitions; partition++) {
      // Events of a foreign producer are counted only now and then.
      await adoptForeign(connection, keys, partition, ORDER_TYPE);
      const flat = (await connection.command('HGETALL', keys.counters(partition))) as
        string[] | Record<string, string>;
      const fields = new Map<string, string>(
        Array.isArray(flat) ? pairs(flat) : Object.entries(flat),
      );
      const of = (field: string): number => Number(fields.get(field) ?? 0);
      totals.appended += of(counterFields.appended(ORDER_TYPE));
      for (const fn of functions) {
        totals.done += of(counterFields.done(fn, ORDER_TYPE));
        totals.dead += of(counterFields.dead(fn, ORDER_TYPE));
        totals.parked += of(counterFields.parked(fn, ORDER_TYPE));
      }
      totals.bytes += Number(
        (await connection.command('MEMORY', 'USAGE', keys.events(partition, ORDER_TYPE))) ?? 0,
      );
    }
    return totals;
  } finally {
    await connection.close();
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [
    flat[2 * i] as string,
    flat[2 * i + 1] as string,
  ]);
}
