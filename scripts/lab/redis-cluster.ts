/**
 * A real Redis Cluster on loopback. Its masters share the slots; an option gives each master a
 * replica.
 */
import { Cluster, type Redis } from 'ioredis';
import { freePort, startRedis, type TestLike, type TestRedis } from './redis-server.ts';
import { startProxy, type TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

export interface TestCluster {
  /** Url of the masters, in the form of REDIS_URL. */
  readonly url: string;
  /** Masters first, then their replicas in the same order. */
  readonly nodes: readonly TestRedis[];
  /**
   * Proxies in the order of the nodes; empty without `proxiedLinks`. A node's replica follows it
   * through its proxy. Clients pass through untouched.
   */
  readonly links: readonly TcpProxy[];
  /** Opens a plain ioredis client to look with. The client is closed with the test. */
  client(): Cluster;
  /** Returns the index of the node that serves a key's slot now. */
  ownerOf(key: string): Promise<number>;
  /** Moves a key's slot with all its keys, as redis-cli --cluster reshard does. */
  moveSlot(key: string, to: number): Promise<void>;
  /**
   * Waits until a killed master's replica serves its slots, and every node knows. Until the death
   * is noticed the cluster still calls itself whole.
   */
  succeeded(master: number, timeoutMs?: number): Promise<void>;
  /** Waits until every node that answers says that all slots are served. */
  whole(timeoutMs?: number): Promise<void>;
}

const SLOTS = 16_384;
/**
 * Replicas connect from another address of the loopback than clients. The proxy tells them apart by
 * it.
 */
const REPLICA_ADDRESS = '127.0.0.2';

export interface TestClusterOptions {
  readonly masters: number;
  readonly replicas?: boolean;
  /**
   * Whether each node announces a proxy in front of itself. The proxy delays, holds back and cuts
   * the link to its replica. A restart of the node ends this.
   */
  readonly proxiedLinks?: boolean;
}

export async function startCluster(t: TestLike, options: TestClusterOptions): Promise<TestCluster> {
  const { masters } = options;
  const count = options.replicas ? masters * 2 : masters;
  const busPorts = await Promise.all(Array.from({ length: count }, () => freePort()));
  const nodes = await Promise.all(
    busPorts.map((port) => startNode(t, port, options.proxiedLinks ?? false)),
  );
  const calls = new NodeCalls(nodes);
  const links = options.proxiedLinks ? await proxyLinks(t, nodes, calls) : [];
  await shareSlots(calls, masters);
  for (let i = 1; i < count; i++)
    await calls.call(
      0,
      'CLUSTER',
      'MEET',
      '127.0.0.1',
      nodes[i]?.port as number,
      busPorts[i] as number,
    );
  const ids = await Promise.all(
    nodes.map(async (_, i) => String(await calls.call(i, 'CLUSTER', 'MYID'))),
  );
  const cluster = new ManagedCluster(calls, { nodes, links, ids, masters });
  t.teardown(() => cluster.disconnectClients());
  await assignReplicas(calls, ids, masters);
  await cluster.whole();
  await replicasFollow(calls, count, masters);
  return cluster;
}

/** Sends a command to one node. Each node has a plain client. */
class NodeCalls {
  readonly #clients: readonly Redis[];

  constructor(nodes: readonly TestRedis[]) {
    this.#clients = nodes.map((node) => node.client());
  }

  call(node: number, ...args: (string | number)[]): Promise<unknown> {
    const client = this.#clients[node];
    if (!client) throw new Error(`no node ${node}`);
    return client.call(...(args as [string, ...string[]]));
  }
}

function startNode(t: TestLike, busPort: number, proxied: boolean): Promise<TestRedis> {
  const announced = proxied
    ? ['--bind-source-addr', REPLICA_ADDRESS, '--cluster-announce-ip', '127.0.0.1']
    : [];
  const settings = {
    'cluster-enabled': 'yes',
    'cluster-port': String(busPort),
    'cluster-node-timeout': '1500',
    'repl-diskless-sync-delay': '0',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  return startRedis(t, { tcp: true, args: [...announced, ...args] });
}

/** Starts a proxy in front of each node, and makes the node announce the proxy's port. */
async function proxyLinks(
  t: TestLike,
  nodes: readonly TestRedis[],
  calls: NodeCalls,
): Promise<readonly TcpProxy[]> {
  const links = await Promise.all(
    nodes.map(({ port }) => startProxy(t, { port }, [REPLICA_ADDRESS])),
  );
  await Promise.all(
    links.map(({ port }, i) => calls.call(i, 'CONFIG', 'SET', 'cluster-announce-port', port)),
  );
  return links;
}

async function shareSlots(calls: NodeCalls, masters: number): Promise<void> {
  const share = Math.ceil(SLOTS / masters);
  for (let i = 0; i < masters; i++) {
    const last = Math.min(SLOTS, (i + 1) * share) - 1;
    await calls.call(i, 'CLUSTER', 'ADDSLOTSRANGE', i * share, last);
  }
}

/**
 * Makes the nodes after the masters replicas. Repeats the command until each replica has heard of
 * its master.
 */
async function assignReplicas(
  calls: NodeCalls,
  ids: readonly string[],
  masters: number,
): Promise<void> {
  for (let i = masters; i < ids.length; i++)
    await until(
      'the replica knows its master',
      () =>
        calls.call(i, 'CLUSTER', 'REPLICATE', ids[i - masters] as string).then(
          () => true,
          () => false,
        ),
      20_000,
    );
}

async function replicasFollow(calls: NodeCalls, count: number, masters: number): Promise<void> {
  for (let i = masters; i < count; i++)
    await until(
      'the replica follows',
      async () =>
        String(await calls.call(i, 'INFO', 'replication')).includes('master_link_status:up'),
      20_000,
    );
}

interface Topology {
  readonly nodes: readonly TestRedis[];
  readonly links: readonly TcpProxy[];
  /** Node ids, in the order of the nodes. */
  readonly ids: readonly string[];
  /** Number of masters. */
  readonly masters: number;
}

class ManagedCluster implements TestCluster {
  readonly url: string;
  readonly nodes: readonly TestRedis[];
  readonly links: readonly TcpProxy[];
  readonly #calls: NodeCalls;
  readonly #ids: readonly string[];
  readonly #masters: number;
  readonly #clients: Cluster[] = [];

  constructor(calls: NodeCalls, { nodes, links, ids, masters }: Topology) {
    this.#calls = calls;
    this.nodes = nodes;
    this.links = links;
    this.#ids = ids;
    this.#masters = masters;
    this.url = nodes
      .slice(0, masters)
      .map((node) => node.tcpUrl)
      .join(',');
  }

  client(): Cluster {
    const cluster = new Cluster(
      this.nodes.map((node) => ({ host: '127.0.0.1', port: node.port })),
      { redisOptions: { maxRetriesPerRequest: null } },
    );
    cluster.on('error', () => {});
    this.#clients.push(cluster);
    return cluster;
  }

  disconnectClients(): void {
    this.#clients.forEach((cluster) => cluster.disconnect());
  }

  async whole(timeoutMs = 30_000): Promise<void> {
    const nodesAgree = async (): Promise<boolean> =>
      (await Promise.all(this.nodes.map((_, i) => this.#servesAllSlots(i)))).every(Boolean);
    await until('the cluster is whole', nodesAgree, timeoutMs);
  }

  async ownerOf(key: string): Promise<number> {
    const slot = await this.#slotOf(key);
    const ranges = (await this.#calls.call(0, 'CLUSTER', 'SLOTS')) as [
      number,
      number,
      [string, number, string],
    ][];
    const range = ranges.find(([from, to]) => slot >= from && slot <= to);
    return this.#ids.indexOf(range?.[2][2] ?? '');
  }

  async moveSlot(key: string, to: number): Promise<void> {
    const slot = await this.#slotOf(key);
    const from = await this.ownerOf(key);
    const call = this.#calls.call.bind(this.#calls);
    await call(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.#ids[from] as string);
    await call(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.#ids[to] as string);
    const { port } = this.nodes[to] as TestRedis;
    for (;;) {
      const keys = (await call(from, 'CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[];
      if (keys.length === 0) break;
      await call(from, 'MIGRATE', '127.0.0.1', port, '', 0, 5000, 'KEYS', ...keys);
    }
    for (let i = 0; i < this.#masters; i++)
      await call(i, 'CLUSTER', 'SETSLOT', slot, 'NODE', this.#ids[to] as string).catch(
        () => undefined,
      );
  }

  async succeeded(master: number, timeoutMs = 30_000): Promise<void> {
    const successor = this.#ids[master + this.#masters] as string;
    const others = this.#ids.flatMap((_, i) => (i === master ? [] : [i]));
    const allKnow = async (): Promise<boolean> => {
      const tables = await Promise.all(others.map((i) => this.#calls.call(i, 'CLUSTER', 'NODES')));
      return tables.every((table) => isMasterWithSlots(String(table), successor));
    };
    await until('the replica has taken over', allKnow, timeoutMs);
    await this.whole(timeoutMs);
  }

  async #slotOf(key: string): Promise<number> {
    return Number(await this.#calls.call(0, 'CLUSTER', 'KEYSLOT', key));
  }

  /**
   * Returns whether the node says that all slots are served. True for a node without an answer
   * within 300 ms: it has no vote.
   */
  async #servesAllSlots(node: number): Promise<boolean> {
    const info = await Promise.race([
      this.#calls.call(node, 'CLUSTER', 'INFO').catch(() => null),
      new Promise<null>((resolve) => void setTimeout(resolve, 300, null)),
    ]);
    if (info === null) return true;
    const text = String(info);
    return text.includes('cluster_state:ok') && text.includes(`cluster_slots_ok:${SLOTS}`);
  }
}

/** Whether CLUSTER NODES lists the node as a master that serves a range of slots. */
function isMasterWithSlots(table: string, id: string): boolean {
  return table
    .split('\n')
    .some(
      (line) =>
        line.startsWith(id) && / (myself,)?master /.test(line) && /\d+-\d+$/.test(line.trim()),
    );
}
