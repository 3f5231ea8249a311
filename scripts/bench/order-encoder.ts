/** Encodes orders for the rivals and the bounds. */
import { createCatalog } from '../../src/wire/catalog.ts';
import type { EventType } from '../../src/wire/event-type.ts';
import { PayloadArena } from '../../src/wire/payload-arena.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { ORDER_TYPE, type Order } from './order.ts';
import { PROTO_DIR } from './settings.ts';

export function orderType(): EventType {
  return createCatalog(loadProtoFolder(PROTO_DIR)).get(ORDER_TYPE);
}

/**
 * Returns an encoder that checks and encodes in one walk, in one arena, as the publisher does. The
 * bytes are a copy of their own size, from Node's pool.
 */
export function createOrderEncoder(type = orderType()): (order: Order) => Buffer {
  const arena = new PayloadArena();
  return (order) => {
    arena.clear();
    type.encodeTo(order, arena);
    return Buffer.from(arena.buffer.subarray(0, arena.end));
  };
}
