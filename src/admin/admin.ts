/** The admin server of a deployment, with its groups of routes. */
import { DEFAULT_PORT, type Environment } from '../config.ts';
import type { Deployment } from '../deployment.ts';
import { Loop } from '../core/lifecycle.ts';
import type { Log } from '../core/log.ts';
import { LagWatch } from '../lag/lag-watch.ts';
import type { RatedLag } from '../lag/rates.ts';
import { Metrics } from '../metrics/metrics.ts';
import type { ProcessSources } from '../metrics/process-metrics.ts';
import { readServerReading } from '../metrics/server-reading.ts';
import { readOutboxes } from '../outbox/outbox-state.ts';
import { consoleRoutes } from '../console/console.ts';
import type { FunctionsFolder } from '../console/mending.ts';
import { waitingRoutes } from '../console/waiting.tsx';
import { auditRoutes } from './audit-routes.ts';
import { alertMetricsRoutes, alertRoutes } from './alert-routes.ts';
import { healthRoutes } from './health-routes.ts';
import { registryApi } from './registry-api.ts';
import { AdminAddressError, startAdminServer, type AdminServer } from './server.ts';
import { readBacklogLimits } from '../upkeep/type-limits.ts';
import { metricsRoutes, recent, stateRoutes, type ShownDispatcher } from './state-routes.ts';
import { roleTokens } from './tokens.ts';
import { trendRoutes } from './trend-routes.ts';

export interface AdminSources {
  readonly dispatcher: ShownDispatcher;
  readonly metrics: Metrics;
  readonly lag: () => Promise<RatedLag>;
  /** Functions for rehearsals of the console. Default null: this process knows none. */
  readonly functions?: FunctionsFolder | null;
}

export interface AdminListening {
  readonly port: number;
  /** Whether requests that change something are refused. */
  readonly readOnly: boolean;
}

const LAG_FRESH_MS = 2000;
/** Time between two readings of the lag that nobody asked for, ms. */
const SAMPLE_MS = 10_000;

/**
 * Lag of the functions with its rates, read from Redis at most once in two seconds. The rates look
 * back a minute, as far as the lag was read.
 */
export function recentLag(deployment: Deployment): () => Promise<RatedLag> {
  const watch = new LagWatch(deployment, () => readBacklogLimits(deployment));
  return recent(() => watch.read(), LAG_FRESH_MS);
}

/** Creates the metrics of a process that serves them, as its settings want them. */
export function createMetrics(
  deployment: Deployment,
  process: ProcessSources,
  lag: () => Promise<RatedLag>,
): Metrics {
  const { environment, partitions } = deployment;
  return new Metrics({
    process,
    apart: environment.MILLRACE_METRICS_DEPLOYMENT === 'apart',
    deployment: {
      partitions,
      lag,
      outboxes: recent(() => readOutboxes(deployment), LAG_FRESH_MS),
      server: recent(() => readServerReading(deployment), LAG_FRESH_MS),
      byPartition: environment.MILLRACE_METRICS_PARTITION === 'on',
    },
  });
}

/**
 * Starts the admin server of a process, with all groups of routes.
 * @throws AdminAddressError where the server cannot listen at the address
 * @throws ConfigError for tokens that cannot be used
 */
export async function listenAdmin(
  deployment: Deployment,
  { dispatcher, metrics, lag, functions = null }: AdminSources,
  { port, readOnly }: AdminListening,
): Promise<AdminServer> {
  const { environment, registry, log } = deployment;
  const pages = consoleRoutes({
    deployment,
    lag,
    readOnly,
    functions,
    folds: () => dispatcher.viewFolds ?? [],
  });
  const server = await startAdminServer({
    host: environment.MILLRACE_HOST,
    port,
    tokens: roleTokens(environment),
    names: environment.MILLRACE_ALLOWED_HOSTS,
    readOnly,
    audit: deployment,
    groups: [
      healthRoutes(() => dispatcher.health()),
      metricsRoutes(metrics),
      stateRoutes(dispatcher, lag),
      alertRoutes(deployment, environment),
      auditRoutes(deployment, environment),
      trendRoutes(deployment),
      alertMetricsRoutes(deployment),
      pages.group,
      registryApi({ registry }),
    ],
    log,
  });
  // So there are rates when somebody asks.
  const sampling = new Loop({
    pass: async () => {
      await lag();
    },
    pauseMs: () => SAMPLE_MS,
    // While Redis is away nothing is read. Health tells of that.
    failed: () => undefined,
  });
  sampling.start();
  return {
    port: server.port,
    url: server.url,
    close: async () => {
      // A reading under way may wait for Redis. Nobody needs that reading any more.
      void sampling.stop();
      await Promise.all([server.close(), pages.close()]);
    },
  };
}

/**
 * Serves probes and a page, from the start of a process until its deployment is open.
 * @param trouble latest failure to open the deployment. Null: none is known yet
 * @throws AdminAddressError where the server cannot listen at the address
 * @throws ConfigError for tokens that cannot be used
 */
export function listenWaiting(
  environment: Environment,
  port: number,
  log: Log,
  trouble: () => string | null,
): Promise<AdminServer> {
  return startAdminServer({
    host: environment.MILLRACE_HOST,
    port,
    tokens: roleTokens(environment),
    names: environment.MILLRACE_ALLOWED_HOSTS,
    readOnly: true,
    groups: [healthRoutes(() => null), waitingRoutes(trouble)],
    // The server that follows tells of its address, and of an open port.
    log: (level, ...told) => (level === 'error' ? log(level, ...told) : undefined),
  });
}

/**
 * Starts the admin server of a dispatcher.
 * @returns null if another process has the default port and MILLRACE_PORT is not set. Several
 *   dispatchers on a machine need no settings then: one of them has the admin server.
 * @throws AdminAddressError for a configured address that the server cannot listen at
 */
export async function startAdmin(
  deployment: Deployment,
  sources: AdminSources,
): Promise<AdminServer | null> {
  const { environment, log } = deployment;
  try {
    return await listenAdmin(deployment, sources, {
      port: environment.MILLRACE_PORT ?? DEFAULT_PORT,
      readOnly: false,
    });
  } catch (error) {
    if (
      !(error instanceof AdminAddressError) ||
      error.reason !== 'EADDRINUSE' ||
      environment.MILLRACE_PORT !== undefined
    )
      throw error;
    log(
      'info',
      `the admin port ${DEFAULT_PORT} is taken by another process, so this process has no admin server: set MILLRACE_PORT to use another port`,
    );
    return null;
  }
}
