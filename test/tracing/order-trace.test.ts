/** The trace of one order: publish → function → emit → function → view, over pool threads. */
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { connect } from '../../src/millrace.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { countersOf, is, until, untilTold } from '../../scripts/lab/until.ts';
import { counter, createProject } from '../cli/run-cli.ts';
import { recordSpans, THREAD_SDK, treeOf } from './recorded-spans.ts';

const PROTO = `syntax = "proto3";
package shop.v1;
import "millrace/v1/options.proto";
message OrderCreated {
  option (millrace.v1.event) = { type: "order.created", subject: "order_id" };
  string order_id = 1;
}
message StockReserved {
  option (millrace.v1.event) = { type: "stock.reserved", subject: "order_id" };
  string order_id = 1;
}
message ParcelSent {
  option (millrace.v1.event) = { type: "parcel.sent", subject: "order_id" };
  string order_id = 1;
}
`;
/** Makes a span of its own behind an await, and emits in it. */
const INVENTORY = `import { defineFunction } from 'millrace/define';
import { trace } from '@opentelemetry/api';
export default defineFunction({ name: 'inventory', on: ['order.created'],
  async handle(event, ctx) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    await trace.getTracer('shop').startActiveSpan('reserve items', async (span) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      ctx.emit('stock.reserved', { orderId: event.data.orderId });
      span.end();
    });
  } });
`;
/** Fails the first attempt, and emits for later. */
const SHIPPING = `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'shipping', on: ['stock.reserved'], retry: { attempts: 2, minDelayMs: 1 },
  async handle(event, ctx) {
    if (ctx.attempt === 1) throw new TypeError('carrier is down');
    ctx.emit('parcel.sent', { orderId: event.data.orderId }, { delayMs: 1 });
  } });
`;
const VIEW = `import { defineView } from 'millrace/define';
export default defineView({ name: 'orders', on: ['order.created', 'parcel.sent'], version: 1,
  evolve: (row, event) => ({ ...row, [event.type]: true }) });
`;

t.test('one trace from publish to the view, as the docs show it', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const p = createProject(t, redis.url, {
    'proto/shop.proto': PROTO,
    'workers/inventory.ts': INVENTORY,
    'workers/shipping.ts': SHIPPING,
    'workers/orders.ts': VIEW,
    'telemetry.mjs': THREAD_SDK,
  });
  symlinkSync(
    join(projectDir, 'node_modules/@opentelemetry'),
    join(p.dir, 'node_modules/@opentelemetry'),
  );
  const { spans, channel } = recordSpans(t);
  process.env['SPANS_CHANNEL'] = channel;
  const sdk = pathToFileURL(join(p.dir, 'telemetry.mjs')).href;
  process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --import ${sdk}`;
  const millrace = await connect({
    environment: {
      REDIS_URL: redis.url,
      MILLRACE_PARTITIONS: 1,
      WORKERS: 1,
      LOG_LEVEL: 'silent',
      MILLRACE_UPKEEP_MS: 1000,
    },
    protoDir: join(p.dir, 'proto'),
  });
  t.teardown(() => millrace.close());
  const dispatcher = millrace.dispatcher({ functionsDir: join(p.dir, 'workers') });
  await dispatcher.start();
  const published = await millrace
    .publisher()
    .publish('order.created', { orderId: 'A-1' }, { id: 'order-1' });
  await untilTold(countersOf(look), 'the view has both', async () =>
    is(await look.hget('mr:{0}:counters', 'done:orders@1:parcel.sent'), '1'),
  );
  t.equal(await counter(look, 'done:shipping:stock.reserved'), 1);

  const traceId = spans().find(({ name }) => name === 'publish order.created')?.traceId ?? '';
  const docs = readFileSync(join(projectDir, 'docs/tracing.md'), 'utf8');
  const shown = /```text\n(publish order\.created[^`]*)\n```/.exec(docs)?.[1] ?? '';
  await until('the trace is whole', () =>
    is(treeOf(spans(), traceId).split('\n').length, shown.split('\n').length),
  ).catch(() => undefined);
  t.equal(treeOf(spans(), traceId), shown, 'the trace is that of the docs');

  const named = (name: string) => spans().filter((span) => span.name === name);
  t.match(named('publish order.created'), [
    {
      kind: 'PRODUCER',
      attributes: {
        'messaging.system': 'millrace',
        'messaging.operation.name': 'publish',
        'messaging.operation.type': 'send',
        'messaging.destination.name': 'order.created',
        'messaging.destination.partition.id': '0',
        'messaging.message.id': 'order-1',
      },
    },
  ]);
  t.match(named('process stock.reserved'), [
    {
      failed: true,
      events: ['exception'],
      attributes: { 'messaging.millrace.attempt': 1, 'error.type': 'TypeError' },
    },
    {
      failed: false,
      kind: 'CONSUMER',
      attributes: {
        'messaging.operation.type': 'process',
        'messaging.consumer.group.name': 'shipping',
        'messaging.message.conversation_id': 'order-1',
        'messaging.millrace.attempt': 2,
      },
    },
  ]);
  t.match(named('commit stock.reserved'), [
    { attributes: { 'messaging.operation.type': 'settle', 'messaging.millrace.retried': 1 } },
    { kind: 'CLIENT', attributes: { 'messaging.millrace.done': 1 } },
  ]);
  t.equal(published.id, 'order-1');
});
