/** Dispatchers in processes of their own, which a test kills, stops and continues. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { connect, type Millrace, type MillraceOptions } from '../../src/millrace.ts';
import { projectDir, type TestLike } from './redis-server.ts';
import { untilTold, outputOf } from './until.ts';

export const PROTO_DIR = join(projectDir, 'scripts/lab/proto');
const SCRIPT = fileURLToPath(new URL('./run-dispatcher.js', import.meta.url));

export type FunctionSet =
  | 'tally'
  | 'handle'
  | 'batch'
  | 'unordered'
  | 'ordered'
  | 'hold'
  | 'inbox'
  | 'late'
  | 'emit'
  | 'emit-unordered'
  | 'named'
  | 'gated'
  | 'hostile';
export const functionsDirOf = (set: FunctionSet): string =>
  fileURLToPath(new URL(`./misbehaving-functions/${set}/`, import.meta.url));

export interface DispatcherProcessOptions {
  readonly url: string;
  readonly functions: FunctionSet;
  /** Path of the history file. */
  readonly history: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface DispatcherProcess {
  readonly pid: number;
  /** Whether the process has ended, in any way. */
  readonly dead: boolean;
  /** Its log, with the reason of its death. */
  readonly stderr: string;
  /** Sends SIGKILL and waits until the process is gone. */
  kill(): Promise<void>;
  /** Sends SIGTERM. Resolves with the exit status when the process has drained and ended. */
  terminate(): Promise<number | null>;
  /** Sends SIGSTOP; thaw() sends SIGCONT. */
  freeze(): void;
  thaw(): void;
  /** Waits for a line of the log. */
  logged(pattern: RegExp): Promise<void>;
}

/** Starts a dispatcher. Resolves when all lanes that nobody else owns are running. */
export async function startDispatcher(
  t: TestLike,
  options: DispatcherProcessOptions,
): Promise<DispatcherProcess> {
  const child = spawn(process.execPath, [SCRIPT, functionsDirOf(options.functions), PROTO_DIR], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      REDIS_URL: options.url,
      TEST_HISTORY: options.history,
      WORKERS: '2',
      LOG_LEVEL: 'info',
      MILLRACE_THREAD_HEAP_MB: '48',
      ...options.environment,
    },
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr
    .setEncoding('utf8')
    .on('data', (text: string) => (err = (err + text).slice(-1_000_000)));
  child.stdin.on('error', () => {});
  const gone = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let alive = true;
  void gone.then(() => (alive = false));
  const kill = async (): Promise<void> => {
    if (alive) child.kill('SIGKILL');
    await gone;
  };
  t.teardown(async () => {
    await kill();
    if (process.env['TEST_VERBOSE']) process.stderr.write(err);
  });
  await untilTold(
    outputOf(child.stdout),
    `the dispatcher is ready: ${options.functions}`,
    () => {
      if (!alive) throw new Error(`the dispatcher ended while it started: ${err}`);
      return out.includes('ready');
    },
    60_000,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; its log: ${err.slice(-3000)}`, { cause: error });
  });
  return {
    pid: child.pid as number,
    get dead() {
      return !alive;
    },
    get stderr() {
      return err;
    },
    kill,
    async terminate() {
      child.kill('SIGTERM');
      return (await gone)[0];
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async logged(pattern) {
      await untilTold(outputOf(child.stderr), `the dispatcher logs ${String(pattern)}`, () =>
        pattern.test(err),
      );
    },
  };
}

/** Opens a service in the test's own process, to publish with. */
export async function openService(
  t: TestLike,
  url: string,
  partitions: number,
  more: MillraceOptions['environment'] = {},
): Promise<Millrace> {
  const millrace = await connect({
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: partitions, ...more },
    protoDir: PROTO_DIR,
    logger: pino({ level: process.env['TEST_VERBOSE'] ? 'warn' : 'silent' }),
    name: 'test',
  });
  t.teardown(() => millrace.close());
  return millrace;
}

/** Creates a folder for a test's files. The folder is removed with the test. */
export function testDir(t: TestLike): string {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-run-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
