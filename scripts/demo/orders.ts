/** The demo's orders: made up, or read from a file of real ones. */
import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';

export interface Line {
  readonly sku: string;
  readonly description: string;
  readonly quantity: number;
  readonly unitPrice: number;
}

export interface Order {
  readonly type: 'order.created' | 'order.cancelled';
  readonly data: {
    readonly orderId: string;
    readonly userId: string;
    readonly country: string;
    readonly items: readonly Line[];
    readonly total: { readonly amount: number; readonly currency: string };
    readonly reason?: string;
  };
}

const COLUMNS = [
  'InvoiceNo',
  'StockCode',
  'Description',
  'Quantity',
  'InvoiceDate',
  'UnitPrice',
  'CustomerID',
  'Country',
] as const;
type Row = Record<(typeof COLUMNS)[number], string>;

/** The file is no file of orders; the message names the line. */
export class BadOrdersFileError extends Error {
  override readonly name = 'BadOrdersFileError';
}

/** Converts pounds as decimal text to pence, exactly. Null: no amount of whole pence. */
export function pence(text: string): number | null {
  const match = /^(-?)(\d{1,9})(?:\.(\d{1,2})0*)?$/.exec(text.trim());
  if (!match) return null;
  const value = Number(match[2]) * 100 + Number((match[3] ?? '').padEnd(2, '0'));
  return match[1] === '-' ? -value : value;
}

/**
 * Reads the rows of a file with the columns of the "Online Retail" data set. The demo makes two
 * passes over it.
 * @throws BadOrdersFileError
 */
export async function* readRows(
  path: string,
): AsyncGenerator<{ row: Row; at: string; quantity: number; unitPrice: number }> {
  const parser = parse({ columns: true, bom: true, info: true, skip_empty_lines: true });
  // pipe() does not pass errors on. A missing file would end the process, or hang it.
  const file = createReadStream(path).once('error', (error) => parser.destroy(error));
  let empty = true;
  try {
    for await (const { record: row, info } of file.pipe(parser) as AsyncIterable<{
      record: Row;
      info: { lines: number };
    }>) {
      const at = `${path}, line ${info.lines}`;
      if (empty) {
        const lacking = COLUMNS.filter((column) => !(column in row));
        if (lacking.length > 0)
          throw new BadOrdersFileError(`${path}, line 1 lacks the column ${lacking.join(', ')}`);
      }
      empty = false;
      if (!/^-?\d{1,9}$/.test(row.Quantity))
        throw new BadOrdersFileError(`${at}: Quantity "${row.Quantity}" is no whole number`);
      const unitPrice = pence(row.UnitPrice);
      if (unitPrice === null)
        throw new BadOrdersFileError(
          `${at}: UnitPrice "${row.UnitPrice}" is no amount of whole pence`,
        );
      if (row.InvoiceNo === '') throw new BadOrdersFileError(`${at}: InvoiceNo is empty`);
      yield { row, at, quantity: Number(row.Quantity), unitPrice };
    }
  } catch (error) {
    if (error instanceof BadOrdersFileError) throw error;
    throw new BadOrdersFileError(`${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    file.destroy();
  }
  if (empty) throw new BadOrdersFileError(`${path} holds no orders`);
}

/**
 * Reads the orders of a file with the columns of the "Online Retail" data set, invoice by invoice,
 * in bounded memory.
 * @throws BadOrdersFileError
 */
export async function* readOrders(path: string): AsyncGenerator<Order> {
  let invoice = '';
  let lines: Line[] = [];
  let first: Row | null = null;
  const seen = new Set<string>();
  const finish = (): Order => {
    const row = first as Row;
    const cancelled = invoice.startsWith('C');
    const total = {
      amount: lines.reduce((sum, line) => sum + line.quantity * line.unitPrice, 0),
      currency: 'GBP',
    };
    const data = {
      orderId: invoice,
      userId: row.CustomerID,
      country: row.Country,
      items: lines,
      total,
    };
    return cancelled
      ? { type: 'order.cancelled', data: { ...data, reason: 'returned' } }
      : { type: 'order.created', data };
  };
  for await (const { row, at, quantity, unitPrice } of readRows(path)) {
    if (row.InvoiceNo !== invoice) {
      if (lines.length > 0) yield finish();
      if (seen.has(row.InvoiceNo))
        throw new BadOrdersFileError(
          `${at}: invoice ${row.InvoiceNo} appears a second time, not in one piece`,
        );
      seen.add(row.InvoiceNo);
      invoice = row.InvoiceNo;
      lines = [];
      first = row;
    }
    lines.push({ sku: row.StockCode, description: row.Description, quantity, unitPrice });
  }
  yield finish();
}

const COUNTRIES = ['United Kingdom', 'France', 'Germany', 'Ireland', 'Norway'];

/** Makes up orders, the same ones every time. Each twentieth is cancelled later. */
export function* inventOrders(count: number): Generator<Order> {
  for (let i = 0; i < count; i++) {
    const cancelled = i % 20 === 19;
    const n = cancelled ? i - 10 : i;
    const sign = cancelled ? -1 : 1;
    const items = Array.from({ length: 1 + (n % 3) }, (_, k) => ({
      sku: `SKU-${(n * 7 + k) % 500}`,
      description: `Article ${(n * 7 + k) % 500}`,
      quantity: sign * (1 + ((n + k) % 4)),
      unitPrice: 99 + ((n * 13 + k * 101) % 4900),
    }));
    const total = {
      amount: items.reduce((sum, item) => sum + item.quantity * item.unitPrice, 0),
      currency: 'GBP',
    };
    const data = {
      orderId: `order-${n}`,
      userId: `user-${n % 997}`,
      country: COUNTRIES[n % COUNTRIES.length] as string,
      items,
      total,
    };
    yield cancelled
      ? { type: 'order.cancelled', data: { ...data, reason: 'changed my mind' } }
      : { type: 'order.created', data };
  }
}
