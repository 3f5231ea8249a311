/** An event store for the example's events, and the events that its tests append. */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { connect, type Millrace, type StoreOptions } from '../../src/millrace.ts';
import type { NewEvent, RecordedEvent } from '../../src/define/define-aggregate.ts';
import type { EventStore } from '../../src/store/event-store.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import type { EventHeader } from '../../src/wire/event-header.ts';
import { projectDir, type TestLike } from '../../scripts/lab/redis-server.ts';

export async function openShop(t: TestLike, url: string, partitions: number): Promise<Millrace> {
  const millrace = await connect({
    protoDir: join(projectDir, 'proto'),
    logger: pino({ level: 'silent' }),
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: partitions },
  });
  t.teardown(() => millrace.close());
  return millrace;
}

export async function openStore(
  t: TestLike,
  url: string,
  options: StoreOptions = {},
  partitions = 4,
): Promise<EventStore> {
  return (await openShop(t, url, partitions)).store(options);
}

/** An event of order `orderId`, recognised by `number`. */
export function reserved(
  orderId: string,
  number: number,
  more: { readonly id?: string } = {},
): NewEvent<'stock.reserved'> {
  return {
    type: 'stock.reserved',
    data: { orderId, lines: [{ sku: 'SKU', quantity: number }] },
    ...more,
  };
}
export function failed(
  orderId: string,
  reason: string,
  more: { readonly id?: string } = {},
): NewEvent<'payment.failed'> {
  return { type: 'payment.failed', data: { orderId, paymentId: 'p', reason }, ...more };
}
export const numberOf = (event: RecordedEvent): number =>
  event.type === 'stock.reserved' ? (event.data.lines[0]?.quantity ?? NaN) : NaN;

export async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of from) all.push(one);
  return all;
}

/** Reads the events of a type from the streams of four partitions, by position. */
export async function published(look: Redis, type: string): Promise<Map<string, EventHeader>> {
  const found = new Map<string, EventHeader>();
  for (let p = 0; p < 4; p++) {
    for (const [id, fields] of await look.xrangeBuffer(`mr:{${p}}:events:${type}`, '-', '+')) {
      walkBatch(
        fields[1] as Buffer,
        (header) => void found.set(`${p}/${String(id)}/${header.position}`, header),
      );
    }
  }
  return found;
}
