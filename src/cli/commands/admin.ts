/**
 * `millrace admin`: the admin server in a process of its own, without functions, lanes or threads.
 * So dispatchers may scale to zero, and a laptop may look at another deployment.
 */
import type { Command } from 'commander';
import {
  createMetrics,
  listenAdmin,
  listenWaiting,
  recentLag,
  type AdminListening,
} from '../../admin/admin.ts';
import { createOnlooker } from '../../admin/onlooker.ts';
import type { AdminServer } from '../../admin/server.ts';
import { startAlerts } from '../../admin/start-alerts.ts';
import { startTrend } from '../../admin/start-trend.ts';
import { DEFAULT_PORT } from '../../config.ts';
import { sleep } from '../../core/clock.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import type { Deployment } from '../../deployment.ts';
import type { RatedLag } from '../../lag/rates.ts';
import { logWith, Millrace } from '../../millrace.ts';
import { readSettings } from '../../redis/settings.ts';
import type { LongRunningContext } from '../context.ts';
import { createLogger } from '../create-logger.ts';

/** Pause between two looks at the deployment's settings, ms. */
const LOOK_MS = 1000;

/** Time after which a person is told that Redis does not answer, ms. */
const SLOW_MS = 1500;

interface AdminFlags {
  readonly allowChanges?: boolean;
  readonly alerts?: boolean;
}

export function registerAdmin(program: Command, context: LongRunningContext): void {
  program
    .command('admin')
    .description('serve metrics and the HTTP API of the deployment, without running functions')
    .option('--allow-changes', 'accept requests that change something (default: refuse them)')
    .option(
      '--alerts',
      'evaluate alerts and keep the trend too, when no dispatcher does (default: only show them)',
    )
    .addHelpText(
      'after',
      `
The server has the paths of the admin server of millrace start: /metrics, /api/lag, the schema
registry and others. It listens at MILLRACE_HOST and MILLRACE_PORT.
/healthz is 200 as long as the process lives. /readyz is 200 while Redis answers.
The process writes nothing into Redis. With --alerts it writes the state of the alerts, and the
trend (MILLRACE_TREND=off leaves that out).
A deployment that nobody has started yet is shown as empty.
Logs go to stdout as JSON lines. SIGTERM or SIGINT ends the process with exit status 0.

Examples:
  REDIS_URL=rediss://looker:secret@redis.example:6380 millrace admin
  MILLRACE_HOST=0.0.0.0 MILLRACE_TOKEN=secret millrace admin --allow-changes`,
    )
    .action((flags: AdminFlags) => serveAdmin(flags, context, (url) => `admin ${url}`));
}

/**
 * Serves until a signal.
 * @param ready says in a line where the server listens
 * @param patient whether a server that cannot be reached is asked again without end. Default: the
 *   command fails
 */
export async function serveAdmin(
  flags: AdminFlags,
  context: LongRunningContext,
  ready: (url: string) => string,
  patient = false,
): Promise<void> {
  const stop = context.takeStop();
  const environment = context.environment();
  const log = logWith(await createLogger(environment.LOG_LEVEL));
  const readOnly = flags.allowChanges !== true;
  let port = environment.MILLRACE_PORT ?? DEFAULT_PORT;
  let isTold = false;
  while (!stop.first.aborted) {
    let trouble: string | null = null;
    // A server that is away must not keep a person from a page: the page says what is wrong.
    const waiting = await listenWaiting(environment, port, log, () => trouble);
    port = waiting.port;
    const slow = setTimeout(
      () => context.err(`millrace: Redis does not answer yet: ${ready(waiting.url)} says why`),
      SLOW_MS,
    );
    const open = (): Promise<Deployment> =>
      context.open({
        protoDir: null,
        anew: true,
        log: (level, text, facts) => {
          if (level === 'warn' || level === 'error') trouble = troubleOf(text, facts);
          log(level, text, facts);
        },
        name: 'admin',
        failFast: 'none',
      });
    const told = (error: MillraceError): void => void (trouble = error.message);
    const opening = patient ? untilOpen(open, told, stop.first) : open();
    const deployment = await opening.finally(() => {
      clearTimeout(slow);
      return waiting.close();
    });
    if (deployment === null) return;
    const lag = recentLag(deployment);
    const alerts = flags.alerts === true ? await startAlerts(deployment, lag) : null;
    const trend = flags.alerts === true ? startTrend(deployment, lag) : null;
    const server = await listen(deployment, lag, { port, readOnly });
    if (!isTold)
      context.err(
        `millrace: ready: ${ready(server.url)}${readOnly ? ', read-only' : ''}, ${deployment.ownsServer ? 'embedded server' : deployment.connection.target}`,
      );
    isTold = true;
    await untilOtherPartitions(deployment, stop.first);
    await Promise.all([server.close(), alerts?.stop(), trend?.stop()]);
    await deployment.close();
  }
}

/**
 * Opens the deployment, again and again. Resolves with null at the signal.
 * @throws the error of an attempt, where another attempt cures nothing
 */
async function untilOpen(
  open: () => Promise<Deployment>,
  failed: (error: MillraceError) => void,
  signal: AbortSignal,
): Promise<Deployment | null> {
  while (!signal.aborted) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof MillraceError && error.retryable)) throw error;
      failed(error);
    }
    await sleep(LOOK_MS, signal);
  }
  return null;
}

/** Returns a line of the log with its error. */
function troubleOf(text: string, facts: Readonly<Record<string, unknown>> | undefined): string {
  const { err, error } = facts ?? {};
  const told = err instanceof Error ? err.message : error;
  return typeof told === 'string' ? `${text}: ${told}` : text;
}

function listen(
  deployment: Deployment,
  lag: () => Promise<RatedLag>,
  listening: AdminListening,
): Promise<AdminServer> {
  const dispatcher = createOnlooker(deployment);
  const metrics = createMetrics(deployment, new Millrace(deployment).meters, lag);
  return listenAdmin(deployment, { dispatcher, metrics, lag }, listening);
}

/**
 * Waits until Redis holds another number of partitions than the deployment was opened with, or for
 * the signal. In a new deployment the first dispatcher or publisher fixes the number.
 */
async function untilOtherPartitions(
  { connection, keys, partitions, log }: Deployment,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await sleep(LOOK_MS, signal);
    // While Redis does not answer, /readyz says so, and the next look asks again.
    const stored = await readSettings(connection, keys).catch(() => null);
    if (stored === null || stored.partitions === partitions) continue;
    log('info', 'the number of partitions has changed: opening the deployment anew', {
      partitions: stored.partitions,
      before: partitions,
    });
    return;
  }
}
