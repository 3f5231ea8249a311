/**
 * Measures the cost of one poisoned subject among 10,000 for the others: `node
 * dist/scripts/chaos/poison.js [pairs] [events per subject]`.
 *
 * Drains a backlog with and without the poison, in turns, and compares the times pair by pair. On a
 * shared machine only ratios can be trusted. With the default a drain takes some 4 s. With 20 it is
 * over in 1 s, half of which is the start of threads and compilers.
 */
import { startDispatcher, openService } from '../lab/dispatcher-process.ts';
import { totals } from '../lab/counters.ts';
import { startRedis } from '../lab/redis-server.ts';
import { until } from '../lab/until.ts';

const PARTITIONS = 4;
const SUBJECTS = 10_000;
const PER_SUBJECT = Number(process.argv[3] ?? 80);
const EVENTS = SUBJECTS * PER_SUBJECT;
const POISONED = 4711;

/** @returns ms from the first events done until the last of all other subjects is */
async function drain(poisoned: boolean): Promise<number> {
  const undo: (() => void | Promise<void>)[] = [];
  const scope = { teardown: (fn: () => void | Promise<void>) => void undo.push(fn) };
  try {
    const redis = await startRedis(scope);
    const look = redis.client();
    const publisher = (await openService(scope, redis.url, PARTITIONS)).publisher();
    for (let number = 0; number < PER_SUBJECT; number++) {
      for (let at = 0; at < SUBJECTS; at += 1000) {
        await publisher.publishMany(
          Array.from({ length: 1000 }, (_, i) => ({
            type: 'test.event',
            id: `${number}-${at + i}`,
            data: {
              key: `subject-${at + i}`,
              number,
              order: poisoned && at + i === POISONED ? 'throw' : 'ok',
              filler: new Uint8Array(0),
            },
          })),
        );
      }
    }
    await startDispatcher(scope, { url: redis.url, functions: 'handle', history: '/dev/null' });
    await until(
      'the first are done',
      async () => (await totals(look, 'handle', PARTITIONS)).done > 0,
      60_000,
    );
    const beganMs = performance.now();
    const others = EVENTS - (poisoned ? PER_SUBJECT : 0);
    await until(
      'all others are done',
      async () => (await totals(look, 'handle', PARTITIONS)).done >= others,
      120_000,
    );
    const tookMs = performance.now() - beganMs;
    const { retried } = await totals(look, 'handle', PARTITIONS);
    if (poisoned !== retried > 0)
      throw new Error(
        `${retried} failed attempts ${poisoned ? 'with' : 'without'} the poisoned subject`,
      );
    return tookMs;
  } finally {
    for (const fn of undo.reverse()) await fn();
  }
}

const pairs = Number(process.argv[2] ?? 5);
const ratios: number[] = [];
for (let pair = 0; pair < pairs; pair++) {
  // The order of a pair changes, so that other load on the machine favours neither.
  const first = await drain(pair % 2 === 0);
  const second = await drain(pair % 2 !== 0);
  const [withPoison, without] = pair % 2 === 0 ? [first, second] : [second, first];
  ratios.push(without / withPoison);
  process.stdout.write(
    `pair ${pair + 1}: ${Math.round((EVENTS / without) * 1000).toLocaleString('en-US')} events/s without, ${Math.round((EVENTS / withPoison) * 1000).toLocaleString('en-US')} with the poisoned subject: ${(without / withPoison).toFixed(3)}\n`,
  );
}
const median = [...ratios].sort((a, b) => a - b)[Math.floor(ratios.length / 2)] as number;
process.stdout.write(`median: ${median.toFixed(3)} of the throughput without it\n`);
