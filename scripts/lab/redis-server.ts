/**
 * A real redis-server for one test: started, restarted, killed and paused at will; gone when the
 * test is over.
 */
import { randomInt } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { superviseServer, type SupervisedServer } from '../../src/redis/supervised-server.ts';
import { findServerBinary, type ServerBinary } from '../../src/redis/server-binary.ts';

/** What is needed of a tap test. */
export interface TestLike {
  teardown(fn: () => void | Promise<void>): void;
}

export interface TestRedisOptions {
  readonly appendfsync?: 'always' | 'everysec' | 'no';
  /** Further settings, as on the command line: ['--maxmemory', '10mb']. */
  readonly args?: readonly string[];
  /** More of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Holds socket, data and log; default a fresh one that is removed afterwards. */
  readonly dir?: string;
  /** Also listens on a free port of 127.0.0.1: `tcpUrl`, `port`. */
  readonly tcp?: boolean;
}

export interface TestRedis {
  readonly url: string;
  readonly tcpUrl: string;
  readonly port: number;
  readonly socket: string;
  readonly dir: string;
  readonly pid: number;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
  /** Orderly shutdown. */
  stop(): Promise<void>;
  /** Orderly shutdown if it runs, then up again on the same data, socket and port. */
  restart(): Promise<void>;
  /** SIGSTOP: takes connections and bytes, answers nothing. */
  pause(): void;
  resume(): void;
  /** A plain ioredis to look with; closed with the test. */
  client(options?: { readonly db?: number; readonly connectionName?: string }): Redis;
}

/** dist/scripts/lab -> the project: its .millrace keeps the binary, so that it is fetched once. */
export const projectDir = fileURLToPath(new URL('../../..', import.meta.url));

let binary: Promise<ServerBinary> | undefined;

export function testServerBinary(): Promise<ServerBinary> {
  binary ??= findServerBinary({ cacheDir: join(projectDir, '.millrace') });
  return binary;
}

export async function startRedis(t: TestLike, options: TestRedisOptions = {}): Promise<TestRedis> {
  const plain = await testServerBinary();
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  // For the server alone, not for the shell that supervises it.
  const found = env.length === 0 ? plain : { ...plain, path: 'env' };
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'millrace-test-'));
  const socket = join(dir, 'redis.sock');
  const port = options.tcp ? await freePort() : 0;
  const args = [
    ...(env.length === 0 ? [] : [...env, plain.path]),
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--unixsocket',
    socket,
    '--dir',
    dir,
    '--logfile',
    join(dir, 'redis.log'),
    '--appendonly',
    'yes',
    '--appendfsync',
    options.appendfsync ?? 'everysec',
    '--save',
    '',
    '--maxmemory-policy',
    'noeviction',
    ...(options.args ?? []),
  ];
  const clients: Redis[] = [];
  let server: SupervisedServer | null = null;

  const start = async (): Promise<void> => {
    server = await superviseServer(found, join(dir, 'redis.lock'), args, 5);
    const probe = new Redis({
      path: socket,
      retryStrategy: () => 10,
      maxRetriesPerRequest: null,
      maxLoadingRetryTime: 50,
    });
    probe.on('error', () => {});
    const gone = server.exited.then((code) => {
      throw new Error(
        `redis-server ended with status ${code}: ${server?.stderr() ?? ''} (${dir}/redis.log)`,
      );
    });
    try {
      await Promise.race([probe.ping(), gone]);
    } finally {
      gone.catch(() => {});
      probe.disconnect();
    }
  };
  const signal = (name: NodeJS.Signals): void => {
    if (server) process.kill(server.pid, name);
  };
  const stop = async (): Promise<void> => {
    const running = server;
    server = null;
    await running?.stop();
  };

  const kill = async (): Promise<void> => {
    const running = server;
    server = null;
    await running?.kill();
  };

  t.teardown(async () => {
    for (const client of clients) client.disconnect();
    // A master's orderly shutdown waits for its replicas: not for data that goes away with it.
    if (options.dir !== undefined) return stop();
    await kill();
    await removeDir(dir);
  });
  await start();

  return {
    url: `unix:${socket}`,
    tcpUrl: `redis://127.0.0.1:${port}`,
    port,
    socket,
    dir,
    get pid() {
      if (!server) throw new Error('the server is not running');
      return server.pid;
    },
    kill,
    stop,
    async restart() {
      await stop();
      await start();
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    client(more = {}) {
      const client = new Redis({ path: socket, maxRetriesPerRequest: null, ...more });
      client.on('error', () => {});
      clients.push(client);
      return client;
    },
  };
}

/**
 * A fork of a killed server (rewrite, replication) may still write for a moment: tries until that
 * is over.
 */
async function removeDir(dir: string): Promise<void> {
  for (let left = 100; ; left--) {
    try {
      await rm(dir, { recursive: true, force: true });
      return;
    } catch (error) {
      if (left === 0 || (error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
      await delay(50);
    }
  }
}

/**
 * For what cannot be awaited otherwise: looks every 10 ms until `check` is truthy; fails after
 * `timeoutMs`, saying what for.
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 10_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > deadline)
      throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await delay(10);
  }
}

/**
 * Below the ports that the kernel gives to outgoing connections: one of those may be gone when the
 * server binds it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) =>
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true)),
    );
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
