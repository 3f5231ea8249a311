/**
 * The pipeline on a real Redis Cluster: order and conservation while slots move and masters die.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { settled } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, lost, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { until, untilTold, writesToFile, moreThan } from '../../scripts/lab/until.ts';

const PARTITIONS = 8;
const SUBJECTS = 32;

function flow(perSubject: number) {
  return Array.from({ length: SUBJECTS * perSubject }, (_, i) => ({
    type: i % 3 === 0 ? 'test.other' : 'test.event',
    id: `event-${i}`,
    data: {
      key: `subject-${i % SUBJECTS}`,
      number: Math.floor(i / SUBJECTS),
      order: i % 29 === 0 ? 'throw-once' : i % 31 === 0 ? 'throw' : 'ok',
      filler: new Uint8Array(20),
    },
  }));
}

t.test(
  'order across types, retries and two dispatchers, while every slot in use moves once',
  async (t) => {
    const cluster = await startCluster(t, { masters: 3 });
    const look = cluster.client() as unknown as Redis;
    const history = join(testDir(t), 'history');
    const service = await openService(t, cluster.url, PARTITIONS);
    const publisher = service.publisher({ flushEvents: 16 });
    const options = {
      url: cluster.url,
      functions: 'ordered',
      history,
      environment: { MILLRACE_LEASE_MS: '1500', WORKERS: '1', MILLRACE_BATCH_EVENTS: '60' },
    } as const;
    const dispatchers = [await startDispatcher(t, options), await startDispatcher(t, options)];
    const items = flow(40);
    const dead = items.filter((item) => item.data.order === 'throw').map((item) => item.id);
    const publishing = (async () => {
      for (let at = 0; at < items.length; at += 32)
        await publisher.publishMany(items.slice(at, at + 32));
    })();
    const owners = new Set<number>();
    for (let p = 0; p < PARTITIONS; p++) {
      const key = `mr:{${p}}:counters`;
      const owner = await cluster.ownerOf(key);
      owners.add(owner);
      await cluster.moveSlot(key, (owner + 1) % 3);
    }
    t.ok(owners.size > 1, `the partitions lay on ${owners.size} of 3 masters`);
    await publishing;
    t.match(await settled(look, 'ordered', PARTITIONS, items.length, 90_000), {
      appended: items.length,
      dead: dead.length,
      parked: 0,
    });
    const lag = await readLag(service.deployment);
    t.match(lag.functions, [
      { name: 'ordered', appended: items.length, lag: 0, pending: 0, conserved: true },
    ]);
    for (const dispatcher of dispatchers) t.equal(await dispatcher.terminate(), 0);
    const runs = runsOf(readHistory(history));
    t.strictSame(disorder(runs, { dead }), []);
    t.strictSame(
      lost(
        runs,
        items.map((item) => item.id),
        dead,
      ),
      [],
    );
    t.equal(new Set(runs.map((run) => run.pid)).size, 2, 'both have worked');
  },
);

t.test(
  'a master dies and its replica takes over: what was published as replicated is processed, the rest adds up',
  async (t) => {
    const cluster = await startCluster(t, { masters: 3, replicas: true });
    const look = cluster.client() as unknown as Redis;
    const history = join(testDir(t), 'history');
    const service = await openService(t, cluster.url, PARTITIONS);
    const publisher = service.publisher({
      flushEvents: 16,
      durability: 'replicated',
      confirmMs: 300,
    });
    const dispatcher = await startDispatcher(t, {
      url: cluster.url,
      functions: 'ordered',
      history,
      environment: { MILLRACE_LEASE_MS: '1500', WORKERS: '1' },
    });
    const items = flow(30).map((item) => ({ ...item, data: { ...item.data, order: 'ok' } }));
    const acknowledged: string[] = [];
    const refused: string[] = [];
    const publishing = (async () => {
      for (let at = 0; at < items.length; at += 8) {
        const some = items.slice(at, at + 8);
        await Promise.all(
          some.map((item) =>
            publisher.publishMany([item]).then(
              () => acknowledged.push(item.id),
              () => refused.push(item.id),
            ),
          ),
        );
      }
    })();
    await until(
      'a third has been published',
      () => moreThan(acknowledged.length, items.length / 3),
      30_000,
    );
    const victim = await cluster.ownerOf('mr:{0}:counters');
    await cluster.nodes[victim]?.kill();
    await cluster.succeeded(victim);
    // The master comes back as the replica of its heir, because the heir alone could replicate
    // nothing.
    await cluster.nodes[victim]?.restart();
    await publishing;
    await untilTold(
      writesToFile(history),
      'every acknowledged event is done',
      () => {
        const done = completions(runsOf(readHistory(history)));
        return acknowledged.every((id) => done.has(id));
      },
      60_000,
    );
    const after = await readLag(service.deployment);
    t.match(after.functions, [{ name: 'ordered', conserved: true }]);
    t.comment(
      `${acknowledged.length} acknowledged, ${refused.length} refused or unknown while there was no master`,
    );
    t.ok(acknowledged.length > items.length / 2, 'it went on after the failover');
    t.equal(await look.ping(), 'PONG');
    t.equal(await dispatcher.terminate(), 0);
  },
);
