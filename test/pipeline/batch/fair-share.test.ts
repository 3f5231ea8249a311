import fc from 'fast-check';
import t from 'tap';
import { FairShare, type Slot } from '../../../src/pipeline/batch/fair-share.ts';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Functions that always want a turn. Turns end one at a time, in the order of their ends. */
async function simulate(
  share: FairShare,
  turnMs: Readonly<Record<string, number>>,
  turns: number,
  watchFrom = 0,
): Promise<{ busy: Record<string, number>; most: Record<string, number> }> {
  const busy: Record<string, number> = {};
  const most: Record<string, number> = {};
  let now = 0;
  const running: { fn: string; ends: number; slot: Slot }[] = [];
  const want = (fn: string): void =>
    void share
      .acquire(fn)
      .then((slot) => running.push({ fn, ends: now + (turnMs[fn] as number), slot }));
  for (const fn of Object.keys(turnMs)) {
    busy[fn] = most[fn] = 0;
    for (let lane = 0; lane < 16; lane++) want(fn);
  }
  for (let turn = 0; turn < turns; turn++) {
    await tick();
    if (turn >= watchFrom)
      for (const fn of Object.keys(turnMs))
        most[fn] = Math.max(most[fn] as number, running.filter((r) => r.fn === fn).length);
    running.sort((a, b) => a.ends - b.ends);
    const done = running.shift();
    if (!done) throw new Error('nobody runs');
    now = done.ends;
    busy[done.fn] = (busy[done.fn] as number) + (turnMs[done.fn] as number);
    want(done.fn);
    done.slot.release(turnMs[done.fn] as number);
  }
  return { busy, most };
}

t.test('slots are bounded, and each is given back once', async (t) => {
  const share = new FairShare({ slots: 2, slowLimit: 1 });
  share.register('a');
  const one = await share.acquire('a');
  await share.acquire('a');
  let third = false;
  const waiting = share.acquire('a').then((slot) => {
    third = true;
    return slot;
  });
  await tick();
  t.equal(third, false);
  t.equal(share.underWay, 2);
  one.release(1);
  one.release(1);
  await waiting;
  t.equal(share.underWay, 2, 'releasing twice gives one slot');
  await t.rejects(share.acquire('nobody'), /nobody has no share/);
});

t.test('busy time is shared, however long the turns are', async (t) => {
  const share = new FairShare({ slots: 4, slowLimit: 3 });
  share.register('short');
  share.register('long');
  const { busy } = await simulate(share, { short: 2, long: 80 }, 4000);
  const ratio = (busy['long'] as number) / (busy['short'] as number);
  t.ok(ratio > 0.7 && ratio < 1.5, `long had ${ratio.toFixed(2)} times the time of short`);
});

t.test('a slow function leaves room for the others; alone it may have all', async (t) => {
  const share = new FairShare({ slots: 4, slowLimit: 1 });
  share.register('slow');
  share.register('quick');
  // The function's mean is known after its first turns.
  const { most } = await simulate(share, { slow: 1000, quick: 1 }, 12_000, 6000);
  t.equal(most['slow'], 1);
  t.ok((most['quick'] as number) >= 3, 'the quick one had the other slots');
  const alone = new FairShare({ slots: 4, slowLimit: 1 });
  alone.register('slow');
  t.equal((await simulate(alone, { slow: 1000 }, 50)).most['slow'], 4);
});

t.test('who was idle saves up nothing', async (t) => {
  const share = new FairShare({ slots: 1, slowLimit: 1 });
  share.register('busy');
  share.register('idle');
  for (let i = 0; i < 100; i++) (await share.acquire('busy')).release(50);
  const order: string[] = [];
  const first = await share.acquire('busy');
  for (let i = 0; i < 6; i++) {
    for (const fn of ['busy', 'idle']) {
      void share.acquire(fn).then((slot) => {
        order.push(fn);
        setImmediate(() => slot.release(50));
      });
    }
  }
  first.release(50);
  while (order.length < 12) await tick();
  const head = order.slice(0, 6).filter((fn) => fn === 'idle').length;
  t.ok(head >= 2 && head <= 4, `turns of both at the start: ${order.join(' ')}`);
});

t.test('property: every wish is granted, and never more than there are slots', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(
        fc.record({ fn: fc.constantFrom('a', 'b', 'c'), ms: fc.integer({ min: 0, max: 2000 }) }),
        { maxLength: 40 },
      ),
      async (slots, slowLimit, wishes) => {
        const share = new FairShare({ slots, slowLimit });
        for (const fn of ['a', 'b', 'c']) share.register(fn);
        let running = 0;
        let granted = 0;
        await Promise.all(
          wishes.map(async ({ fn, ms }) => {
            const slot = await share.acquire(fn);
            granted++;
            if (++running > slots) throw new Error('too many at once');
            await tick();
            running--;
            slot.release(ms);
          }),
        );
        if (granted !== wishes.length || share.underWay !== 0)
          throw new Error('a wish or a slot was lost');
      },
    ),
    { numRuns: 60 },
  );
  t.pass('60 runs');
});
