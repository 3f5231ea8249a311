/**
 * Handlers that run beside their lanes' turns, together with dedupe, maxConcurrency, and a Redis
 * that goes back in time.
 */
import type { Redis } from 'ioredis';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { readRunning } from '../../src/pipeline/lane/in-flight.ts';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { conserved, FUNCTIONS, openBed, PARTITIONS } from '../../scripts/lab/gated-bed.ts';
import { completions, openGate, readHistory, type Run } from '../../scripts/lab/history.ts';
import { untilTold, writesTo, countersOf, is } from '../../scripts/lab/until.ts';

/** Units whose handlers run beside their lanes' turns. */
async function besideTurns(look: Redis, fn: string): Promise<string[]> {
  const texts = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, p) => look.hget(`mr:{${p}}:counters`, `running:${fn}`)),
  );
  return texts.flatMap((text) => readRunning(text ?? undefined).units.map(({ unit }) => unit));
}

t.test(
  'dedupe: a copy that comes while it runs does not run; it is remembered once, with its outcome',
  async (t) => {
    const bed = await openBed(t);
    const dispatcher = await bed.start({ WORKERS: '2', TEST_DEDUPE: '1' });
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['fails', 'b', 0, 'gate'],
      ['other', 'c', 0, 'ok'],
    ]);
    for (const id of ['slow', 'fails']) await bed.runsBeside(id, 1);
    for (const fn of FUNCTIONS)
      await untilTold(writesTo(bed.look), 'both run beside', async () =>
        is((await besideTurns(bed.look, fn)).length, 2),
      );
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['fails', 'b', 0, 'gate'],
      ['another', 'c', 1, 'ok'],
      ['slow', 'a', 0, 'gate'],
    ]);
    for (const id of ['slow', 'fails']) await bed.runsBeside(id, 2);
    const remembered = async (fn: string): Promise<string[]> => {
      const sets = await Promise.all(
        (await bed.look.keys(`mr:*:inbox:${fn}:*`)).map((key) => bed.look.smembers(key)),
      );
      return sets.flat().sort();
    };
    for (const fn of FUNCTIONS)
      t.strictSame(await remembered(fn), ['another', 'other'], `${fn}: not before its outcome`);
    openGate(bed.history, 'slow', 'ok');
    openGate(bed.history, 'fails', 'throw-once');
    for (const fn of FUNCTIONS)
      t.match(await settled(bed.look, fn, PARTITIONS, 7), { done: 7, dead: 0 }, fn);
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['fails', 'b', 0, 'gate'],
      ['other', 'c', 0, 'ok'],
    ]);
    for (const fn of FUNCTIONS) {
      t.match(await settled(bed.look, fn, PARTITIONS, 10), { done: 10, dead: 0 }, fn);
      t.strictSame(
        [...completions(bed.runs(fn))].sort(),
        [
          ['another', 1],
          ['fails', 1],
          ['other', 1],
          ['slow', 1],
        ],
        `${fn}: each once`,
      );
      t.equal(
        bed.runs(fn).filter(({ id }) => id === 'slow').length,
        1,
        `${fn}: and the copies did not even start`,
      );
      t.strictSame(await remembered(fn), ['another', 'fails', 'other', 'slow']);
    }
    t.match(
      (await readLag(bed.service.deployment)).functions,
      FUNCTIONS.map(() => ({ skipped: 6 })),
    );
    await conserved(t, bed);
    t.equal(await dispatcher.terminate(), 0);
  },
);

