/**
 * `npm run chaos`: every fault with every seed, one table, exit status 1 when a guarantee was
 * broken.
 */
import { writeFileSync } from 'node:fs';
import Table from 'cli-table3';
import type { Fault } from './fault.ts';
import { readOptions, UsageError, USAGE, type ChaosOptions } from './options.ts';
import { runSeed, type SeedResult } from './run-seed.ts';
import { SkippedRun } from './server-clock.ts';

type Outcome =
  | Omit<SeedResult, 'history'>
  | { readonly fault: string; readonly seed: number; readonly failed: string }
  | { readonly fault: string; readonly seed: number; readonly skipped: string };

async function main(options: ChaosOptions): Promise<number> {
  const queue = options.seeds.flatMap((seed) => options.faults.map((fault) => ({ fault, seed })));
  const outcomes: Outcome[] = [];
  let interrupted = false;
  process.once('SIGINT', () => (interrupted = true));
  const total = queue.length;
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined && !interrupted; next = queue.shift()) {
      const outcome = await one(next.fault, next.seed, options);
      outcomes.push(outcome);
      process.stderr.write(`${outcomes.length}/${total} ${line(outcome)}\n`);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, worker));
  process.stdout.write(`${table(options.faults, outcomes)}\n`);
  if (options.json !== null)
    writeFileSync(options.json, JSON.stringify({ node: process.version, outcomes }, null, 1));
  return outcomes.length < total ||
    outcomes.some(
      (outcome) =>
        'failed' in outcome || ('violations' in outcome && outcome.violations.length > 0),
    )
    ? 1
    : 0;
}

async function one(fault: Fault, seed: number, { keepDir, bug }: ChaosOptions): Promise<Outcome> {
  try {
    const { history: _, ...result } = await runSeed({
      fault,
      seed,
      ...(keepDir === null ? {} : { keepDir }),
      ...(bug === null ? {} : { bug }),
    });
    return result;
  } catch (error) {
    if (error instanceof SkippedRun) return { fault: fault.name, seed, skipped: error.message };
    return { fault: fault.name, seed, failed: (error as Error).stack ?? String(error) };
  }
}

function line(outcome: Outcome): string {
  const head = `${outcome.fault} seed ${outcome.seed}`;
  if ('skipped' in outcome) return `${head}: skipped: ${outcome.skipped}`;
  if ('failed' in outcome) return `${head}: the run failed: ${outcome.failed}`;
  const { events, acknowledged, handled, dead, drainMs, takeoverMs, violations } = outcome;
  const facts = `${events} events, ${acknowledged} acknowledged, ${handled} handled, ${dead} dead, drained in ${drainMs ?? '-'} ms${takeoverMs === null ? '' : `, taken over in ${takeoverMs} ms`}`;
  return [
    `${head}: ${facts}: ${violations.length === 0 ? 'no violation' : `${violations.length} VIOLATIONS`}`,
    ...violations.slice(0, 8).map(({ rule, what }) => `   ${rule}: ${what}`),
  ].join('\n');
}

function table(faults: readonly Fault[], outcomes: readonly Outcome[]): string {
  const rows = new Table({
    head: [
      'fault',
      'seeds',
      'failed runs',
      'violations',
      'events',
      'acknowledged',
      'handled',
      'dead',
      'drain max ms',
      'takeover max ms',
      'bound ms',
      'RSS max MB',
    ],
    style: { head: [], border: [] },
  });
  for (const { name } of faults) {
    const runs = outcomes.filter((outcome) => outcome.fault === name);
    const results = runs.filter(
      (outcome): outcome is Omit<SeedResult, 'history'> => 'violations' in outcome,
    );
    const sum = (of: (result: Omit<SeedResult, 'history'>) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    const max = (of: (result: Omit<SeedResult, 'history'>) => number | null): string => {
      const known = results.map(of).filter((value): value is number => value !== null);
      return known.length === 0 ? '' : String(Math.max(...known));
    };
    rows.push([
      name,
      results.length === 0 && runs.some((outcome) => 'skipped' in outcome)
        ? 'skipped'
        : runs.length,
      runs.filter((outcome) => 'failed' in outcome).length,
      sum((r) => r.violations.length),
      sum((r) => r.events),
      sum((r) => r.acknowledged),
      sum((r) => r.handled),
      sum((r) => r.dead),
      max((r) => r.drainMs),
      max((r) => r.takeoverMs),
      max((r) => (r.takeoverMs === null ? null : r.takeoverBoundMs)),
      max((r) => r.peakRssMb),
    ]);
  }
  return rows.toString();
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(`${USAGE}\n`);
  else process.exitCode = await main(options);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}\n`);
  process.exitCode = 2;
}
