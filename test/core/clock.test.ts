/** Waiting with a signal: it ends at once, and leaves no listener behind. */
import { getEventListeners } from 'node:events';
import t from 'tap';
import { sleep, untilAborted } from '../../src/core/clock.ts';

t.test('a loop that waits with one signal keeps no listener', async (t) => {
  const { signal } = new AbortController();
  const waits: readonly [string, () => Promise<void>][] = [
    ['sleep', () => sleep(0, signal)],
    ['work', () => untilAborted(Promise.resolve(), signal)],
    ['failing work', () => untilAborted(Promise.reject(new Error('x')), signal).catch(() => {})],
  ];
  for (const [name, wait] of waits) {
    for (let i = 0; i < 20; i++) await wait();
    t.same(getEventListeners(signal, 'abort'), [], name);
  }
});

t.test('an abort ends the wait before the work', async (t) => {
  const controller = new AbortController();
  const never = new Promise<void>(() => {});
  const waits = [untilAborted(never, controller.signal), sleep(2 ** 31 - 1, controller.signal)];
  controller.abort();
  await Promise.all(waits);
  await untilAborted(never, controller.signal);
  await sleep(2 ** 31 - 1, controller.signal);
  t.same(getEventListeners(controller.signal, 'abort'), []);
});

t.test('an error of the work is thrown', async (t) => {
  const { signal } = new AbortController();
  await t.rejects(untilAborted(Promise.reject(new Error('no answer')), signal), /no answer/);
});
