import { parseArgs } from 'node:util';
import { BUGS, SERVER_BUGS, type Bug, type ServerBug } from './bugs.ts';
import { FAULTS } from './faults/index.ts';
import type { Fault } from './fault.ts';

export interface ChaosOptions {
  readonly faults: readonly Fault[];
  readonly seeds: readonly number[];
  readonly jobs: number;
  readonly json: string | null;
  readonly keepDir: string | null;
  /** Bug to put into the processes, to see whether it is caught. */
  readonly bug: Bug | ServerBug | null;
}

const width = Math.max(...FAULTS.map((fault) => fault.name.length)) + 2;

export const USAGE = `npm run chaos -- [options]
  --seeds N          seeds 1 to N for each fault (default 3)
  --seed N[-M]       this seed, or these seeds, only: repeats runs
  --fault NAME,NAME  these faults only
  --jobs N           runs side by side (default 1)
  --json FILE        write the results as JSON
  --keep DIR         keep history and logs of runs with violations there
  --bug NAME         with this bug, to see that it is caught (see below)
Exit status: 0 without violations, 1 with, 2 wrong use.

Faults:
${FAULTS.map((fault) => `  ${fault.name.padEnd(width)}${fault.about}`).join('\n')}

Bugs of dispatchers:
${BUGS.map((bug) => `  ${bug}`).join('\n')}
Bugs of the server, for torn-file and torn-file-twice:
${SERVER_BUGS.map((bug) => `  ${bug}`).join('\n')}`;

export class UsageError extends Error {}

/** @throws UsageError */
export function readOptions(argv: readonly string[]): ChaosOptions | 'help' {
  const option = { type: 'string' } as const;
  let values;
  try {
    values = parseArgs({
      args: [...argv],
      options: {
        seeds: option,
        seed: option,
        fault: option,
        jobs: option,
        json: option,
        keep: option,
        bug: option,
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return 'help';
  const whole = (name: 'seeds' | 'jobs', max: number): number | null => {
    const text = values[name];
    if (text === undefined) return null;
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new UsageError(`--${name} must be a whole number from 1 to ${max}, got ${text}`);
    return value;
  };
  const seeds = whole('seeds', 10_000);
  if (values.seed !== undefined && seeds !== null)
    throw new UsageError('--seed and --seeds exclude each other');
  const [, from = '', to = from] =
    /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(values.seed ?? `1-${seeds ?? 3}`) ?? [];
  if (from === '' || Number(to) < Number(from))
    throw new UsageError(
      `--seed must be a whole number, or two like 11-20, got ${String(values.seed)}`,
    );
  const names = (values.fault ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const name of names) {
    if (!FAULTS.some((fault) => fault.name === name))
      throw new UsageError(
        `--fault names "${name}"; known are ${FAULTS.map((fault) => fault.name).join(', ')}`,
      );
  }
  const bug = [...BUGS, ...SERVER_BUGS].find((known) => known === values.bug) ?? null;
  if (values.bug !== undefined && bug === null)
    throw new UsageError(
      `--bug names "${values.bug}"; known are ${[...BUGS, ...SERVER_BUGS].join(', ')}`,
    );
  return {
    bug,
    faults: names.length === 0 ? FAULTS : FAULTS.filter((fault) => names.includes(fault.name)),
    seeds: Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i),
    jobs: whole('jobs', 64) ?? 1,
    json: values.json ?? null,
    keepDir: values.keep ?? null,
  };
}
