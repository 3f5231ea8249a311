import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { differenceOf, type ValueChange } from '../../src/payload/difference.ts';

/** Makes the changes on a copy. Members are set first. List items go then, the last ones first. */
function applied(before: unknown, changes: readonly ValueChange[]): unknown {
  const root = { value: structuredClone(before) };
  const removedLast = [...changes].sort((a, b) => {
    if ((a.kind === 'removed') !== (b.kind === 'removed')) return a.kind === 'removed' ? 1 : -1;
    return Number(b.path.at(-1)) - Number(a.path.at(-1)) || 0;
  });
  for (const { path, kind, after } of removedLast) {
    let at = root as unknown as Record<string | number, unknown>;
    const steps = ['value', ...path];
    for (const step of steps.slice(0, -1)) at = at[step] as typeof at;
    const last = steps.at(-1) as string | number;
    if (kind !== 'removed') at[last] = after;
    else if (Array.isArray(at)) at.splice(last as number, 1);
    else delete at[last];
  }
  return root.value;
}

t.test('the changes lead from one value to the other', async (t) => {
  const value = fc
    .jsonValue({ maxDepth: 4 })
    .filter((one) => !JSON.stringify(one).includes('__proto__'));
  fc.assert(
    fc.property(value, value, (before, after) => {
      // -0 is no value of JSON.
      const [a, b] = [before, after].map((one) => JSON.parse(JSON.stringify(one)) as unknown);
      const { changes, more } = differenceOf(a, b);
      if (more) return;
      if (!isDeepStrictEqual(applied(a, changes), b))
        throw new Error(`${JSON.stringify(a)} → ${JSON.stringify(b)}: ${JSON.stringify(changes)}`);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(value, (one) => {
      t.strictSame(differenceOf(one, structuredClone(one)), { changes: [], more: false });
    }),
    { numRuns: 50 },
  );
});

t.test('added, removed, changed; bounded', async (t) => {
  t.strictSame(differenceOf({ a: 1, b: [1, 2], d: null }, { a: 2, b: [1], c: {}, d: null }), {
    changes: [
      { path: ['a'], kind: 'changed', before: 1, after: 2 },
      { path: ['b', 1], kind: 'removed', before: 2 },
      { path: ['c'], kind: 'added', after: {} },
    ],
    more: false,
  });
  t.strictSame(differenceOf(undefined, { a: 1 }).changes, [
    { path: [], kind: 'added', after: { a: 1 } },
  ]);
  t.strictSame(differenceOf({ constructor: 1 }, {}).changes, [
    { path: ['constructor'], kind: 'removed', before: 1 },
  ]);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i]));
  const { changes, more } = differenceOf({}, many);
  t.equal(changes.length, 200);
  t.equal(more, true);
});
