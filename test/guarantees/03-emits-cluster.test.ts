/** In a Redis Cluster the outbox and its targets are on different servers. */
import { join } from 'node:path';
import t from 'tap';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { checkFlow, inventFlow } from '../../scripts/lab/emit-flow.ts';
import { readHistory } from '../../scripts/lab/history.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { untilTold, writesToFile, moreThan } from '../../scripts/lab/until.ts';

const PARTITIONS = 6;

t.test(
  'emitted events reach partitions on other servers exactly once, while a dispatcher is killed and slots move',
  async (t) => {
    const cluster = await startCluster(t, { masters: 3 });
    const look = cluster.client();
    const history = join(testDir(t), 'history');
    const service = await openService(t, cluster.url, PARTITIONS);
    const options = {
      url: cluster.url,
      functions: 'emit',
      history,
      environment: { MILLRACE_LEASE_MS: '1000' },
    } as const;
    const owners = new Set(
      await Promise.all(
        Array.from({ length: PARTITIONS }, (_, p) => cluster.ownerOf(`mr:{${p}}:outbox`)),
      ),
    );
    t.ok(owners.size > 1, 'the partitions are on several servers');
    const flow = inventFlow('cluster', 300, randomOf(11));
    const first = await startDispatcher(t, options);
    const second = await startDispatcher(t, options);
    await service.publisher().publishMany(flow.items);
    await untilTold(
      writesToFile(history),
      'it is in the middle',
      () => moreThan(readHistory(history).length, 100),
      30_000,
    );
    await first.kill();
    await cluster.moveSlot('mr:{0}:outbox', ((await cluster.ownerOf('mr:{0}:outbox')) + 1) % 3);
    await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
    t.equal(await second.terminate(), 0);
  },
);
