/**
 * The example's gateway: statuses, ETags, idempotency. Requests are injected, and no port is
 * opened.
 */
import t from 'tap';
import { join } from 'node:path';
import type { OrderSummary } from '../workers/order-summary.ts';
import { buildGateway } from '../scripts/shop-gateway/app.ts';
import { collect, openShop } from './store/open-store.ts';
import { projectDir, startRedis } from '../scripts/lab/redis-server.ts';
import { startProxy } from '../scripts/lab/tcp-proxy.ts';
import { until } from '../scripts/lab/until.ts';

const redis = await startRedis(t);
const proxy = await startProxy(t, { socket: redis.socket });
const millrace = await openShop(t, proxy.url, 4);
const store = millrace.store();
const summaries = millrace.view<OrderSummary>('order-summary');
const app = buildGateway({ store, summaries });
t.teardown(() => app.close());

const order = {
  userId: 'ann',
  country: 'Norway',
  currency: 'EUR',
  items: [{ sku: 'A', quantity: 2, unitPrice: 300 }],
};
interface Answer {
  readonly status: number;
  readonly etag: unknown;
  readonly location: unknown;
  readonly body: Record<string, unknown>;
}
async function ask(
  method: 'GET' | 'POST',
  url: string,
  headers: Record<string, string> = {},
  payload?: object,
): Promise<Answer> {
  const answer = await app.inject({ method, url, headers, ...(payload ? { payload } : {}) });
  return {
    status: answer.statusCode,
    etag: answer.headers['etag'],
    location: answer.headers['location'],
    body: answer.body === '' ? {} : answer.json<Record<string, unknown>>(),
  };
}
let keys = 0;
const key = (): Record<string, string> => ({ 'idempotency-key': `key-${keys++}` });
async function create(): Promise<string> {
  return String((await ask('POST', '/orders', key(), order)).location);
}

t.test('an order comes in, is read, paid, cancelled', async (t) => {
  const created = await ask('POST', '/orders', key(), order);
  t.match(created, {
    status: 201,
    etag: '"1"',
    body: {
      status: 'created',
      revision: 1,
      total: { amount: 600, currency: 'EUR' },
      items: [{ sku: 'A', description: '', quantity: 2 }],
    },
  });
  const url = String(created.location);
  t.match(await ask('GET', url), { status: 200, etag: '"1"', body: created.body });
  t.match(await ask('GET', url, { 'if-none-match': '"1"' }), { status: 304, body: {} });
  t.match(
    await ask(
      'POST',
      `${url}/pay`,
      { ...key(), 'if-match': '"1"' },
      { paymentId: 'p1', amount: 600, currency: 'EUR' },
    ),
    { status: 200, etag: '"2"', body: { status: 'paid' } },
  );
  t.match(await ask('POST', `${url}/cancel`, { ...key(), 'if-match': '*' }, { reason: 'late' }), {
    status: 200,
    etag: '"3"',
    body: { status: 'cancelled' },
  });
  const events = await collect(store.read('order', url.slice('/orders/'.length)));
  t.strictSame(
    events.map((event) => event.type),
    ['order.created', 'payment.captured', 'order.cancelled'],
  );
});

t.test(
  'a request sent again is answered as the first time; another one under its key is refused',
  async (t) => {
    const headers = key();
    const first = await ask('POST', '/orders', headers, order);
    t.strictSame(await ask('POST', '/orders', headers, order), first);
    t.match(await ask('POST', '/orders', headers, { ...order, userId: 'bob' }), { status: 422 });
    const cancel = { ...key(), 'if-match': '"1"' };
    const cancelled = await ask('POST', `${String(first.location)}/cancel`, cancel, {
      reason: 'late',
    });
    t.equal(cancelled.status, 200);
    t.strictSame(
      await ask('POST', `${String(first.location)}/cancel`, cancel, { reason: 'late' }),
      cancelled,
      'though its If-Match is stale by now',
    );
    t.match(await ask('POST', `${String(first.location)}/cancel`, cancel, { reason: 'other' }), {
      status: 422,
    });
  },
);

t.test('preconditions', async (t) => {
  const url = await create();
  t.match(await ask('POST', `${url}/cancel`, key(), { reason: '' }), { status: 428 });
  t.match(await ask('POST', `${url}/cancel`, { ...key(), 'if-match': '"7"' }, { reason: '' }), {
    status: 412,
    etag: '"1"',
    body: { expected: 7, actual: 1 },
  });
  t.match(await ask('POST', `${url}/cancel`, { ...key(), 'if-match': 'W/"1"' }, { reason: '' }), {
    status: 400,
  });
  t.match(await ask('POST', `${url}/cancel`, { 'if-match': '"1"' }, { reason: '' }), {
    status: 400,
    body: { detail: /Idempotency-Key/ },
  });
  const both = await Promise.all(
    [1, 2].map(() =>
      ask(
        'POST',
        `${url}/pay`,
        { ...key(), 'if-match': '"1"' },
        { paymentId: `p${keys}`, amount: 600, currency: 'EUR' },
      ),
    ),
  );
  t.strictSame(
    both.map(({ status }) => status).sort(),
    [200, 412],
    'of two who saw the same, one wins',
  );
});

