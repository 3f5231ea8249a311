/** The server behind an address changes its role, or its address, without closing a socket. */
import t from 'tap';
import { openConnection } from '../../src/redis/connection.ts';
import { withRetry } from '../../src/redis/retry.ts';
import { defineScript } from '../../src/redis/script.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import { until, is } from '../../scripts/lab/until.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-lua-'));
t.teardown(() => rmSync(dir, { recursive: true }));
writeFileSync(
  join(dir, 'put.lua'),
  "redis.call('GET', KEYS[1])\nreturn redis.call('SET', KEYS[1], ARGV[1])",
);
const put = defineScript({ url: pathToFileURL(join(dir, 'put.lua')), keys: 1 });

async function demote(server: TestRedis, master: TestRedis): Promise<void> {
  await server.client().call('REPLICAOF', '127.0.0.1', master.port);
}

t.test(
  'READONLY, from a command and out of a script: on to the server that the address leads to now',
  async (t) => {
    for (const how of ['command', 'script'] as const) {
      const [old, now] = await Promise.all([
        startRedis(t, { tcp: true }),
        startRedis(t, { tcp: true }),
      ]);
      const proxy = await startProxy(t, { port: old.port });
      const siblings: string[] = [];
      const reading = openConnection({ url: proxy.url, blocking: true, maxBlockMs: 200 });
      const connection = openConnection({
        url: proxy.url,
        offlineWaitMs: 300,
        onUnfit: (reply) => {
          siblings.push(reply);
          reading.renew(reply);
        },
      });
      t.teardown(() => {
        connection.destroy();
        reading.destroy();
      });
      await Promise.all([connection.command('SET', 'k', 'before'), reading.ready()]);
      await demote(old, now);
      const write = (value: string): Promise<unknown> =>
        how === 'command'
          ? connection.command('SET', 'k', value)
          : put.run(connection, ['k'], [value]);
      // While the address leads to the demoted server, the connection is not up, rather than up and
      // useless.
      await t.rejects(withRetry(() => write('lost'), { deadlineMs: 800 }));
      await until('the connection says that it is down', () => is(connection.status, 'down'));
      t.ok(siblings.includes('READONLY'), how);
      proxy.leadTo({ port: now.port });
      t.equal(await withRetry(() => write('after'), { deadlineMs: 20_000 }), 'OK', how);
      t.equal(await now.client().get('k'), 'after', `${how}: written to the new master`);
      await now.client().set('only-here', '1');
      await reading.ready(20_000);
      t.equal(
        await until('who only reads has moved, too', () =>
          reading.command('GET', 'only-here').catch(() => null),
        ),
        '1',
      );
    }
  },
);
