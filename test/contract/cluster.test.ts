import type { Redis } from 'ioredis';
import { startCluster } from '../../scripts/lab/redis-cluster.ts';
import { contract } from './contract.ts';

contract('a Cluster of three masters', async (t) => {
  const cluster = await startCluster(t, { masters: 3 });
  return { url: cluster.url, client: () => cluster.client() as unknown as Redis };
});