t.test('what is refused', async (t) => {
  t.match(await ask('GET', '/orders/nobody'), { status: 404 });
  t.match(
    await ask('POST', '/orders/nobody/cancel', { ...key(), 'if-match': '*' }, { reason: '' }),
    { status: 404 },
  );
  t.match(
    await ask('POST', '/orders/nobody/cancel', { ...key(), 'if-match': '"1"' }, { reason: '' }),
    { status: 404 },
  );
  const url = await create();
  await ask('POST', `${url}/cancel`, { ...key(), 'if-match': '*' }, { reason: '' });
  t.match(
    await ask(
      'POST',
      `${url}/pay`,
      { ...key(), 'if-match': '"2"' },
      { paymentId: 'p', amount: 1, currency: 'EUR' },
    ),
    { status: 409, body: { orderStatus: 'cancelled' } },
  );
  for (const bad of [
    { ...order, items: [] },
    { ...order, items: [{ sku: 'A', quantity: '2', unitPrice: 3 }] },
    { ...order, extra: 1 },
    { ...order, currency: 'euro' },
    { userId: 'x' },
  ]) {
    t.match(await ask('POST', '/orders', key(), bad), { status: 400 }, JSON.stringify(bad));
  }
  t.match(await ask('POST', '/orders', key(), { ...order, userId: '\ud800' }), {
    status: 400,
    body: { title: 'InvalidEventError' },
  });
});

t.test('lists come from the view, page by page', async (t) => {
  t.match(
    await ask('GET', '/orders?status=created'),
    { status: 503 },
    'nobody has folded anything yet',
  );
  const dispatcher = (await openShop(t, redis.url, 4)).dispatcher({
    functionsDir: join(projectDir, 'workers'),
    skipFiles: ['thread.ts', 'analytics.ts', 'inventory.ts', 'notification.ts'],
  });
  await dispatcher.start();
  const ids: string[] = [];
  for (let i = 0; i < 5; i++)
    ids.push(
      String((await ask('POST', '/orders', key(), { ...order, userId: 'carla' })).location).slice(
        '/orders/'.length,
      ),
    );
  const page = async (query: string) =>
    (await ask('GET', `/orders?${query}`)).body as {
      orders: OrderSummary[];
      next: string | null;
      lag: number;
    };
  await until('the view has them, and all other events', async () => {
    const { orders, lag } = await page('customer=carla');
    return orders.length === 5 && lag === 0;
  });
  const first = await page('customer=carla&limit=3');
  const second = await page(`customer=carla&limit=3&cursor=${String(first.next)}`);
  t.strictSame(
    [...first.orders, ...second.orders].map((one) => one.orderId).sort(),
    [...ids].sort(),
  );
  t.strictSame([first.orders.length, second.next, first.lag], [3, null, 0]);
  await ask(
    'POST',
    `/orders/${ids[2] ?? ''}/cancel`,
    { ...key(), 'if-match': '"1"' },
    { reason: '' },
  );
  await until('the view has seen it', async () =>
    (await page('status=cancelled')).orders.some((one) => one.orderId === ids[2]),
  );
  for (const bad of [
    '',
    'status=created&customer=x',
    'status=created&limit=0',
    'status=created&limit=1e9',
    'status=created&cursor=nonsense',
    'status=created&page=2',
  ]) {
    t.equal((await ask('GET', `/orders?${bad}`)).status, 400, bad);
  }
  await dispatcher.stop();
});

t.test('when Redis does not answer it says so, and the request may be sent again', async (t) => {
  // This gateway gives up soon. The other one waits for its answers, however slow the machine is.
  const hastyStore = millrace.store({ deadlineMs: 200 });
  const hasty = buildGateway({ store: hastyStore, summaries });
  t.teardown(() => hasty.close());
  await until('its store is connected', () =>
    hastyStore.revision('order', 'nobody').then(
      () => true,
      () => false,
    ),
  );
  const headers = key();
  proxy.refuse(true);
  proxy.cutNow();
  const lost = await hasty.inject({ method: 'POST', url: '/orders', headers, payload: order });
  t.match(
    [lost.statusCode, lost.headers['retry-after'], lost.body],
    [503, '1', /same Idempotency-Key/],
  );
  proxy.refuse(false);
  t.match(await ask('POST', '/orders', headers, order), { status: 201, body: { revision: 1 } });
});
