/** The trend as values: samples on a grid, with gaps as gaps and without rates below zero. */
import fc from 'fast-check';
import t from 'tap';
import { FUNCTION_FIGURES, DEPLOYMENT_FIGURES } from '../../src/trend/trend-figures.ts';
import {
  foldSamples,
  packSample,
  unpackSample,
  type TrendSample,
} from '../../src/trend/trend-sample.ts';
import { seriesOfSamples } from '../../src/trend/trend-series.ts';
import { alignedTo, keptSamples, MINUTE_MS, stepFor } from '../../src/trend/trend-times.ts';

const START_MS = Date.UTC(2026, 10, 29, 12);
const NONE = { appended: 0, done: 0, skipped: 0, died: 0, lag: 0, pending: 0, parked: 0, held: 0 };

/** A sample of a minute after START_MS. */
function at(minute: number, values: object, lateMs = 0): TrendSample {
  const slotMs = START_MS + minute * MINUTE_MS;
  return { slotMs, atMs: slotMs + lateMs, values: { ...NONE, dead: 0, oldestMs: 0, ...values } };
}

/** Minutes, some of them missing, with totals that rise and are set back now and then. */
const walk = fc
  .array(
    fc.record({
      isMissing: fc.boolean(),
      isReset: fc.integer({ min: 0, max: 9 }).map((one) => one === 0),
      arrived: fc.nat(1000),
      done: fc.nat(1000),
      lag: fc.nat(1000),
      lateMs: fc.integer({ min: -2000, max: 30_000 }),
    }),
    { maxLength: 60 },
  )
  .map((steps) => {
    let [appended, done] = [0, 0];
    return steps.flatMap(({ isMissing, isReset, arrived, done: more, lag, lateMs }, minute) => {
      [appended, done] = isReset ? [0, 0] : [appended + arrived, done + more];
      return isMissing ? [] : [at(minute, { appended, done, lag }, lateMs)];
    });
  });

const gridOf = (minutes: number, points: number) => ({
  fromMs: START_MS,
  toMs: START_MS + minutes * MINUTE_MS,
  everyMs: MINUTE_MS,
  points,
});

