/** Histories on a real Redis Cluster, while their slots move. */
import t from 'tap';
import type { Redis } from 'ioredis';
import { handleCommand } from '../../src/store/handle-command.ts';
import { defineDecider } from '../../src/define/define-aggregate.ts';
import type { EventStore } from '../../src/store/event-store.ts';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { collect, numberOf, openStore, reserved } from './open-store.ts';

const PARTITIONS = 8;
const HISTORIES = 24;
const EACH = 8;

/** A counter: each event's number is one more than those its command knew. */
const counter = defineDecider({
  category: 'stock',
  events: ['stock.reserved'],
  initialState: () => ({ count: 0 }),
  evolve: (state, event) => ({
    count: state.count + (event.data.lines[0]?.quantity === state.count + 1 ? 1 : NaN),
  }),
  decide: (_command: 'add', { count }, { id }) => reserved(id, count + 1),
  snapshot: { version: 1, every: 5 },
});

t.test(
  "two processes' worth of commands to the same aggregates, while every slot in use moves once",
  async (t) => {
    const cluster = await startCluster(t, { masters: 3 });
    const stores = [
      await openStore(t, cluster.url, {}, PARTITIONS),
      await openStore(t, cluster.url, {}, PARTITIONS),
    ];
    const ids = Array.from({ length: HISTORIES }, (_, i) => `order-${i}`);
    let done = 0;
    let moving = true;
    const commands = Promise.all(
      stores.flatMap((store, who) =>
        ids.map(async (id) => {
          const revisions: number[] = [];
          // Goes on until every slot has moved, and for EACH rounds at least.
          for (let n = 0; n < EACH || moving; n++) {
            const { state, revision } = await handleCommand(store, counter, id, 'add', {
              commandId: `${who}-${n}`,
              attempts: 1000,
            });
            if (state.count !== revision)
              t.fail(`${id} counts ${state.count} at revision ${revision}`);
            revisions.push(revision);
            done++;
          }
          return { id, revisions };
        }),
      ),
    );
    const owners = new Set<number>();
    try {
      for (let p = 0; p < PARTITIONS; p++) {
        const owner = await cluster.ownerOf(`mr:{${p}}:counters`);
        owners.add(owner);
        await cluster.moveSlot(`mr:{${p}}:counters`, (owner + 1) % 3);
      }
    } finally {
      moving = false;
    }
    t.ok(owners.size > 1, `the partitions lay on ${owners.size} of 3 masters`);
    const answered = await commands;
    const [store] = stores as [EventStore, EventStore];
    t.strictSame((await collect(store.histories('stock'))).sort(), [...ids].sort());
    let total = 0;
    for (const id of ids) {
      const numbers = (await collect(store.read('stock', id))).map(numberOf);
      total += numbers.length;
      const whole = numbers.map((_, i) => i + 1);
      t.strictSame(numbers, whole, `${id}: nothing is lost, doubled or decided on an old state`);
      t.strictSame(
        answered
          .filter((one) => one.id === id)
          .flatMap((one) => one.revisions)
          .sort((a, b) => a - b),
        whole,
        `${id}: each command was answered with a revision of its own`,
      );
      t.match(await store.load(counter, id), {
        state: { count: numbers.length },
        revision: numbers.length,
      });
    }
    t.equal(total, done);
    t.comment(`${total} commands`);
    t.equal(await appended(cluster.client() as unknown as Redis), total, 'as many were published');
  },
);

async function appended(redis: Redis): Promise<number> {
  const counts = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, p) =>
      redis.hget(`mr:{${p}}:counters`, 'appended:stock.reserved'),
    ),
  );
  return counts.reduce((sum, count) => sum + Number(count ?? 0), 0);
}
