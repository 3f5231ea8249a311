import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { drawCharts } from '../scripts/bench/draw-charts.ts';
import { Histogram } from '../scripts/bench/histogram.ts';
import { RIVALS, SCENARIOS, USAGE } from '../scripts/bench/options.ts';
import { expectedSeen, note, sameSeen } from '../scripts/bench/order.ts';
import { othersIn, readStat, ticksBelow } from '../scripts/bench/others.ts';
import { ratiosOf } from '../scripts/bench/ratios.ts';
import { rateResult, tableOf, type BenchResult } from '../scripts/bench/result.ts';
import { rssGrowth } from '../scripts/bench/rss-samples.ts';
import { resultOfRuns } from '../scripts/bench/runs.ts';

const run = promisify(execFile);
const main = fileURLToPath(new URL('../scripts/bench/main.js', import.meta.url));

t.test('the benchmark runs, accounts for every event, and writes its JSON', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bench-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'bench.json');
  const { stdout } = await run(
    process.execPath,
    [
      main,
      '--quick',
      '--events',
      '3000',
      '--only',
      'drain,foreign,lag',
      '--no-rivals',
      '--json',
      file,
    ],
    { timeout: 100_000 },
  );
  t.match(stdout, /events\/s.*M\/min/, 'prints a table');
  const result = JSON.parse(readFileSync(file, 'utf8')) as BenchResult;
  t.equal(result.environment['node'], process.version);
  t.strictSame(
    result.scenarios.map((s) => s.name),
    ['drain', 'foreign', 'lag'],
  );
  for (const scenario of result.scenarios) {
    t.equal(scenario.accounted, true, `${scenario.name}: every event is accounted for`);
    t.ok(scenario.eventsPerSecond > 0);
    t.ok((scenario.rssMb ?? 0) > 0);
  }
  const [drain, foreign, latency] = result.scenarios;
  t.equal(foreign?.params['entries'], 3000, 'a foreign event is an entry of its own');
  t.equal(latency?.params['functions'], 2);
  t.equal(drain?.params['events'], 3000);
  t.equal(drain?.p50Ms, null, 'a drain says nothing of latency');
  t.ok((latency?.p50Ms ?? -1) >= 0);
  t.ok((latency?.p99Ms ?? -1) >= (latency?.p50Ms ?? 0));
  t.ok((latency?.maxMs ?? -1) >= (latency?.p999Ms ?? 0));
  t.type(result.ratios, 'object');
});

t.test('bad options exit 2, say what is wrong, and start nothing', async (t) => {
  for (const [argv, text] of [
    [['--only', 'nope'], /--only names "nope"; known are publish, drain/],
    [['--runs', '0'], /--runs must be a whole number from 1/],
    [['--events', '0'], /--events must be a whole number from 1/],
    [['--fsync', 'sometimes'], /--fsync must be always, everysec or both/],
    [['--what'], /--what/],
  ] as const) {
    const failed = await run(process.execPath, [main, ...argv], { timeout: 60_000 }).then(
      () => null,
      (error: unknown) => error as { code: number; stderr: string },
    );
    t.equal(failed?.code, 2, argv.join(' '));
    t.match(failed?.stderr ?? '', text);
  }
});

t.test('the check notices a lost, a doubled and an exchanged event', (t) => {
  const expected = expectedSeen(100);
  const of = (numbers: readonly number[]) => {
    const seen = { count: 0, sum: 0, mixed: 0 };
    for (const number of numbers) note(seen, number);
    return seen;
  };
  const all = Array.from({ length: 100 }, (_, i) => i);
  t.ok(sameSeen(of([...all].reverse()), expected), 'any order');
  t.notOk(sameSeen(of(all.slice(1)), expected), 'lost');
  t.notOk(sameSeen(of([...all, 5]), expected), 'doubled');
  // 10 and 13 lost, 11 and 12 doubled: count and sum are the same
  t.notOk(
    sameSeen(of([...all.filter((n) => n !== 10 && n !== 13), 11, 12]), expected),
    'exchanged',
  );
  t.end();
});

t.test('quantiles are exact', (t) => {
  const histogram = new Histogram();
  t.equal(histogram.quantile(0.5), null);
  histogram.addPairs([3, 1, 1, 98, 7, 1]);
  t.equal(histogram.total, 100);
  t.equal(histogram.quantile(0.5), 1);
  t.equal(histogram.quantile(0.98), 1);
  t.equal(histogram.quantile(0.99), 3);
  t.equal(histogram.quantile(0.999), 7);
  t.equal(histogram.quantile(1), 7);
  t.end();
});

/** A result with a rate, and with what a test says about it. */
const resultOf = (name: string, eventsPerSecond: number, more: object = {}) => ({
  ...rateResult({ name, params: {}, eventsPerSecond, rssMb: 10, accounted: true }),
  ...more,
});

t.test('several runs become medians, with their range', (t) => {
  const others = (mean: number, disturbed: boolean) => ({ mean, worst: mean, steal: 0, disturbed });
  const result = resultOfRuns([
    resultOf('lag', 300, { p99Ms: 9, params: { functions: 4, turns: 10 } }),
    resultOf('lag', 100, { p99Ms: 40, others: others(0.9, true), accounted: false }),
    resultOf('lag', 200, { p99Ms: 8, others: others(0.1, false), params: { turns: 30 } }),
  ]);
  t.equal(result.eventsPerSecond, 200);
  t.equal(result.p99Ms, 9);
  t.equal(result.p50Ms, null, 'no latency stays none');
  t.equal(result.params['turns'], 20);
  t.equal(result.accounted, false, 'one run with a lost event spoils the result');
  t.strictSame(result.runs, {
    count: 3,
    disturbed: 1,
    eventsPerSecond: [100, 300],
    p50Ms: null,
    p99Ms: [8, 40],
  });
  t.equal(result.others?.mean, 0.9, 'the worst run');
  const one = resultOf('drain', 5);
  t.equal(resultOfRuns([one]), one, 'one run is the result');
  const table = tableOf({ environment: {}, scenarios: [result, one], ratios: {} });
  t.match(table, /1 of 3: 0.9 cores, worst 0.9/);
  t.match(table, /100 to 300/);
  t.end();
});

