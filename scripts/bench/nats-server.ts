/**
 * A nats-server of the distribution's own package, unpacked into the cache as the embedded
 * redis-server is. Nothing is installed, and no root is needed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import {
  aptOptions,
  systemName,
  unpackPackages,
  updateLists,
} from '../../src/redis/server-package.ts';
import { firstLine, output } from '../../src/redis/server-program.ts';
import { PACKAGE_DIR } from './settings.ts';

const PACKAGE = 'nats-server';
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
  const onPath = await output('sh', ['-c', `command -v ${PACKAGE}`]).catch(() => '');
  if (onPath.trim() !== '') return onPath.trim();
  const folder = join(PACKAGE_DIR, '.millrace', PACKAGE, await systemName());
  const program = ['usr/bin', 'usr/sbin'].map((dir) => join(folder, dir, PACKAGE));
  const cached = program.find((path) => existsSync(path));
  if (cached !== undefined) return cached;
  await unpackInto(folder);
  const found = program.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`the package ${PACKAGE} holds no ${PACKAGE}`);
  return found;
}

/**
 * Tries the package lists of the system first, then private ones, which need no root. Two runs may
 * do this at once: the first rename counts.
 */
async function unpackInto(folder: string): Promise<void> {
  const work = `${folder}.tmp-${process.pid}`;
  try {
    for (const lists of ['system', 'private'] as const) {
      const state = join(work, lists);
      const root = join(work, `${lists}-root`);
      const apt = aptOptions(state, lists === 'private');
      await mkdir(join(state, 'cache', 'archives', 'partial'), { recursive: true });
      try {
        if (lists === 'private') await updateLists(state, apt);
        await unpackPackages([PACKAGE], join(state, 'debs'), root, apt);
        return await rename(root, folder);
      } catch (error) {
        if (existsSync(folder)) return;
        if (lists === 'private') throw error;
      }
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
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
    if (exitCode() !== null) throw new Error(`${PACKAGE} ended with ${exitCode()}`);
    await wait(20);
  }
  throw new Error(`${PACKAGE} does not listen after ${START_MS} ms`);
}
