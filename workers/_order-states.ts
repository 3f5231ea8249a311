/** The states of an order's process, and the events that move it on. */
import type { Redis } from 'ioredis';

/**
 * Event type -> from state -> to state. All other events change nothing: a timeout after the
 * payment, an answer that comes twice.
 */
const MOVES: Readonly<Record<string, Readonly<Record<string, OrderState>>>> = {
  'order.created': { '': 'awaiting-payment' },
  'payment.captured': { 'awaiting-payment': 'awaiting-shipment' },
  'payment.failed': { 'awaiting-payment': 'abandoned' },
  'payment.timeout': { 'awaiting-payment': 'abandoned' },
  'shipment.dispatched': { 'awaiting-shipment': 'shipped', late: 'shipped' },
  'shipment.timeout': { 'awaiting-shipment': 'late' },
};

export type OrderState =
  'awaiting-payment' | 'awaiting-shipment' | 'shipped' | 'late' | 'abandoned';

/** Time after its last event for which a process is kept, ms. */
const KEPT_MS = 90 * 86_400_000;

/**
 * Moves an order on. The answer is remembered with the key: an event that runs again moves nothing
 * and gets the first answer.
 *
 *   KEYS 1 hash of the order
 *   ARGV 1 idempotency key, 2 time to keep it, ms, then any number of (from, to)
 */
const MOVE = `
  local known = redis.call('HGET', KEYS[1], 'by:' .. ARGV[1])
  if known then return known end
  local state, to = redis.call('HGET', KEYS[1], 'state') or '', ''
  for i = 3, #ARGV, 2 do
    if ARGV[i] == state then to = ARGV[i + 1] end
  end
  if to ~= '' then redis.call('HSET', KEYS[1], 'state', to) end
  redis.call('HSET', KEYS[1], 'by:' .. ARGV[1], to)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return to
`;

/** @returns the state that this event has brought the order to; null: it changes nothing */
export async function moveOrder(
  redis: Redis,
  orderId: string,
  type: string,
  idempotencyKey: string,
): Promise<OrderState | null> {
  const moves = Object.entries(MOVES[type] ?? {}).flat();
  const to = (await redis.eval(
    MOVE,
    1,
    `shop:process:${orderId}`,
    idempotencyKey,
    KEPT_MS,
    ...moves,
  )) as string;
  return to === '' ? null : (to as OrderState);
}
