/**
 * `npm run bench`: measures, checks its measurements, prints a table, writes JSON. Exits with 1 if
 * an event is unaccounted for or a scenario fails.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { benchBinary } from './bench-server.ts';
import { readOptions, RIVALS, SCENARIOS, USAGE, UsageError, type BenchOptions } from './options.ts';
import { ratiosOf } from './ratios.ts';
import { Repeated, type Measurement } from './repeated.ts';
import { describeEnvironment, tableOf, type BenchResult } from './result.ts';
import { rivalCases } from './rivals.ts';
import { casesOf } from './scenarios.ts';

/** Names that --quick leaves out: others run the same code. --only runs them. */
const LEFT_OUT: readonly string[] = ['view-drain', 'rebuild', 'latency-33k', 'io', 'watch-append'];

const say = (text: string): void => console.error(`bench: ${text}`);

/** Returns everything that the options ask for, with names. */
function measurements(options: BenchOptions): Measurement[] {
  const wanted = (name: string): boolean =>
    options.only.length > 0
      ? options.only.includes(name)
      : !(options.quick && LEFT_OUT.includes(name));
  return options.fsync.flatMap((fsync) => {
    const label = (name: string): string =>
      options.fsync.length > 1 ? `${name}, appendfsync ${fsync}` : name;
    const own = SCENARIOS.filter(wanted).flatMap((name) =>
      casesOf(name, options, fsync, say).map((run) => ({ name: label(name), run })),
    );
    const rivals = RIVALS.filter((name) => options.rivals && wanted(name)).flatMap((name) =>
      rivalCases(name, options, fsync, say).map((run) => ({ name: label(name), run })),
    );
    return [...own, ...rivals];
  });
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }
  if (options.cpuProf !== null) mkdirSync(options.cpuProf, { recursive: true });
  const environment = describeEnvironment(options, await benchBinary());
  // A smoke test may disturb itself.
  const runs = new Repeated(options.runs, options.quick ? availableParallelism() : 1, say);
  await runs.run(measurements(options));
  const scenarios = runs.results();
  const { failed } = runs;
  const result: BenchResult = { environment, scenarios, ratios: ratiosOf(scenarios) };
  console.log(tableOf(result));
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  const lost = scenarios.filter((s) => !s.accounted);
  for (const { name } of lost)
    say(`${name}: events are not accounted for; its figures are worthless`);
  const disturbed = scenarios.filter(({ others }) => others?.disturbed).length;
  if (disturbed > 0)
    say(`other processes disturbed ${disturbed} of ${scenarios.length} results: see the table`);
  if (failed.size > 0) say(`failed: ${[...failed].join(', ')}`);
  return lost.length + failed.size > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  say(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
