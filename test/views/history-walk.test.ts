/**
 * The walk over all histories: merged by id, in order, and resumed at any place. Some histories are
 * longer than a page.
 */
import t from 'tap';
import {
  findCategories,
  readSubject,
  walkHistories,
  type HistoryEvent,
  type WalkPlace,
} from '../../src/views/history-walk.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { openShop, reserved } from '../store/open-store.ts';

t.test('a walk over histories', async (t) => {
  const redis = await startRedis(t);
  const millrace = await openShop(t, redis.url, 1);
  const { deployment } = millrace;
  const store = millrace.store();
  const order = new Map<string, string[]>();
  let number = 0;
  const append = async (category: string, id: string, count: number): Promise<void> => {
    const events = Array.from({ length: count }, () =>
      reserved(id, ++number, { id: `e${number}` }),
    );
    await store.append(category, id, events, { expectedRevision: 'any' });
    order.set(id, [...(order.get(id) ?? []), ...events.map((event) => event.id as string)]);
  };
  t.strictSame(await findCategories(deployment), []);
  for (let round = 0; round < 6; round++) {
    await append('order', 'long', 700);
    await append('credit-note', 'long', 300 + round);
  }
  for (let i = 0; i < 450; i++)
    await append(i % 3 === 0 ? 'credit-note' : 'order', `é${i % 300}`, 1);
  await append('order', 'zz', 5);
  const categories = await findCategories(deployment);
  t.strictSame(categories, ['credit-note', 'order']);

  const walk = async (
    from: WalkPlace | null,
    each: (event: HistoryEvent, place: WalkPlace) => void = () => undefined,
  ): Promise<string[]> => {
    const seen: string[] = [];
    for await (const { event, place } of walkHistories(deployment, 0, categories, from)) {
      if (event === null) continue;
      seen.push(event.eventId);
      each(event, place());
    }
    return seen;
  };
  const ids = [...order.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const all = ids.flatMap((id) => order.get(id) as string[]);
  const places: WalkPlace[] = [];
  t.strictSame(
    await walk(null, (_, place) => places.push(JSON.parse(JSON.stringify(place)) as WalkPlace)),
    all,
  );
  for (const at of [0, 1, 511, 512, 700, 4095, 4096, 5000, all.length - 2, all.length - 1]) {
    t.strictSame(
      await walk(places[at] as WalkPlace),
      all.slice(at + 1),
      `taken up again behind event ${at + 1}`,
    );
  }
  t.strictSame(
    (await readSubject(deployment, 0, categories, 'é0', { events: 100, bytes: 100_000 }))?.map(
      ({ eventId }) => eventId,
    ),
    order.get('é0'),
  );
  t.equal(
    await readSubject(deployment, 0, categories, 'long', { events: 100, bytes: 100_000 }),
    null,
    'too many',
  );
});
