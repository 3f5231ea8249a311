/** BullMQ: its worker with jobs in the process itself, and with sandboxed threads. */
import { fileURLToPath } from 'node:url';
import { makeOrder } from '../order.ts';
import { loadPeer } from '../peers.ts';
import { BATCH, inBatches, noteOrder, nothingSeen, STREAM, type Rival } from './rival.ts';

interface Job {
  readonly data: unknown;
}

/** The parts of BullMQ used here. The root package does not depend on it. */
interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    addBulk(jobs: readonly { name: string; data: unknown; opts?: object }[]): Promise<unknown>;
    close(): Promise<void>;
  };
  readonly Worker: new (
    name: string,
    work: string | ((job: Job) => Promise<void>),
    options: object,
  ) => {
    on(event: 'completed', listener: (job: Job) => void): void;
    on(event: 'failed', listener: (job: Job | undefined, error: Error) => void): void;
    on(event: 'error', listener: (error: Error) => void): void;
    close(): Promise<void>;
  };
}

const SANDBOXED = fileURLToPath(new URL('./bullmq-sandboxed.js', import.meta.url));

const publish: Rival['publish'] = async ({ server, events }) => {
  const { Queue } = loadPeer<BullMq>('bullmq');
  const queue = new Queue(STREAM, { connection: { path: server } });
  const ms = await inBatches(events, BATCH, async (from, to) => {
    const jobs: { name: string; data: unknown; opts: object }[] = [];
    const now = Date.now();
    for (let i = from; i < to; i++)
      jobs.push({ name: 'order', data: makeOrder(i, now), opts: { removeOnComplete: true } });
    await queue.addBulk(jobs);
  });
  await queue.close();
  return { events, ms, seen: nothingSeen() };
};

/** @param work the file of the sandboxed function, or null: the function runs in the process */
const drainWith =
  (work: string | null): Rival['drain'] =>
  async ({ server, events, concurrency }) => {
    const { Worker } = loadPeer<BullMq>('bullmq');
    const seen = nothingSeen();
    const inProcess = (job: Job): Promise<void> => {
      noteOrder(seen, job.data);
      return Promise.resolve();
    };
    const began = performance.now();
    const worker = new Worker(STREAM, work ?? inProcess, {
      connection: { path: server, maxRetriesPerRequest: null },
      concurrency,
      useWorkerThreads: work !== null,
    });
    let completed = 0;
    await new Promise<void>((resolve, reject) => {
      worker.on('completed', (job) => {
        if (work !== null) noteOrder(seen, job.data);
        if (++completed === events) resolve();
      });
      worker.on('failed', (_, error) => reject(error));
      worker.on('error', reject);
    });
    const ms = performance.now() - began;
    await worker.close();
    return { events: completed, ms, seen };
  };

export const bullmq: Rival = { publish, drain: drainWith(null) };
export const bullmqSandbox: Rival = { publish, drain: drainWith(SANDBOXED) };
