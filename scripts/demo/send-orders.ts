/**
 * Sends orders into the shop as commands. The order's history decides each command, which is then
 * appended to it.
 */
import { handleCommand, parsePosition, type EventStore } from '../../src/index.ts';
import { compareEntryIds } from '../../src/core/position.ts';
import { orders, type OrderCommand } from '../../workers/_orders.ts';
import { inParallel } from './in-parallel.ts';
import type { Order } from './orders.ts';
import { foldOrder, type Summary } from './summaries.ts';

/** Commands under way: enough that those of one partition travel together. */
const UNDER_WAY = 512;
/** Every how many commands one is sent a second time, as by a client that has missed the answer. */
const SENT_AGAIN = 50;

export interface SentOrders {
  /** Number of commands, each of which led to one event. */
  commands: number;
  /** Number of commands sent a second time, and answered as the first time. */
  again: number;
  /** Position of the last event, by partition. */
  readonly last: ReadonlyMap<number, string>;
  /** Rows that the view order-summary must hold. */
  readonly summaries: ReadonlyMap<string, Summary>;
}

/** Returns the command for an order's row. A cancellation of an unknown order is a return. */
export function commandOf({ type, data }: Order, known: boolean): OrderCommand {
  const { userId, country, items, total, reason = '' } = data;
  if (type === 'order.created')
    return { kind: 'create', userId, country, currency: total.currency, items };
  if (known) return { kind: 'cancel', reason };
  return {
    kind: 'return',
    userId,
    country,
    currency: total.currency,
    reason,
    items: items.map((item) => ({ ...item, quantity: -item.quantity })),
  };
}

/**
 * Sends the commands of one order one after the other, and those of different orders beside each
 * other.
 * @throws as handleCommand
 */
export async function sendOrders(
  store: EventStore,
  source: AsyncIterable<Order> | Iterable<Order>,
  { signal, onSent }: { readonly signal: AbortSignal; readonly onSent: (commands: number) => void },
): Promise<SentOrders> {
  const summaries = new Map<string, Summary>();
  const last = new Map<number, string>();
  const sent = { commands: 0, again: 0, last, summaries };
  const turns = new Map<string, Promise<void>>();

  const send = async (id: string, command: OrderCommand): Promise<void> => {
    const options = { commandId: `${command.kind} ${id}` };
    const { revision, events } = await handleCommand(store, orders, id, command, options);
    for (const { position } of events) noteLast(last, position);
    onSent(++sent.commands);
    if (sent.commands % SENT_AGAIN !== 0) return;
    const second = await handleCommand(store, orders, id, command, options);
    if (!second.repeated || second.revision !== revision)
      throw new Error(
        `the command to ${command.kind} ${id} was sent twice, and not answered as the first time`,
      );
    sent.again++;
  };

  await inParallel(source, { limit: UNDER_WAY, signal }, async (order) => {
    const id = order.data.orderId;
    const command = commandOf(order, summaries.has(id));
    foldOrder(summaries, order);
    const turn = (turns.get(id) ?? Promise.resolve()).then(() => send(id, command));
    turns.set(id, turn);
    await turn;
    if (turns.get(id) === turn) turns.delete(id);
  });
  return sent;
}

function noteLast(last: Map<number, string>, position: string): void {
  const at = parsePosition(position);
  if (!at) throw new Error(`${position} is no position`);
  const before = parsePosition(last.get(at.partition) ?? '');
  if (!before || compareEntryIds(at.entryId, before.entryId) > 0) last.set(at.partition, position);
}
