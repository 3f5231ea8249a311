/** The bed of a scenario: a fresh server, and the processes that the scenario starts on it. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../../src/config.ts';
import { startBenchServer, type BenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import type { ConsumerArgument, ConsumerResult } from './consumer.ts';
import type { BenchOptions, Fsync } from './options.ts';
import type { ProducerArgument, ProducerResult } from './producer.ts';

const FUNCTIONS = fileURLToPath(new URL('./functions/', import.meta.url));
const STALL_MS = 30_000;

export interface Bench {
  readonly server: BenchServer;
  readonly options: BenchOptions;
  readonly fsync: Fsync;
  producer(
    events: number,
    rate?: number,
    warmUp?: number,
    eventsPerOrder?: number,
  ): Child<ProducerResult>;
  /**
   * @param functionsDir absolute path, or name of a folder under functions/
   * @param events number to settle, of all functions together
   * @param warmUp number of first events whose ages are left out
   */
  consumer(
    functionsDir: string,
    events: number,
    workers: number,
    warmUp?: number,
    settings?: Partial<Environment>,
  ): Child<ConsumerResult>;
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
      producer: (events, rate, warmUp = 0, eventsPerOrder = 1) =>
        start<ProducerResult>('./producer.js', {
          url: server.url,
          events,
          rate: rate ?? null,
          chunk: options.chunk,
          callers: options.callers,
          warmUp,
          eventsPerOrder,
          partitions: options.partitions,
        } satisfies ProducerArgument),
      consumer: (functionsDir, events, workers, warmUp = 0, settings = {}) =>
        start<ConsumerResult>('./consumer.js', {
          url: server.url,
          functionsDir: resolve(FUNCTIONS, functionsDir),
          workers,
          settings,
          events,
          warmUp,
          partitions: options.partitions,
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
