import t from 'tap';
import { createProject } from '../cli/run-cli.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { ANNOTATED, PLAIN, VENDORED } from '../../scripts/lab/vendored-protos.ts';
import { HANDLE, Shop } from './shop.ts';
import { untilTold, writesToFile, is } from '../../scripts/lab/until.ts';

const FILES = {
  'proto/orders.proto': ANNOTATED,
  ...Object.fromEntries(Object.entries(VENDORED).map(([name, text]) => [`proto/${name}`, text])),
};

t.test(
  'events of a schema with vendored options are published and handled; its text alone is enough to read them',
  async (t) => {
    const redis = await startRedis(t);
    const shop = new Shop(t, redis.url);
    shop.vendored = VENDORED;
    const old = await shop.connect(ANNOTATED);
    await old
      .publisher()
      .publish(
        'order.created' as string,
        { orderId: 'A', quantity: 3, status: 1, cash: 5 },
        { id: 'annotated' },
      );
    t.equal(old.deployment.schemas.get('order.created')?.version, 1);

    // Another service without such files decodes with the registered text, and upcasts.
    shop.vendored = {};
    const fresh = await shop.connect(
      PLAIN.replace('enum Status', 'message Note { string text = 1; }\nenum Status').replace(
        'int32 quantity = 2;',
        'int32 quantity = 2; Note note = 8;',
      ),
    );
    t.equal(fresh.deployment.schemas.get('order.created')?.version, 2);
    await shop.dispatch(fresh, {
      f: `upcasts: [upcast('order.created', { from: 1, to: 2 }, ({ quantity, ...rest }) => ({ ...rest, quantity: quantity * 100, note: { text: 'upcast' } }))], ${HANDLE}`,
    });
    await untilTold(writesToFile(shop.history), 'it has run', () => is(shop.seen().length, 1));
    t.match(shop.seen(), [
      { id: 'annotated', data: { orderId: 'A', quantity: 300, cash: 5, note: { text: 'upcast' } } },
    ]);
  },
);

t.test('proto, schema check and publish take such files', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, FILES);
  t.match(await project.run(['proto']), { status: 0 });
  project.write('old/orders.proto', PLAIN);
  t.match(await project.run(['schema', 'check', '--against', 'old']), { status: 0 });
  t.match(
    await project.run(['publish', 'order.created', '--data', '{"orderId":"A","quantity":1}']),
    { status: 0 },
  );
});
