/**
 * The pool of threads, over Piscina.
 *
 * A thread has one batch at a time: when a thread dies, everything in it dies. Piscina's atomics
 * are disabled: with them a thread's own sockets and timers stand still between tasks. A watch
 * takes the thread from a handler that has not settled in time (handler-watch.ts).
 *
 * A batch of which only slow handlers are left gives its thread back. Its answer names them as
 * stragglers, and each is answered by itself. Meanwhile Piscina always has a task of theirs in the
 * thread, so that a dead thread answers for everything that ran in it.
 */
import { Piscina } from 'piscina';
import type {
  BatchesTask,
  BatchAnswer,
  CollectTask,
  DescribeTask,
  FileDescription,
  FunctionFileData,
  LateReport,
  ThreadData,
} from '../../core/thread-protocol.ts';
import type { LocalSchema } from '../../core/schema-id.ts';
import { packBatches, type PreparedBatch } from '../batch/batch.ts';
import { BatchGroup, type WaitingBatch } from './batch-group.ts';
import { BatchQueue } from './batch-queue.ts';
import { describeFiles } from './describe-files.ts';
import { HandlerWatch } from './handler-watch.ts';
import { PoolChannel, type ChannelParts } from './pool-channel.ts';
import { PoolThreads, type LoadBalancer } from './pool-threads.ts';
import { RunningGroups } from './running-groups.ts';
import type { RunLimits, RunResult } from './thread-run.ts';

export interface WorkerPoolOptions extends ChannelParts {
  /** URL of the compiled thread entry. */
  readonly entry: URL;
  readonly threads: number;
  readonly data: ThreadData;
  /** process.env of the threads. */
  readonly env: NodeJS.ProcessEnv;
  /** Old-generation heap limit of a thread in MB, null for Node's default. */
  readonly heapMb: number | null;
  /** Schemas that differ from those of `data` by now; filled in place. */
  readonly changedSchemas: ReadonlyMap<string, LocalSchema>;
}

export class WorkerPool {
  readonly #piscina: Piscina;
  readonly #files: readonly FunctionFileData[];
  readonly #channel: PoolChannel;
  readonly #threads: PoolThreads;
  readonly #threadCount: number;
  readonly #changedSchemas: ReadonlyMap<string, LocalSchema>;
  readonly #queue = new BatchQueue();
  readonly #groups = new RunningGroups();
  readonly #watch = new HandlerWatch(this.#groups, (group) => this.#rescue(group));
  #groupCount = 0;
  #pumping = false;
  #deaths = 0;

