/**
 * `/api/alerts` and `/metrics/alerts`: the alerts of the deployment, as their last evaluation left
 * them. Every process answers the same.
 */
import { alertMetrics } from '../alerts/alert-metrics.ts';
import { readAlerts, readEvaluator } from '../alerts/alert-store.ts';
import { shownAlert, shownEvaluation } from '../alerts/shown-alert.ts';
import { readSilences } from '../alerts/silences.ts';
import type { Environment } from '../config.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { RedisSpace } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import { grantedTo } from './guard.ts';
import { payloadAccess } from './payload-access.ts';
import type { RouteGroup } from './server.ts';

/** @param environment says who sees the worst events: their errors may quote payloads */
export function alertRoutes(space: RedisSpace, environment: Environment): RouteGroup {
  return {
    prefixes: ['/api/alerts'],
    access: 'guarded',
    mount(app) {
      app.get('/api/alerts', async (c) => {
        try {
          const [state, nowMs, evaluator] = await Promise.all([
            readAlerts(space),
            serverTime(space),
            readEvaluator(space),
          ]);
          const { alerts, receivers } = state;
          const silences = await readSilences(space, nowMs);
          const seesErrors = payloadAccess(grantedTo(c), environment) === 'full';
          return c.json({
            ...shownEvaluation(state, evaluator),
            alerts: [...alerts.values()].map((alert) =>
              shownAlert(seesErrors ? alert : { ...alert, worst: null }, silences),
            ),
            receivers: [...receivers].map(([name, { failures, error }]) => ({
              name,
              failures,
              error,
            })),
          });
        } catch (error) {
          if (error instanceof MillraceError && error.retryable)
            return c.json({ error: error.message }, 503);
          throw error;
        }
      });
    },
  };
}

/** For Prometheus, open as `/metrics` is. */
export function alertMetricsRoutes(space: RedisSpace): RouteGroup {
  return {
    prefixes: ['/metrics/alerts'],
    access: 'open',
    mount(app) {
      app.get('/metrics/alerts', async (c) => {
        try {
          const [state, nowMs] = await Promise.all([readAlerts(space), serverTime(space)]);
          const text = alertMetrics(state, await readSilences(space, nowMs));
          return c.text(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
        } catch (error) {
          if (error instanceof MillraceError && error.retryable) return c.text(error.message, 503);
          throw error;
        }
      });
    },
  };
}
