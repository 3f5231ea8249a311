import t from 'tap';
import {
  inspectServer,
  serverProblems,
  serverWarnings,
  type ServerInfo,
} from '../../src/redis/capability.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { atLeast } from '../../src/redis/server-binary.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

t.test('a good server', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const info = await inspectServer(connection);
  t.match(info, {
    mode: 'standalone',
    maxmemoryPolicy: 'noeviction',
    appendonly: true,
    appendfsync: 'always',
    replicas: 0,
  });
  t.equal(info.hasWaitAof, atLeast(info.version, '7.2'));
  t.strictSame(serverProblems(info, { minVersion: '6.2' }), []);
});

t.test('eviction loses data', async (t) => {
  const redis = await startRedis(t, { args: ['--maxmemory-policy', 'allkeys-lru'] });
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const problems = serverProblems(await inspectServer(connection), { minVersion: '6.2' });
  t.equal(problems.length, 1);
  t.match(problems[0], /maxmemory-policy is "allkeys-lru".*CONFIG SET maxmemory-policy noeviction/);
});

t.test('CONFIG is denied', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  await redis.client().call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '+@all', '-config');
  const connection = openConnection({ url: `redis://plain:pw@127.0.0.1:${redis.port}` });
  t.teardown(() => connection.destroy());
  const info = await inspectServer(connection);
  t.match(
    info,
    { maxmemoryPolicy: 'noeviction', appendonly: true, appendfsync: null },
    'INFO tells some of it',
  );
  t.strictSame(serverProblems(info, { minVersion: '6.2' }), []);
});

t.test('a replica, and an old one', async (t) => {
  const master = await startRedis(t, { tcp: true, args: ['--repl-diskless-sync-delay', '0'] });
  const replica = await startRedis(t, { args: ['--replicaof', '127.0.0.1', String(master.port)] });
  const connection = openConnection({ url: replica.url });
  t.teardown(() => connection.destroy());
  const info = await inspectServer(connection);
  t.match(serverProblems(info, { minVersion: '6.2' }), [/is a replica/]);
  const old: ServerInfo = {
    ...info,
    nodes: info.nodes.map((node) => ({ ...node, role: 'master', version: '6.0.16' })),
  };
  t.match(serverProblems(old, { minVersion: '6.2' }), [/redis 6\.0\.16, at least 6\.2 is needed/]);
});

t.test('versions compare by number', (t) => {
  t.ok(atLeast('7.0.15', '6.2'));
  t.ok(atLeast('10.0.0', '9.9'));
  t.ok(atLeast('6.2.0', '6.2'));
  t.notOk(atLeast('6.0.16', '6.2'));
  t.end();
});

t.test('what the server would lose if it ended is said', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const warned = async (settings: Readonly<Record<string, string>>): Promise<string[]> => {
    for (const [name, value] of Object.entries(settings)) await look.config('SET', name, value);
    return serverWarnings(await inspectServer(connection));
  };
  t.strictSame(await warned({ appendonly: 'yes', appendfsync: 'everysec', save: '' }), []);
  t.match(await warned({ appendfsync: 'no' }), [/appendfsync no/]);
  t.match(await warned({ appendonly: 'no', save: '3600 1' }), [
    /no append-only file.*since its last snapshot/,
  ]);
  t.match(await warned({ save: '' }), [/writes nothing to disk.*all events are lost/]);
});
