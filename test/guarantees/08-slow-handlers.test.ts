/**
 * A slow handler holds up its own subject and nothing else. The lane goes on, and the outcome of
 * the handler is committed once.
 */
import { join } from 'node:path';
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { readLag } from '../../src/lag/lag.ts';
import { deadLetters, settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { checkFlow, inventFlow } from '../../scripts/lab/emit-flow.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { conserved, FUNCTIONS, openBed, PARTITIONS } from '../../scripts/lab/gated-bed.ts';
import { completions, disorder, openGate } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { removeFunction } from '../../src/upkeep/remove-function.ts';
import { untilTold, writesTo, countersOf, writesToFile, is } from '../../scripts/lab/until.ts';

for (const workers of ['1', '2']) {
  t.test(
    `WORKERS=${workers}: other subjects, in all partitions, while one handler runs; its own subject waits`,
    async (t) => {
      const bed = await openBed(t);
      const dispatcher = await bed.start({ WORKERS: workers });
      const others = Array.from(
        { length: 60 },
        (_, i) => [`other-${i}`, `subject-${i % 20}`, Math.floor(i / 20), 'ok'] as const,
      );
      // Others stand before the slow event in its batch, with it, and behind it.
      await bed.publish([
        ...others.slice(0, 20),
        ['slow', 'held', 0, 'gate'],
        ['behind-0', 'held', 1, 'ok'],
        ...others.slice(20, 40),
      ]);
      await untilTold(writesToFile(bed.history), 'it runs', () =>
        is(bed.runs().filter(({ id }) => id === 'slow').length, 2),
      );
      await bed.publish([...others.slice(40), ['behind-1', 'held', 2, 'ok']]);
      // Ordering 'none': the events behind the slow one are done too.
      await untilTold(
        countersOf(bed.look),
        'all others are done',
        async () => {
          const [key, none] = await Promise.all(
            FUNCTIONS.map((fn) => totals(bed.look, fn, PARTITIONS)),
          );
          return key?.done === 60 && none?.done === 62;
        },
        30_000,
      );
      await bed.runsBeside('slow', 60);
      t.notOk(
        bed.runs('gated').some(({ id }) => id.startsWith('behind')),
        'the later ones of its subject wait',
      );
      const { functions } = await readLag(bed.service.deployment);
      t.match(functions, [
        { name: 'gated', conserved: true, done: 60, parked: 3 },
        { name: 'gated-unordered', conserved: true, done: 62, parked: 1 },
      ]);
      openGate(bed.history, 'slow', 'ok');
      for (const fn of FUNCTIONS)
        t.match(await settled(bed.look, fn, PARTITIONS, 63), { done: 63, dead: 0, retried: 0 });
      t.strictSame(disorder(bed.runs('gated')), []);
      t.strictSame(
        [...completions(bed.runs('gated'))].filter(([, times]) => times !== 1),
        [],
      );
      t.strictSame(
        [...completions(bed.runs('gated-unordered'))].filter(([, times]) => times !== 1),
        [],
      );
      await conserved(t, bed);
      t.equal(await dispatcher.terminate(), 0);
    },
  );
}

t.test('how it ends: a retry, dead, and what costs its thread', async (t) => {
  const bed = await openBed(t);
  const dispatcher = await bed.start({ WORKERS: '2' });
  const ends = ['throw-once', 'throw', 'non-retryable', 'exit'] as const;
  await bed.publish([
    ...ends.flatMap(
      (order) =>
        [
          [order, `s-${order}`, 0, 'gate'],
          [`${order}-next`, `s-${order}`, 1, 'ok'],
        ] as const,
    ),
    ...Array.from({ length: 20 }, (_, i) => [`other-${i}`, `subject-${i}`, 0, 'ok'] as const),
  ]);
  for (const order of ends) await bed.runsBeside(order, 20);
  for (const order of ends) openGate(bed.history, order, order);
  const dead = ['throw', 'non-retryable', 'exit'];
  for (const fn of FUNCTIONS) {
    t.match(await settled(bed.look, fn, PARTITIONS, 28), { done: 25, dead: 3 }, fn);
    const letters = await deadLetters(bed.look, fn, PARTITIONS);
    t.strictSame(
      letters.map(({ fields: { id, reason, attempts } }) => [id, reason, attempts]).sort(),
      [
        ['exit', 'thread-death', '3'],
        ['non-retryable', 'non-retryable', '1'],
        ['throw', 'attempts', '3'],
      ],
      fn,
    );
    const runs = bed.runs(fn);
    t.strictSame(
      runs.filter(({ id, attempt }) => !ends.includes(id as 'throw') && attempt !== 1),
      [],
      'nobody else is charged',
    );
    t.strictSame(
      runs
        .filter(({ id }) => id === 'throw-once')
        .map(({ attempt, outcome }) => [attempt, outcome])
        .at(-1),
      [2, 'end'],
    );
  }
  t.strictSame(disorder(bed.runs('gated'), { dead }), []);
  await conserved(t, bed);
  t.equal(await dispatcher.terminate(), 0);
});

t.test('it outstays its time: a timeout, and those beside it are not charged', async (t) => {
  const bed = await openBed(t);
  const dispatcher = await bed.start({ WORKERS: '1', TEST_TIMEOUT_MS: '1500' });
  await bed.publish([
    ['hung', 'a', 0, 'hang'],
    ['polite', 'b', 0, 'hang-polite'],
    ...Array.from({ length: 20 }, (_, i) => [`other-${i}`, `s-${i}`, 0, 'ok'] as const),
  ]);
  await bed.runsBeside('hung', 20);
  for (const fn of FUNCTIONS) {
    t.match(await settled(bed.look, fn, PARTITIONS, 22), { done: 20, dead: 2 }, fn);
    t.strictSame(
      (await deadLetters(bed.look, fn, PARTITIONS))
        .map(({ fields: { id, reason, attempts } }) => [id, reason, attempts])
        .sort(),
      [
        ['hung', 'timeout', '3'],
        ['polite', 'timeout', '3'],
      ],
      fn,
    );
  }
  await conserved(t, bed);
  t.equal(await dispatcher.terminate(), 0);
});

t.test('its thread dies of another one: it runs again, without an attempt', async (t) => {
  const bed = await openBed(t);
  const dispatcher = await bed.start({ WORKERS: '1' });
  await bed.publish([
    ['slow', 'a', 0, 'gate'],
    ['next', 'a', 1, 'ok'],
    ['other', 'b', 0, 'ok'],
  ]);
  await bed.runsBeside('slow', 1);
  await bed.publish([['killer', 'c', 0, 'exit']]);
  // With one thread, one function's event runs at a time.
  await untilTold(
    writesToFile(bed.history),
    'it runs again',
    () => FUNCTIONS.some((fn) => bed.runs(fn).filter(({ id }) => id === 'slow').length > 1),
    60_000,
  );
  openGate(bed.history, 'slow', 'ok');
  for (const fn of FUNCTIONS) {
    t.match(await settled(bed.look, fn, PARTITIONS, 4), { done: 3, dead: 1 }, fn);
    t.ok(
      bed.runs(fn).every(({ id, attempt }) => id !== 'slow' || attempt === 1),
      `${fn}: no attempt was counted`,
    );
  }
  t.strictSame(disorder(bed.runs('gated'), { dead: ['killer'] }), []);
  await conserved(t, bed);
  t.equal(await dispatcher.terminate(), 0);
});

t.test(
  'explain says that it runs; kill -9: the next owner runs it at once, without an attempt',
  async (t) => {
    const bed = await openBed(t);
    const first = await bed.start({ MILLRACE_LEASE_MS: '1000' });
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['next', 'a', 1, 'ok'],
      ['other', 'b', 0, 'ok'],
    ]);
    await bed.runsBeside('slow', 1);
    const [told] = (await explain(bed.service.deployment, { eventId: 'slow' })).events;
    for (const fn of told?.functions ?? [])
      t.match(fn, { state: 'parked', running: { attempt: 1 }, why: /runs since/ }, fn.function);
    const [behind] = (await explain(bed.service.deployment, { eventId: 'next' })).events;
    t.match(
      behind?.functions.find(({ function: fn }) => fn === 'gated'),
      { state: 'parked', behind: 'slow', why: /which runs since/ },
    );
    await first.kill();
    const next = await bed.start({ MILLRACE_LEASE_MS: '1000' });
    await untilTold(
      writesToFile(bed.history),
      'it runs again',
      () => FUNCTIONS.every((fn) => bed.runs(fn).filter(({ id }) => id === 'slow').length === 2),
      30_000,
    );
    openGate(bed.history, 'slow', 'ok');
    for (const fn of FUNCTIONS)
      t.match(await settled(bed.look, fn, PARTITIONS, 3), { done: 3, dead: 0, retried: 0 }, fn);
    t.ok(bed.runs().every(({ attempt }) => attempt === 1));
    t.strictSame(disorder(bed.runs('gated')), []);
    await conserved(t, bed);
    for (const fn of FUNCTIONS)
      for (let p = 0; p < PARTITIONS; p++)
        t.notOk(await bed.look.hexists(`mr:{${p}}:counters`, `running:${fn}`));
    t.equal(await next.terminate(), 0);
  },
);

