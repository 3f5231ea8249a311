import t from 'tap';
import { grouped } from '../../src/core/option-rule.ts';

t.test('numbers are written as people of en-US write them', (t) => {
  for (const value of [0, 7, 999, 1000, 12_345, 604_800_000, 2 ** 53 - 1, -1, -999, -1000])
    t.equal(grouped(value), value.toLocaleString('en-US'));
  t.end();
});
