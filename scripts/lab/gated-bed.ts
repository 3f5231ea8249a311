/** A dispatcher with the functions of `gated`: the test decides when their handlers end. */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { readLag } from '../../src/lag/lag.ts';
import type { Millrace } from '../../src/millrace.ts';
import { totals } from './counters.ts';
import {
  openService,
  startDispatcher,
  testDir,
  type DispatcherProcess,
} from './dispatcher-process.ts';
import { readHistory, runsOf, type Run } from './history.ts';
import { startRedis, type TestLike, type TestRedis } from './redis-server.ts';
import { untilTold, countersOf } from './until.ts';

export const PARTITIONS = 3;
export const FUNCTIONS = ['gated', 'gated-unordered'];

export interface Bed {
  readonly redis: TestRedis;
  readonly look: Redis;
  readonly service: Millrace;
  readonly history: string;
  start(environment?: Readonly<Record<string, string>>): Promise<DispatcherProcess>;
  publish(
    items: readonly (readonly [id: string, subject: string, number: number, order: string])[],
  ): Promise<void>;
  runs(fn?: string): Run[];
  /** Waits until each function runs the event's handler and has done this many others. */
  runsBeside(id: string, done: number): Promise<void>;
}

export async function openBed(t: TestLike): Promise<Bed> {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const service = await openService(t, redis.url, PARTITIONS);
  const publisher = service.publisher();
  const runs = (fn?: string): Run[] =>
    runsOf(readHistory(history)).filter((run) => fn === undefined || run.fn === fn);
  return {
    redis,
    look,
    service,
    history,
    runs,
    start: (environment = {}) =>
      startDispatcher(t, {
        url: redis.url,
        functions: 'gated',
        history,
        environment: { MILLRACE_LEASE_MS: '5000', ...environment },
      }),
    publish: async (items) => {
      await publisher.publishMany(
        items.map(([id, key, number, order]) => ({
          type: 'test.event',
          id,
          data: { key, number, order, filler: new Uint8Array(0) },
        })),
      );
    },
    runsBeside: async (id, done) => {
      await untilTold(
        countersOf(look),
        `${done} are done while ${id} runs`,
        async () => {
          for (const fn of FUNCTIONS)
            if ((await totals(look, fn, PARTITIONS)).done < done) return false;
          return true;
        },
        30_000,
      );
      for (const fn of FUNCTIONS) {
        const open = runs(fn).filter((run) => run.id === id && run.outcome === 'died');
        if (open.length !== 1) throw new Error(`${fn}: ${open.length} handlers of ${id} run`);
      }
    },
  };
}

export async function conserved(
  t: TestLike & { strictSame(a: unknown, b: unknown): unknown },
  { service }: Bed,
): Promise<void> {
  const { functions } = await readLag(service.deployment);
  t.strictSame(
    functions.map((fn) => [fn.name, fn.conserved, fn.parked, fn.pending, fn.lag]),
    FUNCTIONS.map((fn) => [fn, true, 0, 0, 0]),
  );
}
