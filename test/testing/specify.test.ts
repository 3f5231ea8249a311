import { AssertionError } from 'node:assert';
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { defineAggregate, defineDecider } from '../../src/define/define-aggregate.ts';
import { specify } from '../../src/testing/index.ts';
import { OrderRefusedError, orders } from '../../workers/_orders.ts';

const items = [{ sku: 'A', description: 'a', quantity: 2, unitPrice: 300 }];
const order = specify(orders, { id: 'A-1' });
const created = {
  type: 'order.created',
  data: {
    orderId: 'A-1',
    userId: 'ann',
    country: 'Norway',
    items,
    total: { amount: 600, currency: 'EUR' },
  },
} as const;
const createdEvent = { ...created, data: { ...created.data, items: [...items] } };
const cancelled = {
  type: 'order.cancelled' as const,
  data: {
    orderId: 'A-1',
    userId: 'ann',
    country: 'Norway',
    reason: 'late',
    items: [{ ...items[0]!, quantity: -2 }],
    total: { amount: -600, currency: 'EUR' },
  },
};

t.test("the example's orders", async () => {
  order
    .given([])
    .when({ kind: 'create', userId: 'ann', country: 'Norway', currency: 'EUR', items })
    .thenEvents([createdEvent]);
  order
    .given([createdEvent])
    .when({ kind: 'create', userId: 'ann', country: 'Norway', currency: 'EUR', items })
    .thenThrows(OrderRefusedError);
  order
    .given([createdEvent])
    .when({ kind: 'cancel', reason: 'late' })
    .thenEvents([cancelled])
    .thenState({
      status: 'cancelled',
      userId: 'ann',
      country: 'Norway',
      items,
      total: { amount: 600, currency: 'EUR' },
      paymentId: null,
    });
  order.given([createdEvent, cancelled]).when({ kind: 'cancel', reason: 'again' }).thenNothing();
  order
    .given([createdEvent, cancelled])
    .when({ kind: 'pay', paymentId: 'p', amount: { amount: 600, currency: 'EUR' } })
    .thenThrows(/it is cancelled/)
    .thenThrows({ status: 'cancelled' });
  order.given([]).when({ kind: 'cancel', reason: 'x' }).thenThrows();

  const giveBack = {
    kind: 'return',
    userId: 'ann',
    country: 'Norway',
    currency: 'EUR',
    items,
    reason: 'late',
  } as const;
  order
    .given([])
    .when(giveBack)
    .thenEvents([cancelled])
    .thenState({
      status: 'returned',
      userId: 'ann',
      country: 'Norway',
      items: cancelled.data.items,
      total: { amount: -600, currency: 'EUR' },
      paymentId: null,
    });
  order
    .given([createdEvent])
    .when(giveBack)
    .thenThrows(/cannot be a credit note: it is created/);
  order.given([cancelled]).when(giveBack).thenThrows({ status: 'returned' });
  order
    .given([cancelled])
    .when({ kind: 'cancel', reason: 'x' })
    .thenThrows(/cannot be cancelled: it is returned/);
});

t.test('what does not hold is said', async (t) => {
  const cancel = { kind: 'cancel', reason: 'late' } as const;
  t.throws(() => order.given([createdEvent]).when(cancel).thenNothing(), AssertionError);
  t.throws(() => order.given([createdEvent]).when(cancel).thenEvents([]), AssertionError);
  t.throws(
    () =>
      order
        .given([createdEvent])
        .when(cancel)
        .thenEvents([{ ...cancelled, data: { ...cancelled.data, reason: 'other' } }]),
    AssertionError,
  );
  t.throws(
    () =>
      order
        .given([createdEvent])
        .when(cancel)
        .thenEvents([{ ...cancelled, id: 'x' }]),
    AssertionError,
  );
  t.throws(() => order.given([createdEvent]).when(cancel).thenThrows(), AssertionError);
  t.throws(() => order.given([]).when(cancel).thenNothing(), {
    name: 'AssertionError',
    message: /refused: .*there is none/,
  });
  t.throws(
    () =>
      order
        .given([])
        .when(cancel)
        .thenThrows(/something else/),
    AssertionError,
  );
});

t.test('definitions are checked, all problems at once', async (t) => {
  t.throws(
    () =>
      defineDecider({
        category: 'No',
        events: [],
        evolve: 1,
        snapshot: { version: 0, every: 0, encode: 1, whenever: 2 },
        extra: 1,
      } as never),
    {
      name: ConfigError.name,
      message:
        /unknown option "extra"[\s\S]*category must match[\s\S]*at least one event type[\s\S]*initialState must be[\s\S]*evolve must be[\s\S]*decide must be[\s\S]*"snapshot.whenever"[\s\S]*snapshot.version[\s\S]*snapshot.every[\s\S]*snapshot.encode must be[\s\S]*go together/,
    },
  );
  t.throws(
    () =>
      defineAggregate({
        category: 'a',
        events: ['order.created'],
        initialState: () => 0,
        evolve: (n: number) => n,
        snapshot: { version: 1, every: 1, when: () => true },
      }),
    /not both/,
  );
});
