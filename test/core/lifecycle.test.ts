/** A stopped part must not start, and a part that stops must have no work under way. */
import t from 'tap';
import { Loop } from '../../src/core/lifecycle.ts';

/** A promise, and the function that resolves it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

const never = (error: unknown): void => {
  throw error;
};

t.test('passes run one after the other, with the pause between them', async (t) => {
  const steps: string[] = [];
  const third = gate();
  const loop = new Loop({
    pass: () => {
      if (steps.push('pass') > 4) third.open();
    },
    pauseMs: () => {
      steps.push('pause');
      return 1;
    },
    failed: never,
  });
  loop.start();
  await third.opened;
  await loop.stop();
  t.strictSame(steps.slice(0, 5), ['pass', 'pause', 'pass', 'pause', 'pass']);
});

t.test('a loop that pauses first does nothing if it is stopped in its first pause', async (t) => {
  let passes = 0;
  const loop = new Loop({
    pass: () => void passes++,
    pauseMs: () => 60_000,
    pausesFirst: true,
    failed: never,
  });
  loop.start();
  await loop.stop();
  t.equal(passes, 0);
});

t.test('a failed pass is told, and another one follows', async (t) => {
  const errors: unknown[] = [];
  const second = gate();
  let passes = 0;
  const loop = new Loop({
    pass: () => {
      if (++passes === 2) second.open();
      throw new Error(`pass ${passes}`);
    },
    pauseMs: () => 1,
    failed: (error) => void errors.push((error as Error).message),
  });
  loop.start();
  await second.opened;
  await loop.stop();
  t.strictSame(errors.slice(0, 2), ['pass 1', 'pass 2']);
});

t.test('stop() waits for the pass under way, whose failure is not told any more', async (t) => {
  const begun = gate();
  const held = gate();
  let passes = 0;
  const loop = new Loop({
    pass: async () => {
      passes++;
      begun.open();
      await held.opened;
      throw new Error('cut off');
    },
    failed: never,
  });
  loop.start();
  await begun.opened;
  let stopped = 0;
  const stops = [1, 2].map(() => loop.stop().then(() => stopped++));
  await new Promise(setImmediate);
  t.equal(stopped, 0);
  t.ok(loop.signal.aborted, 'the pass is told to end');
  held.open();
  await Promise.all(stops);
  t.equal(passes, 1);
});

t.test('started twice it runs once; stopped before its start, never', async (t) => {
  const begun = gate();
  let running = 0;
  let most = 0;
  const options = {
    pass: async (): Promise<void> => {
      most = Math.max(most, ++running);
      begun.open();
      await new Promise(setImmediate);
      running--;
    },
    failed: never,
  };
  const twice = new Loop(options);
  twice.start();
  twice.start();
  await begun.opened;
  await twice.stop();
  t.equal(most, 1);
  most = 0;
  const unstarted = new Loop(options);
  await unstarted.stop();
  unstarted.start();
  await unstarted.stop();
  t.equal(most, 0);
});
