/** The admin server of a deployment: which groups of routes it has. */
import { DEFAULT_PORT } from '../config.ts';
import type { Deployment } from '../deployment.ts';
import { readLag, type LagReport } from '../lag/lag.ts';
import { readOutboxes, type OutboxState } from '../outbox/outbox-state.ts';
import { healthRoutes } from './health.ts';
import type { Metrics, Watched } from './metrics.ts';
import { registryApi } from './registry-api.ts';
import { AdminAddressError, startAdminServer, type AdminServer } from './server.ts';
import { metricsRoutes, recent, stateRoutes } from './state-routes.ts';

export interface AdminSources {
  readonly dispatcher: Watched;
  /** Told of the dispatcher's turns. */
  readonly metrics: Metrics;
  readonly lag: () => Promise<LagReport>;
}

const LAG_FRESH_MS = 2000;

/** Where the functions stand, asked of Redis at most once in two seconds. */
export function recentLag(deployment: Deployment): () => Promise<LagReport> {
  return recent(() => readLag(deployment), LAG_FRESH_MS);
}

/** What waits in the outboxes, asked as often. */
export function recentOutboxes(deployment: Deployment): () => Promise<readonly OutboxState[]> {
  return recent(() => readOutboxes(deployment), LAG_FRESH_MS);
}

/**
 * @returns null where the default port is taken by another process (MILLRACE_PORT was not set):
 *   several dispatchers on a machine need no settings, one of them answers
 * @throws AdminAddressError for an address that was asked for and cannot be listened at
 */
export async function startAdmin(
  deployment: Deployment,
  { dispatcher, metrics, lag }: AdminSources,
): Promise<AdminServer | null> {
  const { environment, registry, log } = deployment;
  try {
    return await startAdminServer({
      host: environment.MILLRACE_HOST,
      port: environment.MILLRACE_PORT ?? DEFAULT_PORT,
      token: environment.MILLRACE_TOKEN,
      groups: [
        healthRoutes(() => dispatcher.health()),
        metricsRoutes(metrics),
        stateRoutes(dispatcher, lag),
        registryApi({ registry }),
      ],
      log,
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
