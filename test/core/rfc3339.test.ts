import fc from 'fast-check';
import t from 'tap';
import { END_OF_TIME_MS, formatRfc3339, parseRfc3339 } from '../../src/core/rfc3339.ts';

void t.test('what RFC 3339 allows', async (t) => {
  const table: readonly (readonly [text: string, iso: string, nanos: number])[] = [
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z', 0],
    ['2026-01-31t12:00:00z', '2026-01-31T12:00:00.000Z', 0],
    ['2026-01-31 12:00:00Z', '2026-01-31T12:00:00.000Z', 0],
    ['2026-01-31T12:00:00+01:30', '2026-01-31T10:30:00.000Z', 0],
    ['2026-01-01T00:00:00-23:59', '2026-01-01T23:59:00.000Z', 0],
    ['2024-02-29T00:00:00-00:00', '2024-02-29T00:00:00.000Z', 0],
    ['2000-02-29T00:00:00Z', '2000-02-29T00:00:00.000Z', 0],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z', 0],
    ['0099-12-31T23:59:59Z', '0099-12-31T23:59:59.000Z', 0],
    ['9999-12-31T23:59:59.999999999Z', '9999-12-31T23:59:59.999Z', 999_999],
    ['1969-12-31T23:59:59.9Z', '1969-12-31T23:59:59.900Z', 0],
    ['2026-01-31T12:00:00.123456Z', '2026-01-31T12:00:00.123Z', 456_000],
  ];
  for (const [text, iso, nanos] of table) {
    const moment = parseRfc3339(text);
    t.equal(moment && new Date(moment.ms).toISOString(), iso, text);
    t.equal(moment?.nanos, nanos, text);
  }
});

void t.test('what it does not', async (t) => {
  for (const text of [
    '',
    '12',
    '2026',
    '2026-01',
    '2026-01-31',
    'March',
    '1700000000',
    '2026-01-31T12:00:00',
    '2026-01-31T12:00Z',
    '2026-02-30T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-00-10T00:00:00Z',
    '2026-13-10T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-31T24:00:00Z',
    '2026-01-31T12:60:00Z',
    '2026-01-31T12:00:60Z',
    '2026-01-31T12:00:00.Z',
    '2026-01-31T12:00:00.1234567890Z',
    '2026-01-31T12:00:00+0100',
    '2026-01-31T12:00:00+24:00',
    '2026-01-31T12:00:00+01:60',
    '2026-01-31T12:00:00 Z',
    ' 2026-01-31T12:00:00Z',
    '2026-01-31T12:00:00Z\n',
    '+002026-01-31T12:00:00Z',
    '２０２６-01-31T12:00:00Z',
    '9999-12-31T23:59:59-01:00',
    '0000-01-01T00:00:00+01:00',
    'Sat, 31 Jan 2026 12:00:00 GMT',
  ])
    t.equal(parseRfc3339(text), null, JSON.stringify(text));
});

void t.test('a moment survives being written and read', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: -62_167_219_200_000, max: END_OF_TIME_MS - 1 }),
      fc.integer({ min: 0, max: 999_999 }),
      (ms, nanos) => {
        const read = parseRfc3339(formatRfc3339({ ms, nanos }));
        return read?.ms === ms && read.nanos === nanos;
      },
    ),
  );
});

void t.test('a moment without a text is an error', async (t) => {
  for (const ms of [END_OF_TIME_MS, -62_167_219_200_001, Number.NaN, 9e15, Infinity]) {
    t.throws(() => formatRfc3339({ ms, nanos: 0 }), RangeError, String(ms));
  }
});
