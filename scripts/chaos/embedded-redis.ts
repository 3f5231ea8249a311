/**
 * A server for faults that starts, and mends its file at the start, as Millrace's own server does.
 */
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { startEmbeddedServer, type EmbeddedServer } from '../../src/redis/embedded-server.ts';
import {
  projectDir,
  testServerBinary,
  type TestLike,
  type TestRedis,
} from '../lab/redis-server.ts';

export async function startEmbedded(scope: TestLike): Promise<TestRedis> {
  await testServerBinary();
  const dir = mkdtempSync(join(tmpdir(), 'millrace-chaos-'));
  // The server's libraries may lie beside it.
  const unpacked = join(projectDir, '.millrace/redis-server');
  if (existsSync(unpacked)) symlinkSync(unpacked, join(dir, 'redis-server'));
  const start = (): Promise<EmbeddedServer> => startEmbeddedServer({ dir });
  const clients: Redis[] = [];
  let server: EmbeddedServer = await start();
  const pid = (): number => {
    if (server.pid === null) throw new Error('the server is not running');
    return server.pid;
  };
  const stop = (): Promise<void> => server.stop();
  scope.teardown(async () => {
    for (const client of clients) client.disconnect();
    await stop();
    rmSync(dir, { recursive: true, force: true, maxRetries: 50, retryDelay: 50 });
  });
  return {
    url: server.url,
    tcpUrl: '',
    port: 0,
    socket: server.socket,
    dir: join(dir, 'data'),
    get pid() {
      return pid();
    },
    async kill() {
      process.kill(pid(), 'SIGKILL');
      // Stop in the same turn. Otherwise the server would be started again at once, before the
      // fault can change its file.
      await stop();
    },
    stop,
    async restart() {
      await stop();
      server = await start();
    },
    pause: () => process.kill(pid(), 'SIGSTOP'),
    resume: () => process.kill(pid(), 'SIGCONT'),
    client(more = {}) {
      const client = new Redis({ path: server.socket, maxRetriesPerRequest: null, ...more });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
  };
}
