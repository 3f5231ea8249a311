/** The bed of a scenario: a fresh server, and the processes that the scenario starts on it. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../../src/config.ts';
import { startBenchServer, type BenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import type { ConsumerArgument, ConsumerResult } from './consumer.ts';
import type { ForeignProducerArgument, ForeignProducerResult } from './foreign-producer.ts';
import type { BenchOptions, Fsync } from './options.ts';
import type { ProducerArgument, ProducerResult } from './producer.ts';

const FUNCTIONS = fileURLToPath(new URL('./functions/', import.meta.url));
const STALL_MS = 30_000;

/** Events of a producer. */
export interface Load {
  readonly events: number;
  /** Events per second. Default: flat out. */
  readonly rate?: number;
  /** Number of first events that do not count. Default 0. */
  readonly warmUp?: number;
  /** Default 1. */
  readonly eventsPerOrder?: number;
  /** Length of each order's note. Default 0. */
  readonly noteBytes?: number;
}

/** Events of a dispatcher. */
export interface Task {
  /** Number to settle, of all functions together. */
  readonly events: number;
  /** Worker threads. Default: those of the options. */
  readonly workers?: number;
  /** Number of first events whose ages are left out. Default 0. */
  readonly warmUp?: number;
  readonly settings?: Partial<Environment>;
}

export interface Bench {
  readonly server: BenchServer;
  readonly options: BenchOptions;
  readonly fsync: Fsync;
  producer(load: Load): Child<ProducerResult>;
  /** Starts a producer that appends each event as an entry of its own, with plain XADD. */
  foreignProducer(events: number): Child<ForeignProducerResult>;
  /** @param functionsDir absolute path, or name of a folder under functions/ */
  consumer(functionsDir: string, task: Task): Child<ConsumerResult>;
}

/** Runs `work` on a fresh server. Ends the processes and removes the server, also on an error. */
export async function onFreshServer<T>(
  options: BenchOptions,
  fsync: Fsync,
  work: (bench: Bench) => Promise<T>,
): Promise<T> {
  const server = await startBenchServer(fsync);
  const children: { end(graceMs?: number): Promise<void> }[] = [];
  const start = <R>(file: string, argument: unknown): Child<R> => {
    const child = new Child<R>(file, argument, options.cpuProf);
    children.push(child);
    return child;
  };
  let ok = false;
  try {
    const result = await work({
      server,
      options,
      fsync,
      producer: ({ events, rate, warmUp = 0, eventsPerOrder = 1, noteBytes = 0 }) =>
        start<ProducerResult>('./producer.js', {
          url: server.url,
          events,
          rate: rate ?? null,
          chunk: options.chunk,
          callers: options.callers,
          warmUp,
          eventsPerOrder,
          noteBytes,
          partitions: options.partitions,
        } satisfies ProducerArgument),
      foreignProducer: (events) =>
        start<ForeignProducerResult>('./foreign-producer.js', {
          url: server.url,
          events,
          partitions: options.partitions,
        } satisfies ForeignProducerArgument),
      consumer: (functionsDir, { events, workers, warmUp = 0, settings = {} }) =>
        start<ConsumerResult>('./consumer.js', {
          url: server.url,
          functionsDir: resolve(FUNCTIONS, functionsDir),
          workers: workers ?? options.workers,
          settings,
          events,
          warmUp,
          partitions: options.partitions,
          metrics: options.metrics,
          stallMs: STALL_MS,
        } satisfies ConsumerArgument),
    });
    ok = true;
    return result;
  } finally {
    await Promise.all(children.map((child) => child.end(ok ? 15_000 : 0)));
    await server.remove();
  }
}
