/**
 * ordering 'none': two dispatchers emit from the same partitions at the same time. One of them is
 * killed while the outbox fills.
 */
import { join } from 'node:path';
import t from 'tap';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { checkFlow, inventFlow, type Flow } from '../../scripts/lab/emit-flow.ts';
import { outboxEntries } from '../../scripts/lab/emits.ts';
import { readHistory } from '../../scripts/lab/history.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo } from '../../scripts/lab/until.ts';

const PARTITIONS = 3;

t.test(
  'what competing consumers emit is written exactly once, though one is killed with a full hand',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const service = await openService(t, redis.url, PARTITIONS);
    const publisher = service.publisher({ flushEvents: 4 });
    const options = {
      url: redis.url,
      functions: 'emit-unordered',
      history,
      environment: { MILLRACE_LEASE_MS: '500', MILLRACE_BATCH_EVENTS: '8' },
    } as const;
    let flow: Flow = { items: [], emitted: [] };
    const dispatchers = [await startDispatcher(t, options), await startDispatcher(t, options)];
    for (const seed of [1, 2, 3]) {
      await untilTold(writesTo(look), 'one helps the other, in each partition', async () => {
        const helpers = await Promise.all(
          Array.from({ length: PARTITIONS }, (_, p) => look.scard(`mr:{${p}}:helpers:emitter`)),
        );
        return helpers.every((count) => count > 0);
      });
      // One target refuses, so its emissions stay in the outboxes.
      const target = seed % PARTITIONS;
      const relayed = await look.hgetall(`mr:{${target}}:relayed`);
      await look
        .multi()
        .del(`mr:{${target}}:relayed`)
        .set(`mr:{${target}}:relayed`, 'in the way')
        .exec();
      const before = readHistory(history).length;
      const more = inventFlow(`competing-${seed}`, 300, randomOf(seed));
      flow = { items: [...flow.items, ...more.items], emitted: [...flow.emitted, ...more.emitted] };
      await publisher.publishMany(more.items);
      await until('both work, and the outboxes fill', async () => {
        const lines = readHistory(history)
          .slice(before)
          .filter(({ fn }) => fn === 'emitter');
        return (
          new Set(lines.map(({ pid }) => pid)).size === 2 &&
          (await outboxEntries(look, PARTITIONS)) > 5
        );
      });
      const victim = seed % 2;
      await dispatchers[victim]?.kill();
      t.ok((await outboxEntries(look, PARTITIONS)) > 0, 'flushes wait in the outboxes');
      await look.del(`mr:{${target}}:relayed`);
      if (Object.keys(relayed).length > 0) await look.hset(`mr:{${target}}:relayed`, relayed);
      dispatchers[victim] = await startDispatcher(t, options);
      await checkFlow(t, { service, look, partitions: PARTITIONS }, flow, ['emitter', 'sink']);
    }
    for (const dispatcher of dispatchers) t.equal(await dispatcher.terminate(), 0);
  },
);
