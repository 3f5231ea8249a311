/**
 * `npm run bench`: measures, checks its measurements, prints a table, writes JSON. Exits with 1 if
 * an event is unaccounted for or a scenario fails.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { benchBinary } from './bench-server.ts';
import { readOptions, RIVALS, SCENARIOS, USAGE, UsageError } from './options.ts';
import {
  describeEnvironment,
  ratiosOf,
  tableOf,
  type BenchResult,
  type ScenarioResult,
} from './result.ts';
import { runRival } from './rivals.ts';
import { runScenario } from './scenarios.ts';

const say = (text: string): void => console.error(`bench: ${text}`);

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(USAGE);
    return 0;
  }
  if (options.cpuProf !== null) mkdirSync(options.cpuProf, { recursive: true });
  const environment = describeEnvironment(options, await benchBinary());
  const wanted = (name: string): boolean =>
    options.only.length === 0 || options.only.includes(name);
  const scenarios: ScenarioResult[] = [];
  const add = (result: ScenarioResult): void => {
    scenarios.push(result);
    say(
      `${result.name}: ${result.eventsPerSecond.toLocaleString('en-US')} events/s${result.p99Ms === null ? '' : `, p99 ${result.p99Ms} ms`}`,
    );
  };
  const failed: string[] = [];
  /** A scenario that fails does not take the others' figures along. */
  const attempt = async (name: string, run: () => Promise<ScenarioResult[]>): Promise<void> => {
    try {
      for (const result of await run()) add(result);
    } catch (error) {
      failed.push(name);
      say(
        `${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    }
  };
  for (const fsync of options.fsync) {
    for (const name of SCENARIOS) {
      if (!wanted(name)) continue;
      say(options.fsync.length > 1 ? `${name}, appendfsync ${fsync}` : name);
      await attempt(name, () => runScenario(name, options, fsync, say));
    }
  }
  for (const name of RIVALS) {
    if (!options.rivals || !wanted(name)) continue;
    say(name);
    await attempt(name, () => runRival(name, options, say));
  }
  const result: BenchResult = { environment, scenarios, ratios: ratiosOf(scenarios) };
  console.log(tableOf(result));
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  const lost = scenarios.filter((s) => !s.accounted);
  for (const { name } of lost)
    say(`${name}: events are not accounted for; its figures are worthless`);
  if (failed.length > 0) say(`failed: ${failed.join(', ')}`);
  return lost.length + failed.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  say(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
