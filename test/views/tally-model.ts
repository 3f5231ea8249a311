/** The expected rows of the view `tally`: the same fold over the published events, in memory. */
import type { ViewRow } from '../../src/views/read-rows.ts';
import type { View } from '../../src/views/view-query.ts';
import { step, type Tally } from '../../scripts/lab/misbehaving-functions/tally/tally.ts';

export class TallyModel {
  readonly rows = new Map<string, Tally>();

  fold(
    type: string,
    data: { readonly key: string; readonly number: number; readonly order: string },
  ): void {
    if (data.order === 'drop') this.rows.delete(data.key);
    else this.rows.set(data.key, step(this.rows.get(data.key) ?? null, type, data.number));
  }

  sorted(
    filter: (row: Tally) => boolean,
    sort: (row: Tally) => number,
    order: 'asc' | 'desc',
  ): string[] {
    const found = [...this.rows]
      .filter(([, row]) => filter(row))
      .sort(([a, x], [b, y]) => sort(x) - sort(y) || Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([id]) => id);
    return order === 'asc' ? found : found.reverse();
  }
}

/** Lists all pages. */
export async function listAll(
  view: View<Tally>,
  options: Parameters<View<Tally>['list']>[0],
): Promise<ViewRow<Tally>[]> {
  const rows: ViewRow<Tally>[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<View<Tally>['list']>> = await view.list({
      ...options,
      ...(cursor === null ? {} : { cursor }),
    });
    rows.push(...page.rows);
    cursor = page.cursor;
  } while (cursor !== null);
  return rows;
}

export const event = (type: string, key: string, number: number, order = 'ok') => ({
  type,
  data: { key, number, order, filler: new Uint8Array(0) },
});
