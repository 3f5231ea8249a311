/**
 * Runs the compiled `millrace` as users do: as a process of its own, in a project folder of its
 * own. Also runs commands in the test's own process, because a process costs 0.8 s of a core.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CommanderError } from 'commander';
import type { Redis } from 'ioredis';
import { buildProgram } from '../../src/cli/program.ts';
import { EXIT, UsageError } from '../../src/cli/exit-status.ts';
import { inContext } from '../../scripts/lab/cli-in-process.ts';
import { projectDir, type TestLike } from '../../scripts/lab/redis-server.ts';

export const CLI = join(projectDir, 'dist/src/cli/main.js');

export const NOTES_PROTO = `syntax = "proto3";
package test.v1;
import "millrace/v1/options.proto";
message NoteAdded {
  option (millrace.v1.event) = { type: "note.added", subject: "book", max_bytes: 4096 };
  string book = 1;
  int64 number = 2;
  string text = 3;
}
message NoteRemoved {
  option (millrace.v1.event) = { type: "note.removed", subject: "book" };
  string book = 1;
}
`;

export interface Result {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Result>;
  /**
   * Resolves with the match once the stream has it. Rejects if the process ends without a match.
   */
  seen(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray>;
}

export interface Project {
  readonly dir: string;
  /** Starts `millrace …`. */
  start(args: readonly string[], env?: NodeJS.ProcessEnv): Running;
  /** Runs `millrace …` to its end. */
  run(
    args: readonly string[],
    options?: { env?: NodeJS.ProcessEnv; stdin?: string | Buffer },
  ): Promise<Result>;
  /**
   * Runs a command in this process. The project's folder becomes the current one, until the test
   * ends. Takes no stdin and no signals, and has none of main.ts: `run` has.
   */
  here(
    args: readonly string[],
    env?: NodeJS.ProcessEnv,
  ): Promise<Pick<Result, 'status' | 'stdout' | 'stderr'>>;
  write(name: string, text: string | Buffer): string;
}

/** @param redisUrl undefined: the embedded server of the folder */
export function createProject(
  t: TestLike,
  redisUrl: string | undefined,
  files: Readonly<Record<string, string>> = { 'proto/notes.proto': NOTES_PROTO },
): Project {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-cli-'));
  const children = new Set<Running>();
  t.teardown(async () => {
    for (const { child } of children) child.kill('SIGKILL');
    await Promise.all([...children].map(({ ended }) => ended));
    if (process.cwd() === realpathSync(dir)) process.chdir(projectDir);
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  });
  const write = (name: string, text: string | Buffer): string => {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  linkPackage(dir);
  const settings = {
    ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    WORKERS: '1',
    MILLRACE_PARTITIONS: '4',
  };

  const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Running => {
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(
        ([name]) => !/^(MILLRACE_|REDIS_URL|WORKERS|LOG_LEVEL|NODE_OPTIONS|TAP)/.test(name),
      ),
    );
    const child = spawn(process.execPath, [CLI, ...args], {
      cwd: dir,
      env: {
        ...clean,
        ...settings,
        ...env,
      },
    });
    const text = { stdout: '', stderr: '' };
    const watchers = new Set<() => void>();
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        text[name] += chunk;
        for (const look of watchers) look();
      });
    }
    // A child that ends early closes its stdin. The test sees this in its status.
    child.stdin.on('error', () => {});
    let over = false;
    const ended = new Promise<Result>((resolve) => {
      child.once('close', (status, signal) => {
        over = true;
        children.delete(running);
        resolve({ status, signal, ...text });
        for (const look of watchers) look();
      });
    });
    const running: Running = {
      child,
      ended,
      seen: (stream, pattern) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            const match = pattern.exec(text[stream]);
            if (match) resolve(match);
            else if (over)
              reject(
                new Error(`ended without ${pattern} on ${stream}:\n${text.stdout}\n${text.stderr}`),
              );
            else return;
            watchers.delete(look);
          };
          watchers.add(look);
          look();
        }),
    };
    children.add(running);
    return running;
  };
  return {
    dir,
    start,
    write,
    run(args, options = {}) {
      const { child, ended } = start(args, options.env);
      child.stdin.end(options.stdin ?? '');
      return ended;
    },
    async here(args, env = {}) {
      process.chdir(dir);
      const { out, err, error, failed } = await inContext(
        (context) => buildProgram(context, args[0]),
        { ...settings, ...env } as Record<string, string>,
        join(dir, 'proto'),
        args,
      );
      const told = error instanceof Error && !(error instanceof CommanderError);
      return {
        status: statusOf(error, failed),
        stdout: out,
        stderr: told ? `${err}millrace: ${error.message}\n` : err,
      };
    },
  };
}

/** As main.ts has it. */
function statusOf(error: unknown, failed: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError) return EXIT.usage;
  return error !== null || failed ? EXIT.failed : EXIT.ok;
}

/** Links the package, as `npm install` would. */
export function linkPackage(dir: string): void {
  mkdirSync(join(dir, 'node_modules'), { recursive: true });
  symlinkSync(projectDir, join(dir, 'node_modules/millrace'));
}

export function parseLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Sum of a counter over the partitions. */
export async function counter(client: Redis, field: string, partitions = 4): Promise<number> {
  let sum = 0;
  for (let p = 0; p < partitions; p++)
    sum += Number((await client.hget(`mr:{${p}}:counters`, field)) ?? 0);
  return sum;
}