  constructor(options: WorkerPoolOptions) {
    const { data, threads } = options;
    this.#threadCount = threads;
    this.#threads = new PoolThreads(threads);
    this.#files = data.files;
    this.#changedSchemas = options.changedSchemas;
    this.#channel = new PoolChannel(data.channel, options);
    this.#piscina = new Piscina({
      filename: options.entry.href,
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Infinity,
      loadBalancer: this.#balance,
      atomics: 'disabled',
      recordTiming: false,
      workerData: data,
      env: options.env as Record<string, string>,
      ...(options.heapMb === null
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: options.heapMb } }),
    });
    // A thread that dies between tasks is replaced; the error belongs to nobody's event.
    this.#piscina.on('error', () => this.#deaths++);
  }

  get threads(): number {
    return this.#piscina.threads.length;
  }

  /** Threads that have a batch. */
  get busy(): number {
    return this.#groups.busy;
  }

  /** Threads lost since the start. */
  get deaths(): number {
    return this.#deaths;
  }

  /** Batches that wait for a thread. */
  get queued(): number {
    return this.#queue.length;
  }

  /** See describeFiles. */
  describe(loadMs: number): Promise<readonly FileDescription[]> {
    const run = (task: DescribeTask, signal: AbortSignal): Promise<readonly FileDescription[]> =>
      this.#piscina.run(task, { signal }) as Promise<readonly FileDescription[]>;
    return describeFiles(run, this.#files, loadMs);
  }

  /**
   * Runs a batch in a thread. Never rejects: a dead thread is an answer. Where several batches
   * travelled together (batch-queue.ts), each is answered by its own cells.
   */
  run(prepared: PreparedBatch, limits: RunLimits, cancel?: AbortSignal): Promise<RunResult> {
    return new Promise((resolve) => {
      this.#queue.add({ prepared, limits, cancel, resolve });
      this.#pumpSoon();
    });
  }

  /** See PoolChannel.flush. */
  flushOutput(deadlineMs: number): Promise<void> {
    return this.#channel.flush(deadlineMs);
  }

  /** Runs every function's teardown() in every thread, then ends the threads. */
  async close(deadlineMs: number): Promise<void> {
    this.#watch.stop();
    await this.#channel.tearDown(this.#piscina.threads.length, deadlineMs);
    this.#channel.close();
    await this.#piscina.destroy();
  }

  #pumpSoon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    // Only once all replies of one read have been looked at.
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  /** Gives the batches that wait to the free threads. */
  #pump(): void {
    while (this.#groups.busy < this.#threadCount) {
      const batches = this.#queue.take(this.#threadCount - this.#groups.busy, this.#mayRun);
      if (batches === null) break;
      void this.#runGroup(new BatchGroup(this.#groupCount++, batches));
    }
    this.#threads.empty(this.#queue.wantsSolo);
  }

  readonly #mayRun = ({ prepared, limits }: WaitingBatch): boolean => {
    const { fn } = prepared.batch;
    if (this.#groups.grant(fn, limits) < 1) return false;
    return this.#threads.hasRoom({
      fn,
      solo: limits.solo ?? false,
      concurrency: limits.concurrency ?? Infinity,
    });
  };

  /** Tells Piscina the thread of a task: the group that has sent the task knows it. */
  readonly #balance: LoadBalancer = (task, workers) => {
    // The symbol's type is not that of a key, in Piscina's declarations.
    const group = (task as unknown as Readonly<Record<symbol, unknown>>)[
      Piscina.queueOptionsSymbol
    ];
    if (!(group instanceof BatchGroup))
      return workers.find(({ currentUsage }) => currentUsage === 0) ?? null;
    if (group.thread) return workers.find(({ id }) => id === group.thread?.id) ?? null;
    const thread = this.#threads.choose(workers, group);
    if (!thread) return null;
    thread.active = group;
    thread.occupants.add(group);
    group.thread = thread;
    return workers.find(({ id }) => id === thread.id) ?? null;
  };

  async #runGroup(group: BatchGroup): Promise<void> {
    const { abort, cancel } = group;
    const concurrency = this.#groups.grant(group.fn, group.limits);
    this.#groups.begin(group);
    const cancelled = (): void => abort.abort('stopping');
    if (cancel?.aborted) cancelled();
    cancel?.addEventListener('abort', cancelled, { once: true });
    let failed: { readonly error: unknown } | null = null;
    let answers: readonly BatchAnswer[] = [];
    try {
      answers = await this.#sendBatches(group, concurrency);
      this.#queue.measure(group, answers);
    } catch (error) {
      failed = { error };
    }
    this.#groups.giveBack(group);
    if (failed) this.#died(group, failed.error);
    else group.reported(answers);
    this.#pump();
    // Nothing is awaited in between: while handlers of the group run, Piscina has a task of it.
    if (group.left > 0) await this.#collect(group);
    this.#end(group);
    cancel?.removeEventListener('abort', cancelled);
  }

  /** Other threads run the batches behind the one in which the group's thread is stuck. */
  #rescue(group: BatchGroup): void {
    const { batches, stuckIn } = group.rescue();
    this.#queue.takeBack(batches, stuckIn);
    this.#pumpSoon();
  }

  #sendBatches(group: BatchGroup, concurrency: number): Promise<readonly BatchAnswer[]> {
    const { batches, limits } = group;
    const tasks = packBatches(batches.map(({ prepared }) => prepared));
    const task: BatchesTask = {
      kind: 'batches',
      group: group.id,
      tasks,
      claims: group.claims,
      concurrency,
      detach: limits.detach ?? false,
      turnMs: limits.turnMs ?? Infinity,
      schemas: this.#changedSchemas.size > 0 ? this.#changedSchemas : null,
    };
    const buffers = [...new Set(tasks.map(({ buffer }) => buffer))];
    return this.#send(group, task, buffers) as Promise<readonly BatchAnswer[]>;
  }

  /** Collects the reports of handlers that were left behind, until none of them runs any more. */
  async #collect(group: BatchGroup): Promise<void> {
    try {
      while (group.left > 0) {
        if (group.thread?.worker.destroyed) throw new Error('the thread has ended');
        const task: CollectTask = { kind: 'collect', group: group.id };
        const late = (await this.#send(group, task, [])) as readonly LateReport[];
        if (late.length === 0)
          throw new Error('the thread knows nothing of handlers that ran in it');
        group.ended(late);
        this.#pumpSoon();
      }
    } catch (error) {
      this.#died(group, error);
    }
  }

  /** Sends a task to the group's thread. */
  #send(
    group: BatchGroup,
    task: BatchesTask | CollectTask,
    transferList: ArrayBuffer[],
  ): Promise<unknown> {
    return this.#piscina.run(
      { ...task, [Piscina.queueOptionsSymbol]: group },
      { transferList, signal: group.abort.signal },
    );
  }

  #died(group: BatchGroup, error: unknown): void {
    const { thread } = group;
    if (!thread?.counted) this.#deaths++;
    if (thread) thread.counted = true;
    this.#queue.died(group);
    group.died(error);
  }

  /** Nothing of the group runs any more. */
  #end(group: BatchGroup): void {
    this.#groups.end(group);
    const { thread } = group;
    if (!thread) return;
    if (thread.worker.destroyed) this.#threads.forget(thread);
    if (thread.occupants.size === 0) this.#pumpSoon();
  }
}
