/** Parked units that are made due before their time. */
import t, { type Test } from 'tap';
import { runAllNow, runUnitNow } from '../../../src/pipeline/retry/run-now.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';

const PARTITIONS = 3;
const LATER = 4e12;

async function bed(t: Test) {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const keys = createKeys('mr');
  const look = redis.client();
  return {
    source: { connection, keys, partitions: PARTITIONS },
    put: (partition: number, unit: string, score: number | '+inf') =>
      look.zadd(keys.due(partition, 'f'), score, unit),
    scores: async (partition: number) => {
      const flat = await look.zrange(keys.due(partition, 'f'), '0', '-1', 'WITHSCORES');
      return Object.fromEntries<number>(
        Array.from(
          { length: flat.length / 2 },
          (_, i) => [flat[2 * i] ?? '', Number(flat[2 * i + 1])] as const,
        ),
      );
    },
    now: async () => Number((await look.time())[0]) * 1000,
  };
}

t.test('one unit: due now, held, due already, not there', async (t) => {
  const { source, put, scores, now } = await bed(t);
  await put(1, 'later', LATER);
  await put(1, 'other', LATER);
  await put(1, 'held', '+inf');
  await put(1, 'past', 5);
  t.strictSame(await runUnitNow(source, 'f', 'later'), { moved: 1, held: 0 });
  t.strictSame(await runUnitNow(source, 'f', 'held'), { moved: 0, held: 1 });
  t.strictSame(await runUnitNow(source, 'f', 'past'), { moved: 0, held: 0 });
  t.strictSame(await runUnitNow(source, 'f', 'nobody'), { moved: 0, held: 0 });
  const { later, ...others } = await scores(1);
  t.ok(Math.abs((later ?? 0) - (await now())) < 60_000, 'due by the clock of the server');
  t.strictSame(others, { other: LATER, held: NaN, past: 5 }, 'nothing else has changed');
});

t.test('all units: more than a call takes, in each partition', async (t) => {
  const { source, put, scores, now } = await bed(t);
  for (let i = 0; i < 1203; i++) await put(i % PARTITIONS, `u${i}`, LATER + i);
  for (let p = 0; p < PARTITIONS; p++) await put(p, 'held', '+inf');
  const told: number[] = [];
  t.equal(await runAllNow(source, 'f', { moved: (units) => told.push(units) }), 1203);
  t.equal(told.at(-1), 1203);
  const limit = (await now()) + 1000;
  for (let p = 0; p < PARTITIONS; p++) {
    const { held, ...others } = await scores(p);
    t.ok(Number.isNaN(held), 'the held one stays');
    t.ok(Object.values(others).every((score) => score <= limit));
  }
  t.equal(await runAllNow(source, 'f'), 0, 'again: nothing is left');
});

t.test('a stop leaves the rest for the next call', async (t) => {
  const { source, put } = await bed(t);
  for (let i = 0; i < 1100; i++) await put(0, `u${i}`, LATER);
  const stop = new AbortController();
  const first = await runAllNow(source, 'f', { signal: stop.signal, moved: () => stop.abort() });
  t.equal(first, 500);
  t.equal(await runAllNow(source, 'f'), 600);
});
