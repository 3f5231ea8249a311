/**
 * The pool of threads, over Piscina: one task a thread at a time (when a thread dies, everything in it dies), atomics
 * disabled (with the default, a thread's own sockets and timers stand still between tasks), and a watch that takes the
 * thread from a handler that has not settled `timeoutMs` plus one second after its start.
 */
import { BroadcastChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type {
  BatchesTask, BatchReport, BatchTask, ChannelMessage, DescribeTask, FileDescription, FunctionFileData, SchemaAnswer, SchemaKey, SetupFailed, ThreadData, UncaughtError,
} from '../../core/batch-task.ts';
import { monotonicMs } from '../../core/clock.ts';
import { ConfigError } from '../../core/errors.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';
import type { PackedTask } from '../batch/batch.ts';

/** After the signal, a handler has this long to settle before its thread is taken. */
export const TIMEOUT_GRACE_MS = 1000;
const WATCH_MS = 100;
/** A watch that comes later than this was stopped, with the handlers (SIGSTOP, a suspended machine) or without them: that time is charged to nobody. */
const STOOD_STILL_MS = 1000;

export type RunResult =
  | BatchReport
  | SetupFailed
  /**
   * The thread died. `timeout`: we took it. `alive`: its timers still ran, so only the handlers over time are to blame.
   * `stoodStillMs`: how much longer than usual they had, because the process had stood still.
   */
  | { readonly kind: 'death'; readonly cause: string; readonly timeout: boolean; readonly alive: boolean; readonly stoodStillMs: number };

export interface WorkerPoolOptions {
  /** URL of the compiled thread entry. */
  readonly entry: URL;
  readonly threads: number;
  readonly data: ThreadData;
  /** process.env of the threads. */
  readonly env: NodeJS.ProcessEnv;
  /** Old-generation heap limit of a thread in MB, null for Node's default. */
  readonly heapMb: number | null;
  /** Answers a thread's question about a writer's schema. Default: nothing is known. Must not reject. */
  readonly answer?: (key: SchemaKey) => Promise<SchemaAnswer>;
  /** Told why a thread has ended by itself, where it could say so. */
  readonly uncaught?: (error: UncaughtError) => void;
}

/** Batches of this many events, or expected to take this long, go alone. */
const GROUP_EVENTS = 1024;
const GROUP_MS = 20;
/** A thread is not woken for less than this, when another one is woken anyway. */
const WAKE_MS = 0.5;

export interface RunLimits {
  readonly timeoutMs: number;
  /** Never together with others: after a death, so that the culprit takes nobody along. Default false. */
  readonly alone?: boolean;
  /** Threads the function may have at once. Default: all. */
  readonly mostThreads?: number;
}

/** A batch that has no thread yet. */
interface Waiting {
  readonly packed: PackedTask;
  /** Threads its function may have at once. */
  readonly mostThreads: number;
  readonly timeoutMs: number;
  readonly cancel: AbortSignal | undefined;
  readonly alone: boolean;
  readonly resolve: (result: RunResult) => void;
}

interface Watched {
  readonly cells: ProgressCells;
  readonly timeoutMs: number;
  readonly abort: AbortController;
  readonly events: number;
  alive: boolean;
  stoodStillMs: number;
}

export class WorkerPool {
  readonly #piscina: Piscina;
  readonly #files: readonly FunctionFileData[];
  readonly #channel: BroadcastChannel;
  readonly #watched = new Set<Watched>();
  readonly #watch: NodeJS.Timeout;
  readonly #queue: Waiting[] = [];
  /** Running mean per function, to know what is small. */
  readonly #msPerEvent = new Map<string, number>();
  readonly #threads: number;
  /** Threads each function has now. */
  readonly #threadsOf = new Map<string, number>();
  #busy = 0;
  #closed = false;
  #tornDown: () => void = () => undefined;
  #pumping = false;
  #deaths = 0;
  #lookedMs = monotonicMs();

  constructor(options: WorkerPoolOptions) {
    this.#threads = options.threads;
    this.#files = options.data.files;
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
    this.#channel.onmessage = (event: unknown) => {
      const message = (event as { data: ChannelMessage }).data;
      if (message === 'torn-down') this.#tornDown();
      else if (typeof message === 'object' && message.kind === 'uncaught') options.uncaught?.(message.uncaught);
      else if (typeof message === 'object' && message.kind === 'schema?') void this.#reply(message.key, options.answer);
    };
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
  /** Batches that wait for a thread. */
  get queued(): number {
    return this.#queue.length;
  }

  /**
   * Has one thread load the function files: what they define, and what is wrong with them.
   * @param loadMs a file that takes longer counts as one that never ends loading
   * @throws ConfigError when they cannot be loaded together, though each of them can
   */
  async describe(loadMs: number): Promise<readonly FileDescription[]> {
    try {
      return await this.#describe({ kind: 'describe' }, loadMs);
    } catch (error) {
      // One of them ends its thread or never ends loading: it is found by loading each by itself.
      const found: FileDescription[] = [];
      for (const { source, version } of this.#files) {
        try {
          found.push(...(await this.#describe({ kind: 'describe', only: source }, loadMs)));
        } catch (alone) {
          found.push({ source, version, spec: null, problem: describeLoading(alone, loadMs) });
        }
      }
      if (found.every(({ problem }) => problem === null)) throw new ConfigError([`the function files, loaded together: ${describeLoading(error, loadMs)}`]);
      return found;
    }
  }

  #describe(task: DescribeTask, loadMs: number): Promise<FileDescription[]> {
    return this.#piscina.run(task, { signal: AbortSignal.timeout(loadMs) }) as Promise<FileDescription[]>;
  }

  /**
   * Never rejects: a dead thread is an answer.
   *
   * Small batches of one function that wait at the same moment travel in one message and run one after the other: waking a
   * thread costs more than running a dozen events. When the thread dies, each batch is answered by its own cells.
   *
   */
  run(packed: PackedTask, limits: RunLimits, cancel?: AbortSignal): Promise<RunResult> {
    return new Promise((resolve) => {
      const { timeoutMs, alone = false, mostThreads = Infinity } = limits;
      this.#queue.push({ packed, timeoutMs, cancel, alone, mostThreads, resolve });
      if (this.#pumping) return;
      this.#pumping = true;
      // After all replies of one read have been looked at.
      setImmediate(() => {
        this.#pumping = false;
        this.#pump();
      });
    });
  }

  #pump(): void {
    while (this.#busy < this.#threads) {
      const next = this.#queue.findIndex(({ packed, mostThreads }) => (this.#threadsOf.get(packed.task.fn) ?? 0) < mostThreads);
      if (next < 0) return;
      const share = Math.ceil(this.#queue.length / (this.#threads - this.#busy));
      const first = this.#queue.splice(next, 1)[0] as Waiting;
      const group = [first];
      const { fn } = first.packed.task;
      const msPerEvent = this.#msPerEvent.get(fn) ?? 1;
      const most = Math.min(GROUP_EVENTS, GROUP_MS / msPerEvent);
      let events = first.packed.task.events;
      for (let i = 0; i < this.#queue.length && (group.length < share || events * msPerEvent < WAKE_MS) && !first.alone; ) {
        const next = this.#queue[i] as Waiting;
        if (next.alone || next.packed.task.fn !== fn || events + next.packed.task.events > most) {
          i++;
          continue;
        }
        events += next.packed.task.events;
        group.push(next);
        this.#queue.splice(i, 1);
      }
      void this.#runGroup(group, events);
    }
  }

  async #runGroup(group: readonly Waiting[], events: number): Promise<void> {
    const { fn } = (group[0] as Waiting).packed.task;
    this.#busy++;
    this.#threadsOf.set(fn, (this.#threadsOf.get(fn) ?? 0) + 1);
    const abort = new AbortController();
    const cancelled = () => abort.abort('stopping');
    const { cancel } = group[0] as Waiting;
    if (cancel?.aborted) cancelled();
    cancel?.addEventListener('abort', cancelled, { once: true });
    const watched = group.map(
      ({ packed, timeoutMs }): Watched => ({ cells: packed.cells, timeoutMs, abort, events: packed.task.events, alive: true, stoodStillMs: 0 }),
    );
    for (const one of watched) this.#watched.add(one);
    let deaths: ((one: Watched) => RunResult) | null = null;
    let reports: readonly (BatchReport | SetupFailed)[] = [];
    try {
      const tasks: readonly BatchTask[] = group.map(({ packed }) => packed.task);
      reports = (await this.#piscina.run({ kind: 'batches', tasks } satisfies BatchesTask, {
        transferList: tasks.map((task) => task.buffer),
        signal: abort.signal,
      })) as (BatchReport | SetupFailed)[];
      let busyMs = 0;
      for (const report of reports) busyMs += report.kind === 'report' ? report.busyMs : GROUP_MS;
      const perEvent = busyMs / events;
      const before = this.#msPerEvent.get(fn) ?? perEvent;
      this.#msPerEvent.set(fn, before + (perEvent - before) * 0.1);
    } catch (error) {
      this.#deaths++;
      const stopping = abort.signal.aborted && (abort.signal.reason as unknown) === 'stopping';
      deaths = ({ timeoutMs, alive, stoodStillMs }) =>
        stopping
          ? { kind: 'death', cause: 'stopped', timeout: false, alive: true, stoodStillMs }
          : abort.signal.aborted
            ? { kind: 'death', cause: `not settled ${TIMEOUT_GRACE_MS} ms after its timeoutMs of ${timeoutMs}`, timeout: true, alive, stoodStillMs }
            : { kind: 'death', cause: describeDeath(error), timeout: false, alive: false, stoodStillMs };
    } finally {
      for (const one of watched) this.#watched.delete(one);
      cancel?.removeEventListener('abort', cancelled);
      this.#busy--;
      this.#threadsOf.set(fn, (this.#threadsOf.get(fn) as number) - 1);
    }
    group.forEach(({ resolve }, i) => resolve(deaths ? deaths(watched[i] as Watched) : (reports[i] as BatchReport | SetupFailed)));
    this.#pump();
  }

  #look(): void {
    const now = monotonicMs();
    const late = now - this.#lookedMs - WATCH_MS;
    this.#lookedMs = now;
    for (const watched of this.#watched) {
      const { starts, states } = watched.cells;
      if (late > STOOD_STILL_MS) watched.stoodStillMs += late;
      const limit = watched.timeoutMs + TIMEOUT_GRACE_MS + watched.stoodStillMs;
      for (let i = 0; i < watched.events; i++) {
        if (states[i] !== CELL.RUNNING || now - (starts[i] as number) < limit) continue;
        const signOfLife = starts[watched.cells.capacity] as number;
        watched.alive = now - signOfLife < TIMEOUT_GRACE_MS;
        watched.abort.abort('timeout');
        break;
      }
    }
  }

  async #reply(key: SchemaKey, find: WorkerPoolOptions['answer']): Promise<void> {
    const answer = (await find?.(key)) ?? null;
    // Closed meanwhile: nobody waits for it.
    if (!this.#closed) this.#channel.postMessage({ kind: 'schema', key, answer } satisfies ChannelMessage);
  }

  /** Runs every function's teardown() in every thread, then ends them. */
  async close(deadlineMs: number): Promise<void> {
    clearInterval(this.#watch);
    const expected = this.#piscina.threads.length;
    if (expected > 0 && deadlineMs > 0) {
      await new Promise<void>((resolve) => {
        let answers = 0;
        const timer = setTimeout(resolve, deadlineMs);
        this.#tornDown = () => {
          if (++answers < expected) return;
          clearTimeout(timer);
          resolve();
        };
        this.#channel.postMessage('teardown');
      });
    }
    this.#closed = true;
    this.#channel.close();
    await this.#piscina.destroy();
  }
}

function describeLoading(error: unknown, loadMs: number): string {
  return (error as { name?: unknown } | null)?.name === 'AbortError'
    ? `had not finished loading after ${loadMs} ms (MILLRACE_LOAD_MS): a loop, or a top-level await that nothing settles?`
    : `cannot be loaded: it ends its thread: ${describeDeath(error)}`;
}

function describeDeath(error: unknown): string {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'heap exhausted (ERR_WORKER_OUT_OF_MEMORY)';
  return typeof message === 'string' ? message.slice(0, 1000) : String(error).slice(0, 1000);
}
