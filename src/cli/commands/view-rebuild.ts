/** `millrace view rebuild`: builds a version of a view beside the live one. */
import type { Command } from 'commander';
import { join, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { rebuildSettings } from '../../config.ts';
import type { FunctionInfo } from '../../pipeline/run/describe-functions.ts';
import { Millrace } from '../../millrace.ts';
import { buildFromHistories, type ViewFold } from '../../views/history-pass.ts';
import type { RebuildProgress } from '../../views/pace.ts';
import { chooseVersion, completeRebuild, type Rebuilt } from '../../views/rebuild.ts';
import type { LongRunningContext } from '../context.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { duration, safeJson } from '../printable.ts';
import { ownFiles } from './start.ts';

export function registerRebuild(view: Command, context: LongRunningContext): void {
  view
    .command('rebuild')
    .description(
      'build the version that the folder holds beside the live one, from the beginning of the streams, or from the histories where they are trimmed; verify it; make it live',
    )
    .argument('<view>', 'its name')
    .option('--dir <dir>', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that declare the event types', './proto')
    .option(
      '--version <n>',
      'which version, where the folder holds several; default: the highest',
      wholeNumber(1, 999_999_999),
    )
    .option('--no-switch', 'build and verify only')
    .option('--incomplete', 'also without events that retention has trimmed and no history holds')
    .option('--json', 'progress and result as JSON lines')
    .addHelpText(
      'after',
      `
Only this view runs here: no function that does anything else. Stopped or killed, it goes on where it was when it is started again.
Dispatchers that serve the same version help. The version that was live is kept: millrace view rollback, and later millrace view drop.
Afterwards deploy the new version: from then on its dispatchers keep it up to date.`,
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

/** Problems of a version that are printed. */
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
    const rebuilt = await completeRebuild(deployment, {
      view: name,
      version: spec.view?.version as number,
      incomplete: flags.incomplete ?? false,
      makeLive: flags.switch,
      fold: dispatcher.viewFolds[0] ?? null,
      progress: line.show,
      signal: stop.first,
    });
    print(name, rebuilt, flags, context);
  } catch (error) {
    if (!stop.first.aborted) throw error;
    context.err('millrace: stopped; what is built is kept, the same command goes on from there');
    context.fail();
  } finally {
    line.stop();
    await dispatcher.stop();
  }
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

/** A bar on a terminal, JSON lines if asked for, else a line every two seconds. */
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

/** Time between two lines, in ms. */
const LINE_MS = 2_000;

function createLines(name: string, context: LongRunningContext): ProgressLine {
  let shownMs = 0;
  return {
    show(now) {
      if (performance.now() - shownMs <= LINE_MS) return;
      shownMs = performance.now();
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
