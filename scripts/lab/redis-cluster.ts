/**
 * A real Redis Cluster on loopback: masters that share the slots, each with a replica where asked
 * for.
 */
import { Cluster } from 'ioredis';
import { freePort, startRedis, until, type TestLike, type TestRedis } from './redis-server.ts';
import { startProxy, type TcpProxy } from './tcp-proxy.ts';

export interface TestCluster {
  /** As in REDIS_URL. */
  readonly url: string;
  /** Masters first, then their replicas in the same order. */
  readonly nodes: readonly TestRedis[];
  /**
   * With `proxiedLinks`, in the order of the nodes: what a node's replica follows it through.
   * Clients pass through untouched.
   */
  readonly links: readonly TcpProxy[];
  /** A plain ioredis to look with; closed with the test. */
  client(): Cluster;
  /** Index of the node that serves a key's slot now. */
  ownerOf(key: string): Promise<number>;
  /** Moves a key's slot, keys and all, as redis-cli --cluster reshard does. */
  moveSlot(key: string, to: number): Promise<void>;
  /**
   * A killed master's replica serves its slots, and everybody knows. Until its death has been
   * noticed the cluster still calls itself whole.
   */
  succeeded(master: number, timeoutMs?: number): Promise<void>;
  /** Every node that answers says that all slots are served. */
  whole(timeoutMs?: number): Promise<void>;
}

const SLOTS = 16_384;
/**
 * Replicas come from another address of the loopback than clients: that is how a proxy tells them
 * apart.
 */
const REPLICA_ADDRESS = '127.0.0.2';

export interface TestClusterOptions {
  readonly masters: number;
  readonly replicas?: boolean;
  /**
   * Each node announces a proxy in front of itself, so that what its replica gets can be delayed,
   * held back and cut. Until it is restarted.
   */
  readonly proxiedLinks?: boolean;
}

export async function startCluster(t: TestLike, options: TestClusterOptions): Promise<TestCluster> {
  const { masters } = options;
  const count = options.replicas ? masters * 2 : masters;
  const busPorts = await Promise.all(Array.from({ length: count }, () => freePort()));
  const proxied = options.proxiedLinks
    ? ['--bind-source-addr', REPLICA_ADDRESS, '--cluster-announce-ip', '127.0.0.1']
    : [];
  const nodes = await Promise.all(
    busPorts.map((port) =>
      startRedis(t, {
        tcp: true,
        args: [
          ...proxied,
          '--cluster-enabled',
          'yes',
          '--cluster-port',
          String(port),
          '--cluster-node-timeout',
          '1500',
          '--repl-diskless-sync-delay',
          '0',
        ],
      }),
    ),
  );
  const clients = nodes.map((node) => node.client());
  const call = (node: number, ...args: (string | number)[]): Promise<unknown> => {
    const client = clients[node];
    if (!client) throw new Error(`no node ${node}`);
    return client.call(...(args as [string, ...string[]]));
  };
  const links = options.proxiedLinks
    ? await Promise.all(nodes.map(({ port }) => startProxy(t, { port }, [REPLICA_ADDRESS])))
    : [];
  await Promise.all(
    links.map(({ port }, i) => call(i, 'CONFIG', 'SET', 'cluster-announce-port', port)),
  );
  const share = Math.ceil(SLOTS / masters);
  for (let i = 0; i < masters; i++)
    await call(i, 'CLUSTER', 'ADDSLOTSRANGE', i * share, Math.min(SLOTS, (i + 1) * share) - 1);
  for (let i = 1; i < count; i++)
    await call(0, 'CLUSTER', 'MEET', '127.0.0.1', nodes[i]?.port as number, busPorts[i] as number);
  const ids = await Promise.all(
    nodes.map(async (_, i) => String(await call(i, 'CLUSTER', 'MYID'))),
  );
  for (let i = masters; i < count; i++) {
    await until(
      'the replica knows its master',
      () =>
        call(i, 'CLUSTER', 'REPLICATE', ids[i - masters] as string).then(
          () => true,
          () => false,
        ),
      20_000,
    );
  }
  const whole = async (timeoutMs = 30_000): Promise<void> => {
    await until(
      'the cluster is whole',
      async () => {
        const states = await Promise.all(
          nodes.map(async (_, i) => {
            const info = await Promise.race([
              call(i, 'CLUSTER', 'INFO').catch(() => null),
              new Promise<null>((resolve) => void setTimeout(resolve, 300, null)),
            ]);
            return (
              info === null ||
              (String(info).includes('cluster_state:ok') &&
                String(info).includes(`cluster_slots_ok:${SLOTS}`))
            );
          }),
        );
        return states.every(Boolean);
      },
      timeoutMs,
    );
  };
  await whole();
  if (options.replicas) {
    for (let i = masters; i < count; i++)
      await until(
        'the replica follows',
        async () => String(await call(i, 'INFO', 'replication')).includes('master_link_status:up'),
        20_000,
      );
  }
  const slotOf = async (key: string): Promise<number> =>
    Number(await call(0, 'CLUSTER', 'KEYSLOT', key));
  const ownerOf = async (key: string): Promise<number> => {
    const slot = await slotOf(key);
    const ranges = (await call(0, 'CLUSTER', 'SLOTS')) as [
      number,
      number,
      [string, number, string],
    ][];
    const range = ranges.find(([from, to]) => slot >= from && slot <= to);
    return ids.indexOf(range?.[2][2] ?? '');
  };
  const opened: Cluster[] = [];
  t.teardown(() => opened.forEach((cluster) => cluster.disconnect()));
  return {
    url: nodes
      .slice(0, masters)
      .map((node) => node.tcpUrl)
      .join(','),
    nodes,
    links,
    ownerOf,
    whole,
    async succeeded(master, timeoutMs = 30_000) {
      const id = ids[master + masters] as string;
      const others = ids.flatMap((_, i) => (i === master ? [] : [i]));
      await until(
        'the replica has taken over',
        async () => {
          const tables = await Promise.all(others.map((i) => call(i, 'CLUSTER', 'NODES')));
          return tables.every((table) =>
            String(table)
              .split('\n')
              .some(
                (line) =>
                  line.startsWith(id) &&
                  / (myself,)?master /.test(line) &&
                  /\d+-\d+$/.test(line.trim()),
              ),
          );
        },
        timeoutMs,
      );
      await whole(timeoutMs);
    },
    client() {
      const cluster = new Cluster(
        nodes.map((node) => ({ host: '127.0.0.1', port: node.port })),
        { redisOptions: { maxRetriesPerRequest: null } },
      );
      cluster.on('error', () => {});
      opened.push(cluster);
      return cluster;
    },
    async moveSlot(key, to) {
      const slot = await slotOf(key);
      const from = await ownerOf(key);
      await call(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from] as string);
      await call(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to] as string);
      for (;;) {
        const keys = (await call(from, 'CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[];
        if (keys.length === 0) break;
        await call(
          from,
          'MIGRATE',
          '127.0.0.1',
          nodes[to]?.port as number,
          '',
          0,
          5000,
          'KEYS',
          ...keys,
        );
      }
      for (let i = 0; i < masters; i++)
        await call(i, 'CLUSTER', 'SETSLOT', slot, 'NODE', ids[to] as string).catch(() => undefined);
    },
  };
}
