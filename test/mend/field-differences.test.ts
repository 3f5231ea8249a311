import fc from 'fast-check';
import t from 'tap';
import { differencesOf, type FieldDifference } from '../../src/mend/field-differences.ts';

const TABLE: readonly (readonly [unknown, unknown, readonly FieldDifference[]])[] = [
  [1, 1, []],
  [{ a: 1 }, { a: 1 }, []],
  [1, 2, [{ path: '', before: 1, after: 2 }]],
  [undefined, { a: 1 }, [{ path: '', after: { a: 1 } }]],
  [{ a: 1 }, null, [{ path: '', before: { a: 1 }, after: null }]],
  [
    { a: 1 },
    { b: 1 },
    [
      { path: 'a', before: 1 },
      { path: 'b', after: 1 },
    ],
  ],
  [
    { a: { b: [1, 2] } },
    { a: { b: [1, 3, 4] } },
    [
      { path: 'a.b[1]', before: 2, after: 3 },
      { path: 'a.b[2]', after: 4 },
    ],
  ],
  [{ a: [] }, { a: {} }, [{ path: 'a', before: [], after: {} }]],
];

t.test('values that differ, with their places', (t) => {
  for (const [before, after, expected] of TABLE)
    t.strictSame(differencesOf(before, after), { list: expected, more: false });
  t.end();
});

t.test('equal values have no difference, others have one', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      t.strictSame(differencesOf(a, JSON.parse(JSON.stringify(a))).list, []);
      const same = JSON.stringify(a) === JSON.stringify(b);
      if (same) t.strictSame(differencesOf(a, b).list, []);
    }),
  );
  t.end();
});

t.test('a long difference is cut', (t) => {
  const list = Array.from({ length: 1000 }, (_, i) => i);
  const found = differencesOf(list, list.map(String));
  t.equal(found.list.length, 200);
  t.ok(found.more);
  t.end();
});
