import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { RedisReplyError, UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { inspectServer, serverProblems } from '../../src/redis/capability.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { withRetry } from '../../src/redis/retry.ts';
import { defineScript } from '../../src/redis/script.ts';
import { freePort, startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-lua-'));
t.teardown(() => rmSync(dir, { recursive: true }));
writeFileSync(join(dir, 'append.lua'), "return {'ok', redis.call('RPUSH', KEYS[1], ARGV[1])}");
const append = defineScript({ url: pathToFileURL(join(dir, 'append.lua')), keys: 1 });

/** The tags {0} … {15} lie on both halves of the slots. */
const keys = Array.from({ length: 16 }, (_, p) => `mr:{${p}}:l`);

async function startNode(t: Test): Promise<TestRedis> {
  return startRedis(t, {
    tcp: true,
    args: [
      '--cluster-enabled',
      'yes',
      '--cluster-port',
      String(await freePort()),
      '--cluster-node-timeout',
      '1000',
    ],
  });
}

const clusterOk = (node: Redis) =>
  until('the cluster is ok', async () =>
    String(await node.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  );

/** Waits until a node serves one of the keys, and returns that key. */
const keyOn = (node: Redis, what: string): Promise<string> =>
  until(what, async () => {
    for (const key of keys)
      if (
        await node.llen(key).then(
          () => true,
          () => false,
        )
      )
        return key;
    return null;
  });

/** Starts two masters with one half of the slots each, and connects to them. */
async function openCluster(t: Test) {
  const nodes = await Promise.all([startNode(t), startNode(t)]);
  const [a, b] = nodes.map((node) => node.client());
  if (!a || !b) throw new Error('two nodes');
  await a.call('CLUSTER', 'ADDSLOTSRANGE', 0, 8191);
  await b.call('CLUSTER', 'ADDSLOTSRANGE', 8192, 16383);
  const busPort = /cport:(\d+)|@(\d+)/.exec(
    String(await b.call('CLUSTER', 'NODES')),
  )?.[2] as string;
  await a.call('CLUSTER', 'MEET', '127.0.0.1', nodes[1]?.port as number, busPort);
  for (const client of [a, b]) await clusterOk(client);

  const url = nodes.map((node) => node.tcpUrl).join(',');
  const connection = openConnection({ url, offlineWaitMs: 5_000, replyTimeoutMs: 2_000 });
  t.teardown(() => connection.destroy());
  return { nodes, a, b, connection };
}

t.test('a cluster of two masters', async (t) => {
  const { nodes, a, b, connection } = await openCluster(t);
  t.ok(connection.isCluster);

  await t.test('keys decide the node; scripts and WAIT', async (t) => {
    for (const key of keys) t.strictSame(await append.run(connection, [key], ['x']), ['ok', 1]);
    for (const key of keys)
      t.strictSame(await append.runThen(connection, [key], ['y'], ['WAIT', 0, 10]), [['ok', 2], 0]);
    // CLIENT ID in place of WAIT shows the place of the second command: the node of the script, on
    // one connection.
    const ids = new Set<string>();
    for (const key of keys) {
      const [, info] = await append.runThen(connection, [key], ['z'], ['CONFIG', 'GET', 'port']);
      const owner = nodes.find((node) => String((info as string[])[1]) === String(node.port));
      ids.add(String(owner?.port));
      t.equal(
        await owner
          ?.client()
          .llen(key)
          .catch(() => -1),
        3,
        `${key} lies where CONFIG was asked`,
      );
    }
    t.equal(ids.size, 2, 'both nodes took part');
  });

  await t.test('every master is inspected', async (t) => {
    const info = await inspectServer(connection);
    t.match(info, {
      mode: 'cluster',
      followsRedirections: true,
      maxmemoryPolicy: 'noeviction',
      appendonly: true,
      replicas: 0,
    });
    t.equal(info.nodes.length, 2);
    t.strictSame(serverProblems(info, { minVersion: '6.2' }), []);
    await b.config('SET', 'maxmemory-policy', 'allkeys-lru');
    const problems = serverProblems(await inspectServer(connection), { minVersion: '6.2' });
    t.equal(problems.length, 1);
    t.match(problems[0], new RegExp(`allkeys-lru" \\(node 127.0.0.1:${nodes[1]?.port}\\)`));
    await b.config('SET', 'maxmemory-policy', 'noeviction');

    const single = openConnection({ url: nodes[0]?.tcpUrl as string });
    t.teardown(() => single.destroy());
    t.match(
      serverProblems(await inspectServer(single), { minVersion: '6.2' })[0],
      /node of a Redis Cluster: name several/,
    );
  });

  await t.test('a slot moves: redirections are followed', async (t) => {
    const key = await keyOn(a, 'a key of the first node');
    const slot = Number(await a.call('CLUSTER', 'KEYSLOT', key));
    await connection.command('DEL', key);
    const owner = String(await b.call('CLUSTER', 'MYID'));
    for (const client of [b, a]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', owner);
    t.strictSame(await append.runThen(connection, [key], ['after'], ['CONFIG', 'GET', 'port']), [
      ['ok', 1],
      ['port', String(nodes[1]?.port)],
    ]);
    t.strictSame(await append.run(connection, [key], ['again']), ['ok', 2]);
  });

  await t.test(
    'a node that is killed: unknown outcome in bounded time, back after its restart',
    async (t) => {
      const key = await keyOn(b, 'a key of the second node');
      await connection.command('DEL', key);
      await nodes[1]?.kill();
      const start = performance.now();
      const error = await append.run(connection, [key], ['lost']).then(
        () => null,
        (reason: unknown) => reason,
      );
      t.ok(
        error instanceof UnknownOutcomeError ||
          (error instanceof RedisReplyError && error.reply === 'CLUSTERDOWN'),
        String(error),
      );
      t.ok(performance.now() - start < 8_000);
      await nodes[1]?.restart();
      await clusterOk(a);
      t.strictSame(
        await withRetry(() => append.run(connection, [key], ['found']), { deadlineMs: 15_000 }),
        ['ok', 1],
      );
    },
  );
  await connection.close();
});