t.test(
  'a drain waits for it; one that is over its deadline leaves it parked, without an attempt',
  async (t) => {
    const bed = await openBed(t);
    const hasty = await bed.start({ MILLRACE_DRAIN_MS: '0' });
    await bed.publish([
      ['slow', 'a', 0, 'gate'],
      ['other', 'b', 0, 'ok'],
    ]);
    await bed.runsBeside('slow', 1);
    await hasty.terminate();
    t.match(await totals(bed.look, 'gated', PARTITIONS), { done: 1, parked: 1, retried: 0 });
    const patient = await bed.start();
    await untilTold(
      writesToFile(bed.history),
      'it runs again',
      () => FUNCTIONS.every((fn) => bed.runs(fn).filter(({ id }) => id === 'slow').length === 2),
      30_000,
    );
    const terminated = patient.terminate();
    openGate(bed.history, 'slow', 'ok');
    t.equal(await terminated, 0);
    for (const fn of FUNCTIONS)
      t.match(await totals(bed.look, fn, PARTITIONS), { done: 2, parked: 0, retried: 0 }, fn);
    await conserved(t, bed);
  },
);

t.test('a rewind while it runs: its outcome is refused, and it runs again', async (t) => {
  const bed = await openBed(t);
  const dispatcher = await bed.start({ MILLRACE_LEASE_MS: '1000' });
  await bed.publish([
    ['slow', 'a', 0, 'gate'],
    ['other', 'b', 0, 'ok'],
  ]);
  await bed.runsBeside('slow', 1);
  await t.rejects(removeFunction(bed.service.deployment, 'gated', true), {
    code: 'FUNCTION_IN_USE',
  });
  await rewindFunction(bed.service.deployment, 'gated', { kind: 'end' });
  openGate(bed.history, 'slow', 'ok');
  await untilTold(
    writesTo(bed.look),
    'it is done again',
    async () =>
      (await totals(bed.look, 'gated', PARTITIONS)).done === 1 &&
      completions(bed.runs('gated')).get('slow') === 2,
    30_000,
  );
  await settled(bed.look, 'gated-unordered', PARTITIONS, 2);
  await conserved(t, bed);
  t.strictSame(disorder(bed.runs('gated')), []);
  t.equal(await dispatcher.terminate(), 0);
});

t.test('what it emits is there once, with its outcome', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, PARTITIONS);
  const dispatcher = await startDispatcher(t, {
    url: redis.url,
    functions: 'emit',
    history: join(testDir(t), 'history'),
    environment: { MILLRACE_LEASE_MS: '5000', WORKERS: '1' },
  });
  const flow = inventFlow('slow', 30, randomOf(7), { sleepMs: 1500 });
  await service.publisher().publishMany([...flow.items]);
  await checkFlow(t, { service, look, partitions: PARTITIONS }, flow);
  t.equal(await dispatcher.terminate(), 0);
});
