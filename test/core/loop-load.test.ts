import t from 'tap';
import { LoopLoad } from '../../src/core/loop-load.ts';

/** Lets a loop work for `busy` of each ms, and asks each ms. @returns the last spacing */
function after(busy: readonly number[]): number {
  let nowMs = 0;
  let busyMs = 0;
  const load = new LoopLoad(() => busyMs, nowMs);
  let spacing = load.spacing(nowMs);
  for (const share of busy) {
    nowMs++;
    busyMs += share;
    spacing = load.spacing(nowMs);
  }
  return spacing;
}

const ms = (count: number, share: number): number[] => Array.from({ length: count }, () => share);

t.test('spacing grows from nothing to full with the share of busy time', (t) => {
  const table: [share: number, spacing: number][] = [
    [0, 0],
    [0.29, 0],
    [0.45, 0.5],
    [0.6, 1],
    [1, 1],
  ];
  for (const [share, spacing] of table) {
    const found = after(ms(1000, share));
    t.ok(Math.abs(found - spacing) < 0.01, `${share}: ${found}`);
  }
  t.end();
});

t.test('spacing follows a change within some windows, not one long task', (t) => {
  t.equal(after([...ms(1000, 1), ...ms(60, 0)]), 0, 'off again');
  t.equal(after([...ms(1000, 0), ...ms(60, 1)]), 1, 'full');
  t.ok(after([...ms(1000, 0), ...ms(10, 1), ...ms(50, 0)]) === 0, 'one task of 10 ms');
  t.end();
});

t.test('the default reads the event loop of this thread', (t) => {
  const load = new LoopLoad();
  const spacing = load.spacing(Number.MAX_SAFE_INTEGER);
  t.ok(spacing >= 0 && spacing <= 1, String(spacing));
  t.end();
});
