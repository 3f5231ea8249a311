import fc from 'fast-check';
import t from 'tap';
import {
  compareEntryIds,
  entryIdTime,
  formatPosition,
  parsePosition,
} from '../../src/core/position.ts';

const id = fc.tuple(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

t.test('entry ids compare as numbers, whatever their length', async (t) => {
  t.equal(compareEntryIds('9-0', '10-0'), -1);
  t.equal(compareEntryIds('10-9', '10-10'), -1);
  fc.assert(
    fc.property(id, id, ([a, b], [c, d]) => {
      const expected = a !== c ? (a < c ? -1 : 1) : b !== d ? (b < d ? -1 : 1) : 0;
      return Math.sign(compareEntryIds(`${a}-${b}`, `${c}-${d}`)) === expected;
    }),
  );
});

t.test('a position survives printing and parsing; anything else is null', async (t) => {
  fc.assert(
    fc.property(fc.nat(1023), id, fc.nat(65_535), (partition, [ms, seq], position) => {
      const parsed = parsePosition(
        formatPosition({ partition, entryId: `${ms}-${seq}`, position }),
      );
      return (
        parsed?.partition === partition &&
        parsed.entryId === `${ms}-${seq}` &&
        parsed.position === position
      );
    }),
  );
  for (const bad of ['', '1/2/3', 'a/1-1/0', '1/1-1', '1/1-1/0/0', '-1/1-1/0'])
    t.equal(parsePosition(bad), null, bad);
  t.equal(entryIdTime('1795450694309-7'), 1795450694309);
});
