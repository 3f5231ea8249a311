/**
 * A real redis-server for one test, which starts, restarts, kills and pauses it. The server ends
 * with the test.
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
import { findServerBinary } from '../../src/redis/server-binary.ts';
import type { ServerBinary } from '../../src/redis/server-program.ts';

/** The part of a tap test that a server needs. */
export interface TestLike {
  teardown(fn: () => void | Promise<void>): void;
}

export interface TestRedisOptions {
  readonly appendfsync?: 'always' | 'everysec' | 'no';
  /** Further settings, as on the command line: ['--maxmemory', '10mb']. */
  readonly args?: readonly string[];
  /** Further variables of the server's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Folder of socket, data and log. Default: a fresh one that is removed afterwards. */
  readonly dir?: string;
  /** Whether the server also listens on a free port of 127.0.0.1: `tcpUrl`, `port`. */
  readonly tcp?: boolean;
}

export interface TestRedis {
  readonly url: string;
  readonly tcpUrl: string;
  readonly port: number;
  readonly socket: string;
  readonly dir: string;
  readonly pid: number;
  /** Sends SIGKILL and waits until the server is gone. */
  kill(): Promise<void>;
  /** Shuts the server down in order. */
  stop(): Promise<void>;
  /**
   * Shuts the server down in order if it runs. Starts it again on the same data, socket and port.
   */
  restart(): Promise<void>;
  /** Sends SIGSTOP: the kernel still accepts connections and bytes, the server answers nothing. */
  pause(): void;
  resume(): void;
  /** Opens a plain ioredis client to look with. The client is closed with the test. */
  client(options?: { readonly db?: number; readonly connectionName?: string }): Redis;
}

/**
 * The project's folder, from dist/scripts/lab. Its .millrace/ keeps the server's binary, so that it
 * is fetched once.
 */
export const projectDir = fileURLToPath(new URL('../../..', import.meta.url));

let binary: Promise<ServerBinary> | undefined;

export function testServerBinary(): Promise<ServerBinary> {
  binary ??= findServerBinary({ cacheDir: join(projectDir, '.millrace') });
  return binary;
}

export async function startRedis(t: TestLike, options: TestRedisOptions = {}): Promise<TestRedis> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'millrace-test-'));
  const port = options.tcp ? await freePort() : 0;
  const command = commandOf(await testServerBinary(), dir, port, options);
  const redis = new ManagedRedis(command, dir, port);
  t.teardown(async () => {
    redis.disconnectClients();
    // A master's orderly shutdown waits for its replicas. Data that is removed at once needs no
    // such wait.
    if (options.dir !== undefined) return redis.stop();
    await redis.kill();
    await removeDir(dir);
  });
  await redis.start();
  return redis;
}

interface ServerCommand {
  readonly binary: ServerBinary;
  readonly args: readonly string[];
}

function commandOf(
  plain: ServerBinary,
  dir: string,
  port: number,
  options: TestRedisOptions,
): ServerCommand {
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    unixsocket: socketOf(dir),
    dir,
    logfile: join(dir, 'redis.log'),
    appendonly: 'yes',
    appendfsync: options.appendfsync ?? 'everysec',
    save: '',
    'maxmemory-policy': 'noeviction',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  args.push(...(options.args ?? []));
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  if (env.length === 0) return { binary: plain, args };
  // The environment is for the server alone, not for the shell that supervises it.
  return { binary: { ...plain, path: 'env' }, args: [...env, plain.path, ...args] };
}

const socketOf = (dir: string): string => join(dir, 'redis.sock');

class ManagedRedis implements TestRedis {
  readonly url: string;
  readonly tcpUrl: string;
  readonly port: number;
  readonly socket: string;
  readonly dir: string;
  readonly #clients: Redis[] = [];
  readonly #command: ServerCommand;
  #server: SupervisedServer | null = null;

  constructor(command: ServerCommand, dir: string, port: number) {
    this.#command = command;
    this.dir = dir;
    this.port = port;
    this.socket = socketOf(dir);
    this.url = `unix:${this.socket}`;
    this.tcpUrl = `redis://127.0.0.1:${port}`;
  }

  get pid(): number {
    if (!this.#server) throw new Error('the server is not running');
    return this.#server.pid;
  }

  /** Resolves when the server answers. */
  async start(): Promise<void> {
    const { binary, args } = this.#command;
    const server = await superviseServer(binary, join(this.dir, 'redis.lock'), args, 5);
    this.#server = server;
    const gone = server.exited.then((code) => {
      throw new Error(
        `redis-server ended with status ${code}: ${server.stderr()} (${this.dir}/redis.log)`,
      );
    });
    const probe = new Redis({
      path: this.socket,
      retryStrategy: () => 10,
      maxRetriesPerRequest: null,
      maxLoadingRetryTime: 50,
    });
    probe.on('error', () => {});
    try {
      await Promise.race([probe.ping(), gone]);
    } finally {
      gone.catch(() => {});
      probe.disconnect();
    }
  }

  async kill(): Promise<void> {
    await this.#release()?.kill();
  }

  async stop(): Promise<void> {
    await this.#release()?.stop();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  pause(): void {
    this.#signal('SIGSTOP');
  }

  resume(): void {
    this.#signal('SIGCONT');
  }

  client(more: { readonly db?: number; readonly connectionName?: string } = {}): Redis {
    const client = new Redis({ path: this.socket, maxRetriesPerRequest: null, ...more });
    client.on('error', () => {});
    this.#clients.push(client);
    return client;
  }

  disconnectClients(): void {
    for (const client of this.#clients) client.disconnect();
  }

  /** Takes the server out of the object, so that nobody else stops it. Null if it does not run. */
  #release(): SupervisedServer | null {
    const running = this.#server;
    this.#server = null;
    return running;
  }

  #signal(name: NodeJS.Signals): void {
    if (this.#server) process.kill(this.#server.pid, name);
  }
}

/**
 * Removes the folder. A fork of a killed server (rewrite, replication) may still write for a
 * moment, so the removal is repeated.
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
 * Returns a free port below the kernel's range for outgoing connections. A port in that range may
 * be taken before the server binds it.
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
