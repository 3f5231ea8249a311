/** Commands for the example's orders, against a real store. */
import t from 'tap';
import { handleCommand } from '../../src/store/handle-command.ts';
import { defineDecider } from '../../src/define/define-aggregate.ts';
import { ConflictError, StoreInputError } from '../../src/store/store-errors.ts';
import { OrderRefusedError, orders, type OrderCommand } from '../../workers/_orders.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, numberOf, openShop, reserved } from './open-store.ts';
import { until } from '../../scripts/lab/until.ts';

const redis = await startRedis(t);
const millrace = await openShop(t, redis.url, 4);
const store = millrace.store();
const create: OrderCommand = {
  kind: 'create',
  userId: 'ann',
  country: 'Norway',
  currency: 'EUR',
  items: [{ sku: 'A', description: 'a', quantity: 2, unitPrice: 300 }],
};
const pay = (paymentId: string): OrderCommand => ({
  kind: 'pay',
  paymentId,
  amount: { amount: 600, currency: 'EUR' },
});
const cancel: OrderCommand = { kind: 'cancel', reason: 'changed her mind' };

/**
 * Counts how often each number was chosen. Each command adds the number after those already there.
 */
const counter = defineDecider({
  category: 'counter',
  events: ['stock.reserved'],
  initialState: () => 0,
  evolve: (_count, event) => numberOf(event),
  decide: (_command: 'up', count, { id }) => reserved(id, count + 1),
  snapshot: { version: 1, every: 10 },
});

t.test(
  'an order is created, paid, cancelled; what may not be done is refused and changes nothing',
  async (t) => {
    await t.rejects(handleCommand(store, orders, 'A', pay('p1')), {
      name: OrderRefusedError.name,
      status: 'none',
    });
    t.equal(await store.revision('order', 'A'), 0);
    const created = await handleCommand(store, orders, 'A', create, {
      extensions: { actor: 'ann' },
    });
    t.match(created, {
      revision: 1,
      repeated: false,
      state: { status: 'created', total: { amount: 600, currency: 'EUR' } },
    });
    t.match(await handleCommand(store, orders, 'A', pay('p1')), {
      revision: 2,
      state: { status: 'paid', paymentId: 'p1' },
    });
    t.match(
      await handleCommand(store, orders, 'A', pay('p1')),
      { revision: 2, events: [], repeated: false },
      'nothing to do',
    );
    await t.rejects(handleCommand(store, orders, 'A', pay('p2')), OrderRefusedError);
    const { state } = await handleCommand(store, orders, 'A', cancel);
    t.strictSame(
      state,
      (await store.load(orders, 'A')).state,
      'the state returned is the state loaded',
    );
    const events = await collect(store.read('order', 'A'));
    t.strictSame(
      events.map((event) => event.type),
      ['order.created', 'payment.captured', 'order.cancelled'],
    );
    t.strictSame({ ...events[0]?.extensions }, { actor: 'ann' });
    t.match(events[2]?.data, { items: [{ quantity: -2 }], total: { amount: -600 } });
  },
);

t.test('a command sent again under its id is answered as the first time', async (t) => {
  const first = await handleCommand(store, orders, 'B', create, { commandId: 'c1' });
  await handleCommand(store, orders, 'B', pay('p1'), { commandId: 'c2' });
  const again = await handleCommand(store, orders, 'B', create, { commandId: 'c1' });
  t.strictSame(again, { ...first, repeated: true });
  t.strictSame(
    await handleCommand(store, orders, 'B', create, {
      commandId: 'c1',
      expectedRevision: 'no-stream',
    }),
    { ...first, repeated: true },
    'whatever it expects',
  );
  await t.rejects(
    handleCommand(store, orders, 'B', create, { commandId: 'c3' }),
    OrderRefusedError,
  );
  const [event] = await collect(store.read('order', 'B'));
  t.equal(event?.extensions['commandid'], 'c1');
  const other = await handleCommand(store, orders, 'B2', create, { commandId: 'c1' });
  t.equal(other.repeated, false, 'the id names a command of one aggregate');
  t.not(other.events[0]?.id, first.events[0]?.id);
  const [one, two] = await Promise.all(
    ['B3', 'B3'].map((id) =>
      handleCommand(millrace.store(), orders, id, create, { commandId: 'c1' }),
    ),
  );
  t.strictSame([one?.repeated, two?.repeated].sort(), [false, true]);
  t.strictSame(
    [one?.revision, one?.events, one?.state],
    [two?.revision, two?.events, two?.state],
    'sent twice at once',
  );
});

t.test('who comes second decides anew, and nobody is lost', async (t) => {
  const stores = [store, millrace.store(), millrace.store()];
  const results = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      handleCommand(stores[i % 3] ?? store, counter, 'C', 'up' as const, { attempts: 1000 }),
    ),
  );
  t.strictSame(
    results.map((result) => result.revision).sort((a, b) => a - b),
    Array.from({ length: 60 }, (_, i) => i + 1),
  );
  t.strictSame(
    (await collect(store.read('counter', 'C'))).map(numberOf),
    Array.from({ length: 60 }, (_, i) => i + 1),
  );
  await until('a snapshot was taken on the way', () =>
    redis
      .client()
      .exists(
        'mr:{0}:snapshot:counter:C',
        'mr:{1}:snapshot:counter:C',
        'mr:{2}:snapshot:counter:C',
        'mr:{3}:snapshot:counter:C',
      ),
  );
});

t.test('attempts are bounded', async (t) => {
  let decided = 0;
  const overtaken = {
    ...counter,
    decide: (_command: 'up', count: number, { id }: { id: string }) => {
      decided++;
      void store.append('counter', id, [reserved(id, 1)], { expectedRevision: 'any' });
      return reserved(id, count + 1);
    },
  };
  await t.rejects(handleCommand(store, overtaken, 'D', 'up' as const, { attempts: 3 }), {
    name: ConflictError.name,
    expected: 2,
    actual: 3,
  });
  t.equal(decided, 3);
});

t.test('a command may say where it expects the aggregate to be', async (t) => {
  await t.rejects(handleCommand(store, orders, 'E', create, { expectedRevision: 1 }), {
    name: ConflictError.name,
    expected: 1,
    actual: 0,
  });
  await handleCommand(store, orders, 'E', create, { expectedRevision: 'no-stream' });
  await t.rejects(
    handleCommand(store, orders, 'E', create, { expectedRevision: 'no-stream' }),
    ConflictError,
  );
  t.equal((await handleCommand(store, orders, 'E', pay('x'), { expectedRevision: 1 })).revision, 2);
  await t.rejects(
    handleCommand(store, orders, 'E', cancel, { expectedRevision: 1 }),
    ConflictError,
  );
  t.equal(
    (await handleCommand(store, orders, 'E', cancel, { expectedRevision: 'stream-exists' }))
      .revision,
    3,
  );
});

t.test('bad input', async (t) => {
  await t.rejects(handleCommand(store, orders, 'F', create, { commandId: '' }), StoreInputError);
  await t.rejects(handleCommand(store, orders, 'F', create, { attempts: 0 }), StoreInputError);
  await t.rejects(
    handleCommand(store, orders, 'F', create, { expectedRevision: -1 }),
    StoreInputError,
  );
  const stray = {
    ...orders,
    decide: () =>
      ({ type: 'payment.failed', data: { orderId: 'F', paymentId: '', reason: '' } }) as never,
  };
  await t.rejects(handleCommand(store, stray, 'F', create), {
    message: /"payment.failed", which its events do not list/,
  });
  t.equal(await store.revision('order', 'F'), 0);
});