t.test('a sample is the same after Redis', (t) => {
  const value = fc.option(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
  const names = Object.keys(FUNCTION_FIGURES);
  fc.assert(
    fc.property(
      fc.array(value, { minLength: names.length, maxLength: names.length }),
      fc.subarray(names),
      fc.integer({ min: -60_000, max: 60_000 }),
      (list, marked, lateMs) => {
        const values = Object.fromEntries(names.map((name, i) => [name, list[i] ?? null]));
        const setBack = new Set(marked.filter((name) => values[name] !== null));
        const sample = { slotMs: START_MS, atMs: START_MS + lateMs, values };
        const packed = packSample({ ...sample, setBack }, FUNCTION_FIGURES);
        const wanted = setBack.size === 0 ? sample : { ...sample, setBack };
        t.strictSame(unpackSample(START_MS, packed, FUNCTION_FIGURES), wanted);
      },
    ),
    { numRuns: 100 },
  );
  t.end();
});

t.test('a foreign text is no sample, and an older sample lacks figures', (t) => {
  for (const text of ['', 'x', '1 2 three', '1  2', '- 1 2', '1 1e999', '1 9'.repeat(9) + '!!'])
    t.equal(unpackSample(START_MS, text, FUNCTION_FIGURES), null, text);
  const older = unpackSample(START_MS, '5 10 7!', FUNCTION_FIGURES);
  t.match(older, { atMs: START_MS + 5, values: { appended: 10, done: 7, lag: null } });
  t.strictSame([...(older?.setBack ?? [])], ['done']);
  t.end();
});

t.test('no rate is below zero, and a time without a sample has no value', (t) => {
  fc.assert(
    fc.property(walk, fc.integer({ min: 2, max: 80 }), (samples, points) => {
      const { times, stepMs, series } = seriesOfSamples(
        samples,
        FUNCTION_FIGURES,
        gridOf(59, points),
      );
      t.ok(times.length <= points, `${times.length} of ${points}`);
      for (const [name, values] of Object.entries(series)) {
        t.equal(values.length, times.length, name);
        for (const [i, value] of values.entries()) {
          const from = times[i] as number;
          t.equal(from % stepMs, 0, 'aligned');
          const inside = samples.filter(({ slotMs }) => slotMs >= from && slotMs < from + stepMs);
          if (value === null) continue;
          t.ok(value >= 0, `${name} ${value}`);
          t.ok(inside.length > 0, `${name} was invented`);
        }
      }
      for (const [i, value] of (series['lag'] ?? []).entries()) {
        const from = times[i] as number;
        const inside = samples.filter(({ slotMs }) => slotMs >= from && slotMs < from + stepMs);
        const levels = inside.map(({ values }) => values['lag'] as number);
        t.equal(value, levels.length === 0 ? null : Math.max(...levels), 'the highest');
      }
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('rates add up to the growth where nothing is missing', (t) => {
  const growths = fc.array(fc.tuple(fc.nat(5000), fc.nat(20_000)), { minLength: 2, maxLength: 60 });
  fc.assert(
    fc.property(growths, (steps) => {
      let appended = 0;
      const samples = steps.map(([more, lateMs], minute) =>
        at(minute, { appended: (appended += more) }, lateMs),
      );
      const { series } = seriesOfSamples(samples, FUNCTION_FIGURES, gridOf(steps.length - 1, 60));
      const total = (series['appended'] ?? []).reduce<number>((sum, rate, i) => {
        const [before, sample] = [samples[i - 1], samples[i]];
        if (rate === null || !before || !sample) return sum;
        return sum + (rate * (sample.atMs - before.atMs)) / MINUTE_MS;
      }, 0);
      t.equal(Math.round(total), appended - (steps[0]?.[0] ?? 0));
    }),
    { numRuns: 50 },
  );
  t.end();
});

t.test('rates after a gap and after a reset are not known; levels are', (t) => {
  const samples = [
    at(0, { appended: 100, lag: 1 }),
    at(1, { appended: 160, lag: 2 }),
    at(3, { appended: 400, lag: 4 }),
    at(4, { appended: 10, lag: 5 }),
    at(5, { appended: 30, lag: 6 }),
  ];
  const { series } = seriesOfSamples(samples, FUNCTION_FIGURES, gridOf(6, 10));
  t.strictSame(series['appended'], [null, 60, null, null, null, 20, null]);
  t.strictSame(series['lag'], [1, 2, null, 4, 5, 6, null]);
  t.end();
});

t.test('a replay takes dead events off, and sets nothing back', (t) => {
  const samples = [
    at(0, { appended: 10, done: 5, died: 5 }),
    at(1, { appended: 12, done: 8, died: 1 }),
  ];
  const { series } = seriesOfSamples(samples, FUNCTION_FIGURES, gridOf(1, 2));
  t.match(series, { appended: [null, 2], done: [null, 3], died: [null, 0] });
  t.end();
});

t.test('a rewind to the start: no arrivals are invented', (t) => {
  // The rewound function counts more appended events than before, and none that are done.
  const samples = [at(0, { appended: 10, done: 10 }), at(1, { appended: 5000, done: 0 })];
  const { series } = seriesOfSamples(samples, FUNCTION_FIGURES, gridOf(1, 2));
  t.match(series, { appended: [null, null], done: [null, null] });
  t.end();
});

t.test("the deployment's appended events do not depend on a rewound function", (t) => {
  const values = { died: 0, waiting: 0, usedBytes: null, limitBytes: null, dispatchers: 1 };
  const sample = (minute: number, appended: number, done: number): TrendSample => {
    const slotMs = START_MS + minute * MINUTE_MS;
    return { slotMs, atMs: slotMs, values: { ...values, appended, done } };
  };
  const { series } = seriesOfSamples(
    [sample(0, 100, 100), sample(1, 130, 0)],
    DEPLOYMENT_FIGURES,
    gridOf(1, 2),
  );
  t.match(series, { appended: [null, 30], done: [null, null], usedBytes: [null, null] });
  t.end();
});

t.test('ten minutes become one sample: last totals, highest levels', (t) => {
  const minutes = Array.from({ length: 21 }, (_, minute) =>
    at(minute, { appended: minute * 10, lag: minute === 14 ? 99 : 1 }),
  );
  const ten = 10 * MINUTE_MS;
  const folded = foldSamples(minutes, ten, FUNCTION_FIGURES, START_MS);
  t.match(folded, [
    { slotMs: START_MS + ten, atMs: START_MS + ten, values: { appended: 100, lag: 1 } },
    { slotMs: START_MS + 2 * ten, atMs: START_MS + 2 * ten, values: { appended: 200, lag: 99 } },
  ]);
  t.equal(folded.length, 2, 'the sample at the start belongs to the step before');
  t.end();
});

t.test('ten minutes with a reset inside have no rate, although the total is higher', (t) => {
  const minutes = [
    at(0, { appended: 100 }),
    at(9, { appended: 150 }),
    at(10, { appended: 160 }),
    // FLUSHALL: the total begins anew, and passes the old one within the step.
    at(11, { appended: 5 }),
    at(20, { appended: 900 }),
    at(30, { appended: 950 }),
  ];
  const ten = 10 * MINUTE_MS;
  const samples = [
    { ...at(0, { appended: 100 }) },
    ...foldSamples(minutes, ten, FUNCTION_FIGURES, START_MS),
  ];
  const grid = { fromMs: START_MS, toMs: START_MS + 3 * ten, everyMs: ten, points: 4 };
  const { series } = seriesOfSamples(samples, FUNCTION_FIGURES, grid);
  t.strictSame(series['appended'], [null, 6, null, 5]);
  t.end();
});

t.test('a reset between two steps is seen, too', (t) => {
  const ten = 10 * MINUTE_MS;
  const minutes = [at(10, { appended: 160 }), at(11, { appended: 5 }), at(20, { appended: 900 })];
  const [step] = foldSamples(minutes, ten, FUNCTION_FIGURES, START_MS + ten);
  t.match(step, { slotMs: START_MS + 2 * ten, values: { appended: 900 } });
  t.ok(step?.setBack?.has('appended'));
  t.end();
});

t.test('three hours come by the minute, more by ten minutes', (t) => {
  const hour = 60 * MINUTE_MS;
  t.equal(stepFor(3 * hour, MINUTE_MS), '1m');
  t.equal(stepFor(3 * hour + 1, MINUTE_MS), '10m');
  t.equal(keptSamples('1m') * MINUTE_MS, 3 * hour);
  t.equal(keptSamples('10m') * 10 * MINUTE_MS, 72 * hour);
  t.equal(alignedTo(START_MS + 59_999, MINUTE_MS), START_MS);
  t.end();
});