t.test('ratios compare like with like', (t) => {
  const fsync = (appendfsync: string, more: object = {}) => ({ params: { appendfsync, ...more } });
  const ratios = ratiosOf([
    resultOf('drain', 800, fsync('everysec')),
    resultOf('drain', 600, fsync('always')),
    resultOf('bullmq-drain', 20, fsync('everysec')),
    resultOf('bullmq-drain', 10, fsync('always')),
    resultOf('bound-decode', 1600),
    resultOf('publish', 5, { accounted: false }),
    resultOf('ioredis-loop-publish', 5, fsync('everysec')),
    resultOf('fan-out', 9, fsync('everysec', { functions: 1, deliveriesPerSecond: 9 })),
    resultOf('fan-out', 4, fsync('everysec', { functions: 4, deliveriesPerSecond: 18 })),
  ]);
  t.match(ratios, {
    'drain / bullmq': 40,
    'drain / bullmq (always)': 60,
    'drain / bound-decode': 0.5,
    'drain / bound-decode (always)': 0.375,
    'drain: appendfsync always / everysec': 0.75,
    'bullmq-drain: appendfsync always / everysec': 0.5,
    'fan-out: deliveries/s, 4 functions / 1': 2,
  });
  t.notOk('publish / ioredis-loop' in ratios, 'lost events make no ratio');
  t.end();
});

t.test('the CPU time of others marks a run', (t) => {
  const stat = (pid: number, parent: number, ticks: string, name = 'node') =>
    readStat(`${pid} (${name}) S ${parent} 1 1 0 -1 4194560 1 1 1 1 ${ticks} 20 0 1 0 5`);
  const processes = [
    stat(10, 1, '1 2 3 4'),
    stat(11, 10, '100 0 0 0', 'a) S 1 (b'),
    stat(12, 11, '1000 0 0 0'),
    stat(13, 1, '5000 0 0 0'),
  ];
  t.equal(ticksBelow(10, processes), 1110, 'own, dead children, child, grandchild; nobody else');
  t.equal(ticksBelow(99, processes), 0);

  const at = (seconds: number, busy: number, own: number, steal = 0) => ({
    seconds,
    times: { busy, own, steal },
  });
  t.strictSame(othersIn([at(0, 10, 0), at(1, 11.9, 1.9), at(2, 13.9, 3.85)]), {
    mean: 0.03,
    worst: 0.05,
    steal: 0,
    disturbed: false,
  });
  const burst = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((s) => at(s, s > 4 ? 0.8 : 0, 0));
  t.match(othersIn(burst), { mean: 0.08, worst: 0.8, disturbed: true }, 'one bad second');
  t.match(othersIn([at(0, 0, 0), at(10, 2, 0)]), { mean: 0.2, disturbed: true });
  t.match(othersIn([at(0, 0, 0), at(10, 2, 2, 2)]), { mean: 0, steal: 0.2, disturbed: true });
  t.equal(othersIn([at(0, 0, 0)]), null, 'one look tells nothing');
  t.end();
});

t.test('growth of the memory leaves the warm-up out', (t) => {
  const samples = (...mb: number[]) => mb.map((one, i) => [i * 250, one] as const);
  t.equal(rssGrowth(samples(50, 90, 200, 200, 210, 190, 200, 200)), 1);
  t.equal(rssGrowth(samples(50, 90, 100, 100, 200, 210, 300, 300)), 3);
  t.equal(rssGrowth(samples(50, 90, 100)), null, 'too few samples');
  t.end();
});

t.test('charts show the accounted results, and only what there is', (t) => {
  const charts = drawCharts([
    resultOf('drain', 812_000, { params: { appendfsync: 'everysec' } }),
    resultOf('drain', 555_000, { params: { appendfsync: 'always' } }),
    resultOf('bullmq-drain', 21_000),
    resultOf('jetstream-drain', 99_000, { accounted: false }),
    resultOf('lag', 5000, { params: { functions: 16 }, p50Ms: 7, p99Ms: 43 }),
    resultOf('backlog', 9, {
      rssOverTime: [
        [0, 100],
        [250, 200],
      ],
    }),
  ]);
  const throughput = charts.get('throughput') ?? '';
  t.match(throughput, /^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  t.match(throughput, /aria-label="Events a second/);
  for (const text of ['Millrace', '812 k', 'BullMQ', '21 k']) t.match(throughput, `>${text}<`);
  t.notMatch(throughput, /555 k|JetStream/, 'one appendfsync, nothing unaccounted');
  t.match(charts.get('latency-by-functions') ?? '', />43</);
  t.match(charts.get('memory-over-backlog') ?? '', /aria-label="line"/);
  t.equal(charts.get('deliveries-by-functions'), null);
  t.end();
});

t.test('the documentation names each option, scenario and peer', (t) => {
  const text = readFileSync(new URL('../../docs/benchmark.md', import.meta.url), 'utf8');
  const flags = [...USAGE.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag as string);
  for (const name of [...flags, ...SCENARIOS, ...RIVALS])
    t.ok(new RegExp(`\`${name}[\` ]`).test(text), `docs/benchmark.md names ${name}`);
  t.end();
});
