/**
 * A nats-server of the distribution's own package, unpacked into the cache as the embedded
 * redis-server is. Nothing is installed, and no root is needed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { findPackaged, systemName, type Packaged } from '../../src/redis/server-package.ts';
import { firstLine, output, withLibraries } from '../../src/redis/server-program.ts';
import { PACKAGE_DIR } from './settings.ts';

const NATS: Packaged = {
  names: ['nats-server'],
  check: async (path, libraryPath) => {
    await withLibraries(libraryPath, path, ['--version'], START_MS);
    return {};
  },
};
const START_MS = 10_000;

export interface NatsServer {
  /** host:port */
  readonly address: string;
  readonly version: string;
  remove(): Promise<void>;
}

/**
 * Returns the path of the program: on PATH, in the cache, or unpacked into the cache now.
 * @throws Error where there is none
 */
async function findNatsServer(): Promise<string> {
  const onPath = await output('sh', ['-c', `command -v ${NATS.names[0]}`]).catch(() => '');
  if (onPath.trim() !== '') return onPath.trim();
  const folder = join(PACKAGE_DIR, '.millrace', 'nats-server', await systemName());
  const found = await findPackaged(folder, NATS);
  if (typeof found === 'string') throw new Error(found);
  return found.path;
}

/**
 * Starts a server with JetStream on a free port of the loopback, with its data in a folder of its
 * own.
 * @throws Error where there is none, or where it does not start
 */
export async function startNatsServer(): Promise<NatsServer> {
  const program = await findNatsServer();
  const version = firstLine(await output(program, ['--version'])).replace(/^.*v(?=\d)/, '');
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-nats-'));
  const args = ['-js', '-sd', join(dir, 'data'), '-a', '127.0.0.1', '-p', '-1'];
  const child = spawn(program, [...args, '--ports_file_dir', dir], { stdio: 'ignore' });
  const ended = once(child, 'exit').catch(() => {}); // Not started: the loop below notices.
  const remove = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    return { address: await addressOf(dir, () => child.exitCode), version, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Waits for the file with the ports, which the server writes when it listens. */
async function addressOf(dir: string, exitCode: () => number | null): Promise<string> {
  for (const deadline = performance.now() + START_MS; performance.now() < deadline;) {
    const file = readdirSync(dir).find((name) => name.endsWith('.ports'));
    const text = file === undefined ? '' : readFileSync(join(dir, file), 'utf8');
    const nats = /"nats":\s*\[\s*"nats:\/\/([^"]+)"/.exec(text)?.[1];
    if (nats !== undefined) return nats;
    if (exitCode() !== null) throw new Error(`nats-server ended with ${exitCode()}`);
    await wait(20);
  }
  throw new Error(`nats-server does not listen after ${START_MS} ms`);
}
