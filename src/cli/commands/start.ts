/** `millrace start`: runs a dispatcher over a folder of functions until a signal ends it. */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import { createMetrics, recentLag, startAdmin } from '../../admin/admin.ts';
import { startAlerts } from '../../admin/start-alerts.ts';
import { startTrend } from '../../admin/start-trend.ts';
import { notifyAddress, readEnvironment } from '../../config.ts';
import { monotonicMs, sleep } from '../../core/clock.ts';
import { ConfigError } from '../../core/errors/input-errors.ts';
import { readProtoFolder } from '../../deployment.ts';
import { describeFunctions } from '../../pipeline/run/describe-functions.ts';
import { logWith, Millrace } from '../../millrace.ts';
import type { LongRunningContext, Stop } from '../context.ts';
import { createLogger } from '../create-logger.ts';
import { plural } from '../options.ts';
import { ServiceManager } from '../service-manager.ts';
import { settingsHelp } from '../settings-help.ts';
import { packageFolder } from '../../core/package-info.ts';

/** Longest duration of a stop at once, ms. */
const AT_ONCE_MS = 1000;

export function registerStart(program: Command, context: LongRunningContext): void {
  program
    .command('start')
    .description('run the functions of a folder until SIGTERM or SIGINT')
    .argument('[dir]', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that declare the event types', './proto')
    .addHelpText(
      'after',
      `
Logs go to stdout as JSON lines. On a terminal they are readable if the project has pino-pretty.
One line on stderr says when all lanes run.
The first SIGTERM or SIGINT drains: no event is started any more, running handlers have
MILLRACE_DRAIN_MS to finish, and finished events are committed. The second signal stops at once.
Exit status 0: the drain was clean. 1: the start failed, or the drain cut handlers off. Their events
run again.

Example:
  WORKERS=4 LOG_LEVEL=info millrace start ./workers --proto ./proto

${settingsHelp()}`,
    )
    .action((dir: string, options: { proto: string }) => start(dir, options.proto, context));
}

async function start(dir: string, protoDir: string, context: LongRunningContext): Promise<void> {
  const stop = context.takeStop();
  const all = <T>(attempt: () => T | Promise<T>): Promise<T> =>
    withFunctionProblems(attempt, dir, protoDir);
  const environment = await all(() => context.environment());
  const logger = await createLogger(environment.LOG_LEVEL);
  const waiting = (message: string): void => {
    logger.warn(message);
    context.err(`millrace: ${message}`);
    manager.waits(message);
  };
  const manager = new ServiceManager({
    address: notifyAddress(),
    health: () => dispatcher.health(),
    log: logWith(logger),
  });
  const deployment = await untilStopped(
    stop.first,
    all(() =>
      context.open({
        protoDir,
        log: logWith(logger),
        name: 'start',
        settleSchemas: true,
        failFast: 'none',
        whenRefused: { signal: stop.first, waiting },
      }),
    ),
  );
  if (deployment === null) return;
  if (stop.first.aborted) return;
  const lag = recentLag(deployment);
  const alerts = await startAlerts(deployment, lag);
  const millrace = new Millrace(deployment);
  const dispatcher = millrace.dispatcher({ functionsDir: dir, skipFiles: ownFiles(dir), waiting });
  const metrics = createMetrics(deployment, millrace.meters, lag);
  const functions = { dir, skipFiles: ownFiles(dir) };
  const admin = await startAdmin(deployment, { dispatcher, metrics, lag, functions });
  const stopped = aborted(stop.first);
  const starting = dispatcher.start();
  if ((await Promise.race([starting.then(() => 'running' as const), stopped])) !== 'running') {
    // The signal came during the start: no event runs that has to be finished.
    starting.catch(() => {});
    await Promise.all([dispatcher.stop(0), admin?.close(), alerts?.stop()]);
    return;
  }
  const names = dispatcher.functions.map((f) => f.spec.name);
  context.err(
    `millrace: ready: ${plural(names.length, 'function')} (${names.join(', ')}), ${plural(dispatcher.lanesOwned, 'lane')}${toCome(dispatcher.lanesToCome)}, ` +
      `${plural(environment.WORKERS, 'worker thread')}, ${deployment.ownsServer ? 'embedded server' : deployment.connection.target}${admin ? `, admin ${admin.url}` : ''}`,
  );
  const trend = startTrend(deployment, lag);
  manager.start();
  const failure = await Promise.race([stopped, dispatcher.failed]);
  manager.stopping(environment.MILLRACE_DRAIN_MS);
  if (failure !== 'stop') {
    context.err(`millrace: ${failure.message}`);
    context.fail();
  }
  // /readyz answers 503 from here on. The admin server closes last.
  const drained = drain(dispatcher, environment.MILLRACE_DRAIN_MS, stop, context, logger);
  await Promise.all([drained, alerts?.stop(), trend?.stop()]);
  await Promise.all([manager.stop(), admin?.close()]);
}

function toCome(lanes: number): string {
  return lanes === 0 ? '' : ` (${lanes} more of its share follow as others give them back)`;
}

/** Waits for the opening. Null: a signal came while Redis refused writes. */
async function untilStopped<T>(stop: AbortSignal, opening: Promise<T>): Promise<T | null> {
  try {
    return await opening;
  } catch (error) {
    if (stop.aborted && error === stop.reason) return null;
    throw error;
  }
}

/**
 * Makes the attempt. If settings or server are wrong, the error also names the problems of the
 * functions: one start names them all.
 * @throws ConfigError
 */
async function withFunctionProblems<T>(
  attempt: () => T | Promise<T>,
  dir: string,
  protoDir: string,
): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { catalog, problems } = readProtoFolder(protoDir);
    try {
      await describeFunctions({
        functionsDir: dir,
        skipFiles: ownFiles(dir),
        environment: readEnvironment({}),
        catalog: problems.length > 0 ? null : catalog,
        url: '',
      });
    } catch (more) {
      if (!(more instanceof ConfigError)) throw error;
      problems.push(...more.problems);
    }
    throw new ConfigError([...new Set([...error.problems, ...problems])]);
  }
}

