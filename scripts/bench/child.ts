/**
 * A part of the benchmark in a process of its own. The process gets one argument (JSON) and answers
 * over IPC: `ready` once, then one `result` or `error`. After `ready` it waits for `go`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

type Message =
  | { readonly kind: 'ready' }
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'error'; readonly message: string };

/**
 * Returns the time of a wall clock that several processes of one machine share, ms with fractions.
 */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}

export class Child<Result> {
  readonly ready: Promise<void>;
  readonly result: Promise<Result>;
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;

  /** @param file name of the compiled module beside this one */
  constructor(file: string, argument: unknown, cpuProfileDir: string | null = null) {
    const execArgv =
      cpuProfileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${cpuProfileDir}`];
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(argument)], {
      execArgv,
    });
    this.#process = child;
    this.#ended = new Promise((resolve) => child.once('exit', () => resolve()));
    let ready: () => void = () => {};
    let readyFailed: (error: Error) => void = () => {};
    this.ready = new Promise((resolve, reject) => {
      ready = resolve;
      readyFailed = reject;
    });
    this.ready.catch(() => {}); // `result` rejects with the same error
    this.result = new Promise<Result>((resolve, reject) => {
      const failed = (error: Error): void => {
        readyFailed(error);
        reject(error);
      };
      child.on('message', (message: Message) => {
        if (message.kind === 'ready') ready();
        else if (message.kind === 'result') resolve(message.value as Result);
        else failed(new Error(`${file}: ${message.message}`));
      });
      child.once('error', failed);
      child.once('exit', (code, signal) =>
        failed(new Error(`${file} ended before its result (${signal ?? `exit code ${code}`})`)),
      );
    });
    this.result.catch(() => {});
  }

  /** Process id; null before the process runs. */
  get pid(): number | null {
    return this.#process.pid ?? null;
  }

  go(): void {
    this.#process.send('go');
  }

  /** Resolves when the process is gone: by itself, or by SIGKILL after `graceMs`. */
  async end(graceMs = 5000): Promise<void> {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), graceMs);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** Runs the process's side. `ready()` resolves at `go`. */
export async function childMain<Argument, Result>(
  work: (argument: Argument, ready: () => Promise<void>) => Promise<Result>,
): Promise<void> {
  const send = (message: Message) =>
    new Promise<void>((resolve) => process.send?.(message, () => resolve()));
  const gone = new Promise<void>((resolve) => process.once('message', () => resolve()));
  // The parent died, so nobody wants the result.
  process.once('disconnect', () => process.exit(1));
  try {
    const value = await work(JSON.parse(process.argv[2] ?? '{}') as Argument, async () => {
      await send({ kind: 'ready' });
      await gone;
    });
    await send({ kind: 'result', value });
    process.removeAllListeners('disconnect');
    process.disconnect();
  } catch (error) {
    await send({
      kind: 'error',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    process.exit(1);
  }
}

/** Returns the CPU time of this process, all threads, s. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
