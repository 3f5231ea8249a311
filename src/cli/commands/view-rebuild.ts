/** `millrace view rebuild`: builds a version of a view beside the live one. */
import type { Command } from 'commander';
import { join, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { monotonicMs } from '../../core/clock.ts';
import { rebuildSettings } from '../../config.ts';
import type { FunctionInfo } from '../../pipeline/run/describe-functions.ts';
import { Millrace } from '../../millrace.ts';
import { buildFromHistories, type ViewFold } from '../../views/history-pass.ts';
import type { RebuildProgress } from '../../views/pace.ts';
import { chooseVersion, completeRebuild, type Rebuilt } from '../../views/rebuild.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { duration, safeJson } from '../printable.ts';
import { ownFiles } from './start.ts';

export function registerRebuild(view: Command, context: LongRunningContext): void {
  view
    .command('rebuild')
    .description('build the version of the folder beside the live one, verify it, and make it live')
    .argument('<view>', 'name of the view')
    .option('--dir <dir>', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that declare the event types', './proto')
    .option(
      '--version <n>',
      'version to build, if the folder has several (default: the highest)',
      wholeNumber(1, 999_999_999),
    )
    .option('--no-switch', 'build and verify only, do not make it live')
    .option('--incomplete', 'go on although retention trimmed events that no history holds')
    .option('--json', 'print progress and result as JSON lines')
    .addHelpText(
      'after',
      `
The rebuild reads the streams from their beginning. Where they are trimmed it reads the histories.
Only this view runs here, and no other function. Dispatchers that serve the same version help.
A rebuild that was stopped or killed goes on where it was: run the same command again.
The old version is kept: go back with millrace view rollback, or remove it with millrace view drop.
Deploy the new version afterwards. Its dispatchers then keep it up to date.`,
    )
    .action((name: string, flags: RebuildFlags) => rebuild(name, flags, context));
}

interface RebuildFlags {
  readonly dir: string;
  readonly proto: string;
  readonly version?: number;
  readonly switch: boolean;
  readonly incomplete?: boolean;
  readonly json?: boolean;
}

/** Most problems of a version that are printed. */
const SHOWN_PROBLEMS = 20;

async function rebuild(
  name: string,
  flags: RebuildFlags,
  context: LongRunningContext,
): Promise<void> {
  const stop = context.takeStop();
  const deployment = await context.open({
    protoDir: flags.proto,
    name: 'rebuild',
    settleSchemas: true,
    failFast: 'first',
    environment: rebuildSettings(),
  });
  const line = createProgressLine(name, flags, context);
  let chosen: FunctionInfo | null = null;
  const dispatcher = new Millrace(deployment).dispatcher({
    functionsDir: resolve(flags.dir),
    skipFiles: ownFiles(join(flags.dir)),
    choose: (found) => {
      const { dir: folder, version } = flags;
      chosen = chooseVersion(found, { view: name, version, folder });
      return [chosen];
    },
    beforeLanes: ([view]) =>
      buildFromHistories(deployment, view as ViewFold, {
        incomplete: flags.incomplete ?? false,
        signal: stop.first,
        progress: line.show,
        begun: (partitions, events) => {
          context.err(
            `millrace: streams trimmed: building ${(view as ViewFold).spec.name} from histories in ${plural(partitions, 'partition')}, ${plural(events, 'event')}`,
          );
        },
      }),
  });
  try {
    if (stop.first.aborted) return;
    await dispatcher.start();
    const { spec } = chosen as unknown as FunctionInfo;
    const version = spec.view?.version as number;
    const incomplete = flags.incomplete ?? false;
    const rebuilt = await audited(deployment, {
      action: 'view rebuild',
      target: `${name}@${version}`,
      wanted: { switch: flags.switch, incomplete },
      make: () =>
        completeRebuild(deployment, {
          view: name,
          version,
          incomplete,
          makeLive: flags.switch,
          fold: dispatcher.viewFolds[0] ?? null,
          progress: line.show,
          signal: stop.first,
        }),
      after: (result) => result && stateAfter(result),
    });
    print(name, rebuilt, flags, context);
  } catch (error) {
    if (!stop.first.aborted) throw error;
    context.err(
      'millrace: stopped; the rows built so far are kept. Run the same command again to go on',
    );
    context.fail();
  } finally {
    line.stop();
    await dispatcher.stop();
  }
}

function stateAfter({ verified, before, live }: Rebuilt): object {
  const { rows, events, problems } = verified;
  return { before, live, rows, events, problems: problems.length };
}

function print(
  name: string,
  { generation, verified, before, live }: Rebuilt,
  flags: RebuildFlags,
  context: LongRunningContext,
): void {
  const { version } = generation;
  if (flags.json) context.out(safeJson({ view: name, version, ...verified, live }));
  if (verified.problems.length > 0) {
    for (const problem of verified.problems.slice(0, SHOWN_PROBLEMS))
      context.err(`millrace: ${generation.name}: ${problem}`);
    context.err(`millrace: version ${before} stays live`);
    context.fail();
  } else if (!flags.json) {
    const kept = live !== before ? `, ${before} is kept (millrace view rollback ${name})` : '';
    context.out(
      `${name}: version ${version} has ${plural(verified.rows, 'row')} from ${plural(verified.events, 'event')}, verified; version ${live} is live${kept}`,
    );
  }
}

interface ProgressLine {
  readonly show: (now: RebuildProgress) => void;
  readonly stop: () => void;
}

/**
 * Creates the progress output: JSON lines with --json, a bar on a terminal, else a line every two
 * seconds.
 */
function createProgressLine(
  name: string,
  flags: RebuildFlags,
  context: LongRunningContext,
): ProgressLine {
  if (flags.json)
    return { show: (now) => context.out(safeJson({ progress: now })), stop: () => {} };
  return process.stderr.isTTY ? createBar(name) : createLines(name, context);
}

function createBar(name: string): ProgressLine {
  const bar = new SingleBar(
    {
      format: `${name} {bar} {value}/{total} events from the {from}, {rate}/s, {eta_text} left`,
      stream: process.stderr,
      hideCursor: true,
    },
    Presets.shades_classic,
  );
  let started = false;
  return {
    show(now) {
      const fields = { ...paceOf(now), from: now.from };
      if (!started) bar.start(now.appended, now.settled, fields);
      started = true;
      bar.setTotal(now.appended);
      bar.update(now.settled, fields);
    },
    stop: () => bar.stop(),
  };
}

/** Time between two lines, ms. */
const LINE_MS = 2_000;

function createLines(name: string, context: LongRunningContext): ProgressLine {
  let shownMs = monotonicMs();
  return {
    show(now) {
      if (monotonicMs() - shownMs <= LINE_MS) return;
      shownMs = monotonicMs();
      const { rate, eta_text: left } = paceOf(now);
      context.err(
        `millrace: ${name}: ${formatCount(now.settled)} of ${plural(now.appended, 'event')} from the ${now.from}, ${rate}/s, ${left} left`,
      );
    },
    stop: () => {},
  };
}

function paceOf(now: RebuildProgress): { readonly rate: string; readonly eta_text: string } {
  return {
    rate: formatCount(now.eventsPerSecond),
    eta_text: now.etaMs === null ? '?' : duration(now.etaMs),
  };
}