async function drain(
  dispatcher: {
    stop(deadlineMs?: number): Promise<void>;
    abort(): void;
    readonly cutOff: number;
    readonly repeats: number;
  },
  drainMs: number,
  stop: Stop,
  context: LongRunningContext,
  logger: Logger,
): Promise<void> {
  logger.info({ reason: stop.reason, drainMs }, 'draining');
  const startedMs = monotonicMs();
  const before = { repeats: dispatcher.repeats };
  const stopping = dispatcher.stop(drainMs).then(() => 'drained' as const);
  const outcome = await Promise.race([stopping, aborted(stop.second)]);
  const { repeats } = before;
  if (outcome !== 'drained') {
    dispatcher.abort();
    // Wait until the leases are given back, so that no other dispatcher presumes a crash. A silent
    // server must not delay the end: the leases then expire by themselves.
    await Promise.race([stopping.catch(() => {}), sleep(AT_ONCE_MS)]);
    context.err('millrace: stopped at once: running events were not committed and will run again');
    context.fail();
  } else if (dispatcher.cutOff > 0 || dispatcher.repeats > repeats) {
    const running =
      dispatcher.cutOff > 0 ? `${plural(dispatcher.cutOff, 'running event')} will run again` : '';
    const done =
      dispatcher.repeats > repeats
        ? `${plural(dispatcher.repeats - repeats, 'event')} that had been done could not be committed and will run again`
        : '';
    context.err(
      `millrace: the drain was cut short after ${drainMs} ms (MILLRACE_DRAIN_MS): ${[running, done].filter((text) => text !== '').join('; ')}`,
    );
    context.fail();
  } else {
    logger.info({ drainedMs: Math.round(monotonicMs() - startedMs) }, 'drained');
  }
}

function aborted(signal: AbortSignal): Promise<'stop'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('stop');
    else signal.addEventListener('abort', () => resolve('stop'), { once: true });
  });
}

/**
 * Returns the files of the folder that are no functions. Millrace's own folder `workers` also holds
 * the entry of the pool's threads.
 */
export function ownFiles(dir: string): string[] {
  try {
    const own = realpathSync(join(fileURLToPath(packageFolder()), 'workers'));
    return realpathSync(resolve(dir)) === own ? ['thread.ts'] : [];
  } catch {
    return [];
  }
}
