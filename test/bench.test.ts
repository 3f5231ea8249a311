import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { Histogram } from '../scripts/bench/histogram.ts';
import { expectedSeen, note, sameSeen } from '../scripts/bench/order.ts';
import type { BenchResult } from '../scripts/bench/result.ts';

const run = promisify(execFile);
const main = fileURLToPath(new URL('../scripts/bench/main.js', import.meta.url));

t.test('the benchmark runs, accounts for every event, and writes its JSON', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bench-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'bench.json');
  const { stdout } = await run(
    process.execPath,
    [main, '--quick', '--events', '3000', '--only', 'drain,lag', '--no-rivals', '--json', file],
    { timeout: 100_000 },
  );
  t.match(stdout, /events\/s.*M\/min/, 'prints a table');
  const result = JSON.parse(readFileSync(file, 'utf8')) as BenchResult;
  t.equal(result.environment['node'], process.version);
  t.strictSame(
    result.scenarios.map((s) => s.name),
    ['drain', 'lag'],
  );
  for (const scenario of result.scenarios) {
    t.equal(scenario.accounted, true, `${scenario.name}: every event is accounted for`);
    t.ok(scenario.eventsPerSecond > 0);
    t.ok((scenario.rssMb ?? 0) > 0);
  }
  const [drain, latency] = result.scenarios;
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
