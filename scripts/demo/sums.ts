/** The sums that analytics must reach, computed apart from it, and the comparison. */
import { readRows, type Order } from './orders.ts';

export interface CountrySums {
  orders: number;
  cancellations: number;
  items: number;
  /** Revenue, pence. */
  revenue: number;
}
export type Sums = Map<string, CountrySums>;

function of(sums: Sums, country: string): CountrySums {
  let found = sums.get(country);
  if (!found) sums.set(country, (found = { orders: 0, cancellations: 0, items: 0, revenue: 0 }));
  return found;
}

/** Sums up the file's rows directly, without orders or events. */
export async function sumFile(path: string): Promise<Sums> {
  const sums: Sums = new Map();
  const invoices = new Set<string>();
  for await (const { row, quantity, unitPrice } of readRows(path)) {
    const country = of(sums, row.Country);
    if (!invoices.has(row.InvoiceNo)) {
      invoices.add(row.InvoiceNo);
      if (row.InvoiceNo.startsWith('C')) country.cancellations++;
      else country.orders++;
    }
    country.items += quantity;
    country.revenue += quantity * unitPrice;
  }
  return sums;
}

export function sumOrders(orders: Iterable<Order>): Sums {
  const sums: Sums = new Map();
  for (const { type, data } of orders) {
    const country = of(sums, data.country);
    if (type === 'order.created') country.orders++;
    else country.cancellations++;
    for (const item of data.items) {
      country.items += item.quantity;
      country.revenue += item.quantity * item.unitPrice;
    }
  }
  return sums;
}

/** @returns one line per difference; none when they are equal */
export function differences(expected: Sums, actual: Sums): string[] {
  const out: string[] = [];
  for (const country of new Set([...expected.keys(), ...actual.keys()])) {
    const e = expected.get(country);
    const a = actual.get(country);
    for (const key of ['orders', 'cancellations', 'items', 'revenue'] as const) {
      if ((e?.[key] ?? 0) !== (a?.[key] ?? 0))
        out.push(`${country}: ${key} is ${a?.[key] ?? 0}, should be ${e?.[key] ?? 0}`);
    }
  }
  return out;
}
