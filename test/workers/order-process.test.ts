/** The example's process manager: order -> payment -> shipment, with time limits. */
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { connect } from '../../src/millrace.ts';
import { eventsIn } from '../../scripts/lab/emits.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const PARTITIONS = 2;

t.test('paid and sent; not paid; refused; sent late; answers twice and too late', async (t) => {
  process.env['SHOP_PAYMENT_MS'] = '300';
  process.env['SHOP_SHIPMENT_MS'] = '300';
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: PARTITIONS, WORKERS: 1 },
    protoDir: join(projectDir, 'proto'),
    logger: pino({ level: 'silent' }),
    name: 'test',
  });
  t.teardown(() => millrace.close());
  const others = [
    'thread.ts',
    'inventory.ts',
    'notification.ts',
    'analytics.ts',
    'order-summary.ts',
  ];
  await millrace
    .dispatcher({ functionsDir: join(projectDir, 'workers'), skipFiles: others })
    .start();
  const publisher = millrace.publisher();
  const subjects = async (type: string): Promise<string[]> =>
    (await eventsIn(look, PARTITIONS, type)).map(({ subject }) => subject).sort();
  const arrives = (type: string, wanted: readonly string[]) =>
    until(
      `${type}: ${wanted.join(', ')}`,
      async () => is((await subjects(type)).join(), [...wanted].sort().join()),
      20_000,
    );
  const order = (orderId: string) => ({
    type: 'order.created',
    data: {
      orderId,
      userId: 'u',
      country: 'NL',
      items: [],
      total: { amount: 100, currency: 'EUR' },
    },
  });
  const ids = ['prompt', 'unpaid', 'refused', 'late'];
  const paid = (orderId: string) => ({
    type: 'payment.captured',
    data: { orderId, paymentId: `payment-${orderId}`, amount: null },
  });
  const sent = (orderId: string) => ({
    type: 'shipment.dispatched',
    data: { orderId, trackingId: 't' },
  });

  // One call publishes all events before any of their time limits can be over.
  await publisher.publishMany([
    ...ids.map(order),
    paid('prompt'),
    sent('prompt'),
    paid('prompt'),
    paid('late'),
    { type: 'payment.failed', data: { orderId: 'refused', paymentId: 'p', reason: 'no money' } },
  ]);
  await arrives('payment.requested', ids);
  await arrives('shipment.requested', ['prompt', 'late']);
  await arrives('shipment.delayed', ['late']);
  await publisher.publishMany([sent('late')]);
  await arrives('order.abandoned', ['unpaid', 'refused']);
  await arrives('payment.timeout', ids);
  await arrives('shipment.timeout', ['prompt', 'late']);
  // The event comes too late and changes nothing.
  await publisher.publishMany([paid('unpaid')]);
  await untilTold(
    countersOf(look),
    'all is done',
    async () => {
      let done = 0;
      for (let p = 0; p < PARTITIONS; p++)
        for (const [field, n] of Object.entries(await look.hgetall(`mr:{${p}}:counters`)))
          if (field.startsWith('done:order-process:')) done += Number(n);
      return done === 17;
    },
    20_000,
  );
  t.strictSame(await subjects('shipment.requested'), ['late', 'prompt']);
  t.strictSame(await subjects('order.abandoned'), ['refused', 'unpaid']);
  const states = await Promise.all(
    ids.map(async (id) => [id, await look.hget(`shop:process:${id}`, 'state')]),
  );
  t.strictSame(Object.fromEntries(states), {
    prompt: 'shipped',
    unpaid: 'abandoned',
    refused: 'abandoned',
    late: 'shipped',
  });
  const [requested] = await eventsIn(look, PARTITIONS, 'payment.requested');
  t.match(requested, {
    source: 'order-process',
    extensions: { causationid: String, correlationid: String },
  });
});
