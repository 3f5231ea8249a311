/**
 * A dispatcher process that a test or fault can kill, stop and continue. The process prints `ready
 * <its name in leases>` on stdout, and ends when its stdin ends.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ChildOptions {
  /** Path of the compiled script. */
  readonly script: string;
  readonly args: readonly string[];
  readonly execArgv?: readonly string[];
  /** Default: this process's environment. */
  readonly env?: NodeJS.ProcessEnv;
}

const LOG_KEPT = 200_000;

export class Child {
  /** Resolves with the exit status, null after a signal. */
  readonly gone: Promise<number | null>;
  /** Resolves when the process is ready or has ended. */
  readonly started: Promise<void>;
  readonly #process: ChildProcess;
  #alive = true;
  #id = '';
  #log = '';

  constructor({ script, args, execArgv = [], env }: ChildOptions) {
    const child = spawn(process.execPath, [...execArgv, script, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(env ? { env } : {}),
    });
    this.#process = child;
    child.stdin.on('error', () => {});
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (this.#log = (this.#log + text).slice(-LOG_KEPT)));
    this.gone = new Promise((resolve) => {
      child.once('error', (error) => (this.#log += error.message));
      child.once('close', (code) => {
        this.#alive = false;
        resolve(code);
      });
    });
    let out = '';
    const ready = new Promise<void>((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out = (out + text).slice(-1000);
        const id = /ready (\S+)\n/.exec(out)?.[1];
        if (id === undefined) return;
        this.#id = id;
        resolve();
      });
    });
    this.started = Promise.race([ready, this.gone.then(() => undefined)]);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }
  get alive(): boolean {
    return this.#alive;
  }
  /** The end of its stderr, at most 200,000 characters. */
  get log(): string {
    return this.#log;
  }
  /** Name of the process in leases; '' before it is ready. */
  get id(): string {
    return this.#id;
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.gone;
  }
  /** Sends SIGTERM. Resolves with the exit status when the process has drained. */
  terminate(): Promise<number | null> {
    this.#process.kill('SIGTERM');
    return this.gone;
  }
  freeze(): void {
    this.#process.kill('SIGSTOP');
  }
  thaw(): void {
    this.#process.kill('SIGCONT');
  }

  /** Highest memory so far, MB; 0 where /proc does not tell. */
  peakRssMb(): number {
    try {
      return (
        Number(
          /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0,
        ) / 1024
      );
    } catch {
      return 0;
    }
  }
}
