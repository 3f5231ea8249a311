/**
 * The pool of threads, over Piscina: one task a thread at a time (when a thread dies, everything in it dies), atomics
 * disabled (with the default, a thread's own sockets and timers stand still between tasks), and a watch that takes the
 * thread from a handler that has not settled `timeoutMs` plus one second after its start.
 */
import { BroadcastChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { BatchReport, BatchTask, FileDescription, SetupFailed, ThreadData } from '../../core/batch-task.ts';
import { monotonicMs } from '../../core/clock.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';
import type { PackedTask } from '../batch/batch.ts';

/** After the signal, a handler has this long to settle before its thread is taken. */
export const TIMEOUT_GRACE_MS = 1000;
const WATCH_MS = 100;

export type RunResult =
  | BatchReport
  | SetupFailed
  /** The thread died. `timeout`: we took it. `alive`: its timers still ran, so only the handlers over time are to blame. */
  | { readonly kind: 'death'; readonly cause: string; readonly timeout: boolean; readonly alive: boolean };

export interface WorkerPoolOptions {
  /** URL of the compiled thread entry. */
  readonly entry: URL;
  readonly threads: number;
  readonly data: ThreadData;
  /** process.env of the threads. */
  readonly env: NodeJS.ProcessEnv;
  /** Old-generation heap limit of a thread in MB, null for Node's default. */
  readonly heapMb: number | null;
}

interface Watched {
  readonly cells: ProgressCells;
  readonly timeoutMs: number;
  readonly abort: AbortController;
  readonly events: number;
  alive: boolean;
}

export class WorkerPool {
  readonly #piscina: Piscina;
  readonly #channel: BroadcastChannel;
  readonly #watched = new Set<Watched>();
  readonly #watch: NodeJS.Timeout;
  #deaths = 0;

  constructor(options: WorkerPoolOptions) {
    this.#piscina = new Piscina({
      filename: options.entry.href,
      minThreads: options.threads,
      maxThreads: options.threads,
      idleTimeout: Infinity,
      concurrentTasksPerWorker: 1,
      atomics: 'disabled',
      recordTiming: false,
      workerData: options.data,
      env: options.env as Record<string, string>,
      ...(options.heapMb === null ? {} : { resourceLimits: { maxOldGenerationSizeMb: options.heapMb } }),
    });
    // A thread that dies between tasks is replaced; the error belongs to nobody's event.
    this.#piscina.on('error', () => this.#deaths++);
    this.#channel = new BroadcastChannel(options.data.channel);
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    this.#watch.unref();
  }

  get threads(): number {
    return this.#piscina.threads.length;
  }

  /** Threads lost since the start. */
  get deaths(): number {
    return this.#deaths;
  }

  /** Has one thread load the function files: what they define, and what is wrong with them. */
  describe(): Promise<FileDescription[]> {
    return this.#piscina.run({ kind: 'describe' }) as Promise<FileDescription[]>;
  }

  /** Never rejects: a dead thread is an answer. */
  async run(packed: PackedTask, timeoutMs: number, cancel?: AbortSignal): Promise<RunResult> {
    const abort = new AbortController();
    const watched: Watched = { cells: packed.cells, timeoutMs, abort, events: packed.task.events, alive: true };
    const cancelled = () => abort.abort('stopping');
    if (cancel?.aborted) cancelled();
    cancel?.addEventListener('abort', cancelled, { once: true });
    this.#watched.add(watched);
    const task: BatchTask = packed.task;
    try {
      return (await this.#piscina.run(task, { transferList: [task.buffer], signal: abort.signal })) as BatchReport | SetupFailed;
    } catch (error) {
      this.#deaths++;
      const reason = abort.signal.reason as unknown;
      if (abort.signal.aborted && reason === 'stopping') return { kind: 'death', cause: 'stopped', timeout: false, alive: true };
      if (abort.signal.aborted) {
        return { kind: 'death', cause: `not settled ${TIMEOUT_GRACE_MS} ms after its timeoutMs of ${timeoutMs}`, timeout: true, alive: watched.alive };
      }
      return { kind: 'death', cause: describeDeath(error), timeout: false, alive: false };
    } finally {
      this.#watched.delete(watched);
      cancel?.removeEventListener('abort', cancelled);
    }
  }

  #look(): void {
    const now = monotonicMs();
    for (const watched of this.#watched) {
      const { starts, states } = watched.cells;
      const limit = watched.timeoutMs + TIMEOUT_GRACE_MS;
      for (let i = 0; i < watched.events; i++) {
        if (states[i] !== CELL.RUNNING || now - (starts[i] as number) < limit) continue;
        const signOfLife = starts[watched.events] as number;
        watched.alive = now - signOfLife < TIMEOUT_GRACE_MS;
        watched.abort.abort('timeout');
        break;
      }
    }
  }

  /** Runs every function's teardown() in every thread, then ends them. */
  async close(deadlineMs: number): Promise<void> {
    clearInterval(this.#watch);
    const expected = this.#piscina.threads.length;
    if (expected > 0 && deadlineMs > 0) {
      await new Promise<void>((resolve) => {
        let answers = 0;
        const timer = setTimeout(resolve, deadlineMs);
        this.#channel.onmessage = (message: unknown) => {
          if ((message as { data: unknown }).data !== 'torn-down' || ++answers < expected) return;
          clearTimeout(timer);
          resolve();
        };
        this.#channel.postMessage('teardown');
      });
    }
    this.#channel.close();
    await this.#piscina.destroy();
  }
}

function describeDeath(error: unknown): string {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'heap exhausted (ERR_WORKER_OUT_OF_MEMORY)';
  return typeof message === 'string' ? message.slice(0, 1000) : String(error).slice(0, 1000);
}
