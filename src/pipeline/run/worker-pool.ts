/**
 * The pool of threads, over Piscina: one batch a thread at a time (when a thread dies, everything
 * in it dies), atomics disabled (with the default, a thread's own sockets and timers stand still
 * between tasks), and a watch that takes the thread from a handler that has not settled `timeoutMs`
 * plus one second after its start.
 *
 * A batch of which only slow handlers are left gives its thread back: the answer names them
 * (stragglers), and each is answered by itself. Piscina has a task of theirs in the thread all the
 * time, so that a dead thread answers for all that ran in it.
 */
import { BroadcastChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type {
  BatchesTask,
  BatchReport,
  BatchTask,
  ChannelMessage,
  CollectTask,
  DescribeTask,
  EventRef,
  FileDescription,
  FunctionFileData,
  LateReport,
  SchemaAnswer,
  SchemaKey,
  SetupFailed,
  ThreadData,
  UncaughtError,
} from '../../core/thread-protocol.ts';
import { monotonicMs } from '../../core/clock.ts';
import { ConfigError } from '../../core/errors.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { LocalSchema } from '../../core/schema-id.ts';
import { cut } from '../../core/well-formed.ts';
import type { PackedTask } from '../batch/batch.ts';
import {
  PoolThreads,
  type LoadBalancer,
  type Occupant,
  type PoolThread,
  type Watched,
} from './pool-threads.ts';

/** After the signal, a handler has this long to settle before its thread is taken. */
export const TIMEOUT_GRACE_MS = 1000;
const WATCH_MS = 100;
/**
 * A watch that comes later than this was stopped, with the handlers (SIGSTOP, a suspended machine)
 * or without them: that time is charged to nobody.
 */
const STOOD_STILL_MS = 1000;

/** The thread died. */
export interface ThreadDeath {
  readonly kind: 'death';
  readonly cause: string;
  /** We took it. */
  readonly timeout: boolean;
  /** Its timers still ran, so only the handlers over time are to blame. */
  readonly alive: boolean;
  /** How much longer than usual its handlers had, because the process had stood still. */
  readonly stoodStillMs: number;
  /** Handlers of other batches ran in it. */
  readonly shared?: boolean;
  /** Nothing else ran in it but one handler of this batch. */
  readonly sole?: boolean;
  /** It was taken, alive, because of handlers of other batches: this batch's are not to blame. */
  readonly innocent?: boolean;
}

/** A handler that still ran when its batch was reported. */
export interface Straggler {
  readonly ref: EventRef;
  /** Its own report. Never rejects. */
  readonly ended: Promise<BatchReport | ThreadDeath>;
}

export type RunResult =
  (BatchReport & { readonly stragglers?: readonly Straggler[] }) | SetupFailed | ThreadDeath;

export interface WorkerPoolOptions {
  /** URL of the compiled thread entry. */
  readonly entry: URL;
  readonly threads: number;
  readonly data: ThreadData;
  /** process.env of the threads. */
  readonly env: NodeJS.ProcessEnv;
  /** Old-generation heap limit of a thread in MB, null for Node's default. */
  readonly heapMb: number | null;
  /**
   * Answers a thread's question about a writer's schema. Default: nothing is known. Must not
   * reject.
   */
  readonly answer?: (key: SchemaKey) => Promise<SchemaAnswer>;
  /** Schemas that are not those of `data` any more; filled in place. Default: none. */
  readonly changedSchemas?: ReadonlyMap<string, LocalSchema>;
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
  /**
   * Never together with others: after a death, so that the culprit takes nobody along. Default
   * false.
   */
  readonly alone?: boolean;
  /** And in a thread in which no handler runs that another batch has left behind. Default false. */
  readonly solo?: boolean;
  /** Handlers of the function that run in one thread at the same time. Default: no bound here. */
  readonly concurrency?: number;
  /**
   * The function's `maxConcurrency`, and what a batch counts against it while it has its thread.
   * Default: no bound.
   */
  readonly most?: { readonly events: number; readonly perBatch: number };
  /** It may be answered while handlers of it still run. Default false. */
  readonly detach?: boolean;
  /** See BatchesTask. Default: no bound. */
  readonly turnMs?: number;
}

/** A batch that has no thread yet. */
interface Waiting {
  readonly packed: PackedTask;
  readonly limits: RunLimits;
  readonly cancel: AbortSignal | undefined;
  readonly resolve: (result: RunResult) => void;
}

/** Batches of a function that travel together. */
class Group implements Occupant {
  readonly id: number;
  readonly fn: string;
  readonly solo: boolean;
  readonly concurrency: number;
  readonly batches: readonly Waiting[];
  /** By batch. */
  readonly byBatch: readonly Watched[];
  readonly watched: Set<Watched>;
  readonly abort = new AbortController();
  /** Null: it waits for one. */
  thread: PoolThread | null = null;
  /** Stragglers, by `<batch>/<event>`. */
  readonly stragglers = new Map<string, (ended: BatchReport | ThreadDeath) => void>();

  constructor(id: number, batches: readonly Waiting[]) {
    const { packed, limits } = batches[0] as Waiting;
    this.id = id;
    this.batches = batches;
    this.fn = packed.task.fn;
    this.solo = limits.solo ?? false;
    this.concurrency = limits.concurrency ?? Infinity;
    this.byBatch = batches.map((one) => ({
      cells: one.packed.cells,
      timeoutMs: one.limits.timeoutMs,
      events: one.packed.task.events,
      stoodStillMs: 0,
    }));
    this.watched = new Set(this.byBatch);
  }

  get left(): number {
    return this.stragglers.size;
  }
}

export class WorkerPool {
  readonly #piscina: Piscina;
  readonly #files: readonly FunctionFileData[];
  readonly #channel: BroadcastChannel;
  readonly #changedSchemas: ReadonlyMap<string, LocalSchema>;
  readonly #groups = new Set<Group>();
  #groupCount = 0;
  readonly #watch: NodeJS.Timeout;
  readonly #queue: Waiting[] = [];
  /** Running mean per function, to know what is small. */
  readonly #msPerEvent = new Map<string, number>();
  readonly #threads: number;
  readonly #books: PoolThreads;
  /** Batches each function has in threads now, without those that have left handlers behind. */
  readonly #activeOf = new Map<string, number>();
  #busy = 0;
  #closed = false;
  #tornDown: () => void = () => undefined;
  #pumping = false;
  #deaths = 0;
  #lookedMs = monotonicMs();

  constructor(options: WorkerPoolOptions) {
    this.#threads = options.threads;
    this.#books = new PoolThreads(options.threads);
    this.#files = options.data.files;
    this.#changedSchemas = options.changedSchemas ?? new Map<string, never>();
    this.#piscina = new Piscina({
      filename: options.entry.href,
      minThreads: options.threads,
      maxThreads: options.threads,
      idleTimeout: Infinity,
      loadBalancer: this.#balance,
      atomics: 'disabled',
      recordTiming: false,
      workerData: options.data,
      env: options.env as Record<string, string>,
      ...(options.heapMb === null
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: options.heapMb } }),
    });
    // A thread that dies between tasks is replaced; the error belongs to nobody's event.
    this.#piscina.on('error', () => this.#deaths++);
    this.#channel = new BroadcastChannel(options.data.channel);
    this.#channel.onmessage = (event: unknown) => {
      const message = (event as { data: ChannelMessage }).data;
      if (message === 'torn-down') this.#tornDown();
      else if (typeof message === 'object' && message.kind === 'uncaught')
        options.uncaught?.(message.uncaught);
      else if (typeof message === 'object' && message.kind === 'schema?')
        void this.#reply(message.key, options.answer);
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
      if (found.every(({ problem }) => problem === null))
        throw new ConfigError([
          `the function files, loaded together: ${describeLoading(error, loadMs)}`,
        ]);
      return found;
    }
  }

  #describe(task: DescribeTask, loadMs: number): Promise<FileDescription[]> {
    return this.#piscina.run(task, { signal: AbortSignal.timeout(loadMs) }) as Promise<
      FileDescription[]
    >;
  }

  /**
   * Never rejects: a dead thread is an answer.
   *
   * Small batches of one function that wait at the same moment travel in one message and run one
   * after the other: waking a thread costs more than running a dozen events. When the thread dies,
   * each batch is answered by its own cells.
   *
   */
  run(packed: PackedTask, limits: RunLimits, cancel?: AbortSignal): Promise<RunResult> {
    return new Promise((resolve) => {
      this.#queue.push({ packed, limits, cancel, resolve });
      this.#pumpSoon();
    });
  }

  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    // After all replies of one read have been looked at.
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#busy < this.#threads) {
      const next = this.#queue.findIndex((one) => this.#mayRun(one));
      if (next < 0) break;
      const share = Math.ceil(this.#queue.length / (this.#threads - this.#busy));
      const first = this.#queue.splice(next, 1)[0] as Waiting;
      const group = [first];
      const { fn } = first.packed.task;
      const msPerEvent = this.#msPerEvent.get(fn) ?? 1;
      const most = Math.min(GROUP_EVENTS, GROUP_MS / msPerEvent);
      let events = first.packed.task.events;
      for (
        let i = 0;
        i < this.#queue.length &&
        (group.length < share || events * msPerEvent < WAKE_MS) &&
        !first.limits.alone;
      ) {
        const next = this.#queue[i] as Waiting;
        if (
          next.limits.alone ||
          next.packed.task.fn !== fn ||
          events + next.packed.task.events > most
        ) {
          i++;
          continue;
        }
        events += next.packed.task.events;
        group.push(next);
        this.#queue.splice(i, 1);
      }
      void this.#runGroup(new Group(this.#groupCount++, group), events);
    }
    this.#books.empty(this.#queue.some(({ limits }) => limits.solo));
  }

  #mayRun({ packed, limits }: Waiting): boolean {
    const { fn } = packed.task;
    if (this.#grant(fn, limits) < 1) return false;
    return this.#books.hasRoom({
      fn,
      solo: limits.solo ?? false,
      concurrency: limits.concurrency ?? Infinity,
    });
  }

  /** How many events of a batch may run at the same time; below 1: it waits. */
  #grant(fn: string, { most }: RunLimits): number {
    if (!most) return Infinity;
    let left = 0;
    for (const group of this.#groups) if (group.fn === fn) left += group.left;
    const rest = most.events - (this.#activeOf.get(fn) ?? 0) * most.perBatch - left;
    // Half a batch's share is taken only where it is handlers left behind that have the other half.
    return rest >= most.perBatch ? most.perBatch : left > 0 ? rest : 0;
  }

  /** Piscina asks it where a task is to run: the group that has sent it knows. */
  readonly #balance: LoadBalancer = (task, workers) => {
    // The symbol's type is not that of a key, in Piscina's declarations.
    const group = (task as unknown as Readonly<Record<symbol, unknown>>)[
      Piscina.queueOptionsSymbol
    ];
    if (!(group instanceof Group))
      return workers.find(({ currentUsage }) => currentUsage === 0) ?? null;
    if (group.thread) return workers.find(({ id }) => id === group.thread?.id) ?? null;
    const thread = this.#books.choose(workers, group);
    if (!thread) return null;
    thread.active = group;
    thread.occupants.add(group);
    group.thread = thread;
    return workers.find(({ id }) => id === thread.id) ?? null;
  };

  /** To the group's thread. */
  #send<T>(
    group: Group,
    task: BatchesTask | CollectTask,
    transferList: ArrayBuffer[] = [],
  ): Promise<T> {
    return this.#piscina.run(
      { ...task, [Piscina.queueOptionsSymbol]: group },
      { transferList, signal: group.abort.signal },
    ) as Promise<T>;
  }

  async #runGroup(group: Group, events: number): Promise<void> {
    const { fn, batches, abort } = group;
    const { limits, cancel } = batches[0] as Waiting;
    const concurrency = this.#grant(fn, limits);
    this.#busy++;
    this.#activeOf.set(fn, (this.#activeOf.get(fn) ?? 0) + 1);
    this.#groups.add(group);
    const cancelled = () => abort.abort('stopping');
    if (cancel?.aborted) cancelled();
    cancel?.addEventListener('abort', cancelled, { once: true });
    let failed: { readonly error: unknown } | null = null;
    let reports: readonly (BatchReport | SetupFailed)[] = [];
    try {
      const tasks: readonly BatchTask[] = batches.map(({ packed }) => packed.task);
      const task: BatchesTask = {
        kind: 'batches',
        group: group.id,
        tasks,
        concurrency,
        detach: limits.detach ?? false,
        turnMs: limits.turnMs ?? Infinity,
        schemas: this.#changedSchemas.size > 0 ? this.#changedSchemas : null,
      };
      reports = await this.#send(
        group,
        task,
        tasks.map(({ buffer }) => buffer),
      );
      this.#measure(fn, reports, events);
    } catch (error) {
      failed = { error };
    }
    this.#busy--;
    this.#activeOf.set(fn, (this.#activeOf.get(fn) as number) - 1);
    if (group.thread) group.thread.active = null;
    if (failed) this.#died(group, failed.error);
    else
      batches.forEach(({ resolve }, i) =>
        resolve(this.#reported(group, i, reports[i] as BatchReport | SetupFailed)),
      );
    this.#pump();
    // Not awaited in between: as long as something of it runs, Piscina has a task of it.
    if (group.left > 0) await this.#collect(group);
    this.#leave(group);
    cancel?.removeEventListener('abort', cancelled);
  }

  #measure(fn: string, reports: readonly (BatchReport | SetupFailed)[], events: number): void {
    let busyMs = 0;
    for (const report of reports) busyMs += report.kind === 'report' ? report.busyMs : GROUP_MS;
    const perEvent = busyMs / events;
    const before = this.#msPerEvent.get(fn) ?? perEvent;
    this.#msPerEvent.set(fn, before + (perEvent - before) * 0.1);
  }

  /** Nothing of it runs any more. */
  #leave(group: Group): void {
    this.#groups.delete(group);
    group.watched.clear();
    const { thread } = group;
    if (!thread) return;
    thread.occupants.delete(group);
    if (thread.worker.destroyed) this.#books.forget(thread);
    if (thread.occupants.size === 0) this.#pumpSoon();
  }

  #reported(group: Group, batch: number, report: BatchReport | SetupFailed): RunResult {
    if (report.kind !== 'report' || !report.running) {
      group.watched.delete(group.byBatch[batch] as Watched);
      return report;
    }
    const stragglers = report.running.map((ref): Straggler => ({
      ref,
      ended: new Promise((resolve) => group.stragglers.set(`${batch}/${ref.index}`, resolve)),
    }));
    return { ...report, stragglers };
  }

  /** Until none of its handlers runs any more. */
  async #collect(group: Group): Promise<void> {
    try {
      while (group.left > 0) {
        if (group.thread?.worker.destroyed) throw new Error('the thread has ended');
        const late = await this.#send<readonly LateReport[]>(group, {
          kind: 'collect',
          group: group.id,
        });
        if (late.length === 0)
          throw new Error('the thread knows nothing of handlers that ran in it');
        for (const { batch, index, report } of late) {
          const at = `${batch}/${index}`;
          group.stragglers.get(at)?.(report);
          group.stragglers.delete(at);
        }
        this.#pumpSoon();
      }
    } catch (error) {
      this.#died(group, error);
    }
  }

  /** Answers for all of it that has not been answered. */
  #died(group: Group, error: unknown): void {
    const { thread, batches, byBatch, stragglers } = group;
    if (!thread?.counted) this.#deaths++;
    if (thread) thread.counted = true;
    const late = new Map(stragglers);
    stragglers.clear();
    for (const [at, resolve] of late)
      resolve(
        this.#deathOf(group, byBatch[Number(at.slice(0, at.indexOf('/')))] as Watched, error),
      );
    if (late.size === 0)
      batches.forEach(({ resolve }, i) =>
        resolve(this.#deathOf(group, byBatch[i] as Watched, error)),
      );
  }

  #deathOf({ thread, abort, batches }: Group, own: Watched, error: unknown): ThreadDeath {
    const death = {
      kind: 'death',
      stoodStillMs: own.stoodStillMs,
      shared: false,
      innocent: false,
    } as const;
    if (batches[0]?.cancel?.aborted)
      return { ...death, cause: 'stopped', timeout: false, alive: true };
    if (thread === null)
      return { ...death, cause: describeDeath(error), timeout: abort.signal.aborted, alive: false };
    const { running, late } = thread.autopsy(TIMEOUT_GRACE_MS);
    let [others, othersLate] = [0, 0];
    for (const [one, count] of running) if (one !== own) others += count;
    for (const [one, count] of late) if (one !== own) othersLate += count;
    const { overrun } = thread;
    const alive = overrun?.alive ?? false;
    return {
      ...death,
      alive,
      timeout: overrun !== null,
      shared: others > 0,
      sole: others === 0 && running.get(own) === 1,
      innocent: alive && othersLate > 0 && (late.get(own) ?? 0) === 0,
      cause: overrun
        ? `not settled ${TIMEOUT_GRACE_MS} ms after its timeoutMs of ${overrun.of.timeoutMs}`
        : describeDeath(error),
    };
  }

  #look(): void {
    const now = monotonicMs();
    const late = now - this.#lookedMs - WATCH_MS;
    this.#lookedMs = now;
    for (const group of this.#groups) {
      for (const watched of group.watched) {
        const { starts, states, capacity } = watched.cells;
        if (late > STOOD_STILL_MS) watched.stoodStillMs += late;
        const limit = watched.timeoutMs + TIMEOUT_GRACE_MS + watched.stoodStillMs;
        for (let i = 0; i < watched.events; i++) {
          if (states[i] !== CELL.RUNNING || now - (starts[i] as number) < limit) continue;
          if (group.thread)
            group.thread.overrun ??= {
              of: watched,
              alive: now - (starts[capacity] as number) < TIMEOUT_GRACE_MS,
            };
          group.abort.abort('timeout');
          break;
        }
      }
    }
  }

  async #reply(key: SchemaKey, find: WorkerPoolOptions['answer']): Promise<void> {
    const answer = (await find?.(key)) ?? null;
    // Closed meanwhile: nobody waits for it.
    if (!this.#closed)
      this.#channel.postMessage({ kind: 'schema', key, answer } satisfies ChannelMessage);
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
  // What user code threw comes as a clone: plain data, but of any kind.
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'heap exhausted (ERR_WORKER_OUT_OF_MEMORY)';
  if (typeof message === 'string') return cut(message, 1000);
  return cut(
    typeof error === 'object' && error !== null
      ? Object.prototype.toString.call(error)
      : String(error),
    1000,
  );
}
