/** A slow handler holds up its own subject and nothing else: the lane goes on, and how it ends is committed once. */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { settled, totals } from '../support/counters.ts';
import { openService, startDispatcher, testDir, type DispatcherProcess } from '../support/dispatcher-process.ts';
import { completions, disorder, openGate, readHistory, runsOf, type Run } from '../support/history.ts';
import { startRedis, until, type TestLike } from '../support/redis-server.ts';
import type { Millrace } from '../../src/millrace.ts';

const PARTITIONS = 3;
const FUNCTIONS = ['gated', 'gated-unordered'];

interface Bed {
  readonly look: Redis;
  readonly service: Millrace;
  readonly history: string;
  start(environment?: Readonly<Record<string, string>>): Promise<DispatcherProcess>;
  publish(items: readonly (readonly [id: string, subject: string, number: number, order: string])[]): Promise<void>;
  runs(fn?: string): Run[];
  /** Waits until the event's handler runs for each function, and these are done for them. */
  runsBeside(id: string, done: number): Promise<void>;
}

async function openBed(t: TestLike): Promise<Bed> {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const service = await openService(t, redis.url, PARTITIONS);
  const publisher = service.publisher();
  const runs = (fn?: string): Run[] => runsOf(readHistory(history)).filter((run) => fn === undefined || run.fn === fn);
  return {
    look, service, history, runs,
    start: (environment = {}) => startDispatcher(t, { url: redis.url, functions: 'gated', history, environment: { MILLRACE_LEASE_MS: '5000', ...environment } }),
    publish: async (items) => {
      await publisher.publishMany(items.map(([id, key, number, order]) => ({ type: 'test.event', id, data: { key, number, order, filler: new Uint8Array(0) } })));
    },
    runsBeside: async (id, done) => {
      await until(`${done} are done while ${id} runs`, async () => {
        for (const fn of FUNCTIONS) if ((await totals(look, fn, PARTITIONS)).done < done) return false;
        return true;
      }, 30_000);
      for (const fn of FUNCTIONS) {
        const open = runs(fn).filter((run) => run.id === id && run.outcome === 'died');
        if (open.length !== 1) throw new Error(`${fn}: ${open.length} handlers of ${id} run`);
      }
    },
  };
}

async function conserved(t: TestLike & { strictSame(a: unknown, b: unknown): unknown }, { service }: Bed): Promise<void> {
  const { functions } = await readLag(service.deployment);
  t.strictSame(functions.map((fn) => [fn.name, fn.conserved, fn.parked, fn.pending, fn.lag]), FUNCTIONS.map((fn) => [fn, true, 0, 0, 0]));
}

for (const workers of ['1', '2']) {
  t.test(`WORKERS=${workers}: other subjects, in all partitions, while one handler runs; its own subject waits`, async (t) => {
    const bed = await openBed(t);
    const dispatcher = await bed.start({ WORKERS: workers });
    const others = Array.from({ length: 60 }, (_, i) => [`other-${i}`, `subject-${i % 20}`, Math.floor(i / 20), 'ok'] as const);
    // Before it in its batch, with it, and behind it.
    await bed.publish([...others.slice(0, 20), ['slow', 'held', 0, 'gate'], ['behind-0', 'held', 1, 'ok'], ...others.slice(20, 40)]);
    await until('it runs', () => bed.runs().filter(({ id }) => id === 'slow').length === 2);
    await bed.publish([...others.slice(40), ['behind-1', 'held', 2, 'ok']]);
    // Ordering 'none': what is behind it is done too.
    await until('all others are done', async () => {
      const [key, none] = await Promise.all(FUNCTIONS.map((fn) => totals(bed.look, fn, PARTITIONS)));
      return key?.done === 60 && none?.done === 62;
    }, 30_000);
    await bed.runsBeside('slow', 60);
    t.notOk(bed.runs('gated').some(({ id }) => id.startsWith('behind')), 'the later ones of its subject wait');
    const { functions } = await readLag(bed.service.deployment);
    t.match(functions, [{ name: 'gated', conserved: true, done: 60, parked: 3 }, { name: 'gated-unordered', conserved: true, done: 62, parked: 1 }]);
    openGate(bed.history, 'slow', 'ok');
    for (const fn of FUNCTIONS) t.match(await settled(bed.look, fn, PARTITIONS, 63), { done: 63, dead: 0, retried: 0 });
    t.strictSame(disorder(bed.runs('gated')), []);
    t.strictSame([...completions(bed.runs('gated'))].filter(([, times]) => times !== 1), []);
    t.strictSame([...completions(bed.runs('gated-unordered'))].filter(([, times]) => times !== 1), []);
    await conserved(t, bed);
    t.equal(await dispatcher.terminate(), 0);
  });
}