t.test('maxConcurrency counts what runs beside the turns', async (t) => {
  const bed = await openBed(t);
  const dispatcher = await bed.start({ WORKERS: '2', TEST_MAX_CONCURRENCY: '3' });
  const gates = Array.from({ length: 5 }, (_, i) => `gate-${i}`);
  await bed.publish([
    ...gates.map((id) => [id, `s-${id}`, 0, 'gate'] as const),
    ...Array.from(
      { length: 30 },
      (_, i) => [`other-${i}`, `subject-${i % 10}`, Math.floor(i / 10), 'ok'] as const,
    ),
  ]);
  for (const fn of FUNCTIONS)
    await untilTold(
      writesTo(bed.look),
      'three run beside',
      async () => is((await besideTurns(bed.look, fn)).length, 3),
      30_000,
    );
  for (const id of gates) openGate(bed.history, id, 'ok');
  for (const fn of FUNCTIONS)
    t.match(await settled(bed.look, fn, PARTITIONS, 35), { done: 35, dead: 0, retried: 0 }, fn);
  for (const fn of FUNCTIONS) {
    let running = 0;
    let most = 0;
    for (const line of readHistory(bed.history)) {
      if (line.fn !== fn) continue;
      running += line.what === 'start' ? 1 : -1;
      most = Math.max(most, running);
    }
    t.equal(most, 3, `${fn}: at most so many at a time`);
    t.strictSame(
      [...completions(bed.runs(fn))].filter(([, times]) => times !== 1),
      [],
    );
  }
  await conserved(t, bed);
  t.equal(await dispatcher.terminate(), 0);
});

/** Reads everything in Redis. The returned function puts it back, in one step. */
async function remember(look: Redis): Promise<() => Promise<void>> {
  const keys = await look.keys('*');
  const dumps = await Promise.all(keys.map((key) => look.dumpBuffer(key)));
  return async () => {
    // Leases stay as they are, because the dispatcher still has them.
    const leases = keys.filter((key) => key.includes(':lease:'));
    const kept = await Promise.all(
      leases.map(async (key) => [key, await look.get(key), await look.pttl(key)] as const),
    );
    const restore = look.multi().flushall();
    keys.forEach((key, i) => {
      if (!leases.includes(key)) restore.restore(key, 0, dumps[i] as Buffer);
    });
    for (const [key, value, ms] of kept)
      if (value !== null) restore.set(key, value, 'PX', Math.max(1, ms));
    await restore.exec();
  };
}

t.test(
  'Redis goes back in time while it runs: what it came to is dropped, it runs again, and nothing is lost or twice at a time',
  async (t) => {
    const bed = await openBed(t);
    const dispatcher = await bed.start({ WORKERS: '2' });
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['behind', 'a', 1, 'ok'],
      ['other', 'b', 0, 'ok'],
    ]);
    await bed.runsBeside('slow', 1);
    for (const fn of FUNCTIONS)
      await untilTold(writesTo(bed.look), 'it runs beside', async () =>
        is((await besideTurns(bed.look, fn)).length, 1),
      );
    await untilTold(countersOf(bed.look), 'its successor waits', async () =>
      is((await totals(bed.look, 'gated', PARTITIONS)).parked, 2),
    );
    const goBack = await remember(bed.look);
    // In the same lane: the events that Redis forgets.
    await bed.publish([
      ['forgotten', 'a', 2, 'ok'],
      ['forgotten-too', 'a', 3, 'ok'],
    ]);
    for (const fn of FUNCTIONS) {
      await untilTold(
        countersOf(bed.look),
        'it is in the lane',
        async () =>
          fn === 'gated'
            ? (await totals(bed.look, fn, PARTITIONS)).parked === 4
            : (await totals(bed.look, fn, PARTITIONS)).done === 4,
        30_000,
      );
    }
    await goBack();
    // This is another publisher, because that of the bed knows the ids that it has sent.
    const data = { key: 'a', number: 4, order: 'ok', filler: new Uint8Array(0) };
    await (
      await openService(t, bed.redis.url, PARTITIONS)
    )
      .publisher()
      .publish('test.event', data, { id: 'later' });
    await dispatcher.logged(/The lane starts over from the data in Redis/);
    openGate(bed.history, 'slow', 'ok');
    for (const fn of FUNCTIONS)
      t.match(await settled(bed.look, fn, PARTITIONS, 4), { done: 4, dead: 0, retried: 0 }, fn);
    for (const fn of FUNCTIONS) {
      const runs = bed.runs(fn).filter(({ id }) => id === 'slow');
      t.equal(completions(runs).get('slow'), 2, `${fn}: its outcome was dropped, and it ran again`);
      t.ok(
        runs.every((run, i) => i === 0 || run.startedAt > (runs[i - 1] as Run).endedAt),
        `${fn}: one after the other`,
      );
    }
    await conserved(t, bed);
    t.equal(await dispatcher.terminate(), 0);
  },
);
