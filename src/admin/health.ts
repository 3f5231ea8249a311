/**
 * `/healthz`: do the lanes get on; `/readyz`: does it take work. Open to whoever reaches the port:
 * probes have no token.
 */
import type { HealthReport } from '../dispatcher/health.ts';
import type { RouteGroup } from './server.ts';

/** @param health null: there is no dispatcher (yet) */
export function healthRoutes(health: () => HealthReport | null): RouteGroup {
  return {
    prefixes: ['/healthz', '/readyz'],
    access: 'open',
    mount(app) {
      // 503 tells a supervisor to restart it: so only where a lane has work and gets nothing done,
      // or an outbox does not move, never for a slow downstream.
      app.get('/healthz', (c) => {
        const report = health();
        if (report === null) return c.json({ status: 'starting' });
        return c.json(
          {
            status: report.ok ? 'ok' : 'stalled',
            lanes: report.lanes,
            connection: report.connection,
            problems: report.problems,
          },
          report.ok ? 200 : 503,
        );
      });
      app.get('/readyz', (c) => {
        const report = health();
        const ready =
          report !== null &&
          report.started &&
          report.connection === 'up' &&
          report.waitingFor === undefined &&
          report.problems.every(({ partition }) => partition !== null);
        const reason =
          report?.waitingFor ??
          report?.problems.find(({ partition }) => partition === null)?.problem;
        return c.json(
          {
            status: ready ? 'ready' : 'not ready',
            lanes: report?.lanes ?? 0,
            connection: report?.connection ?? 'unknown',
            ...(reason === undefined ? {} : { reason }),
          },
          ready ? 200 : 503,
        );
      });
    },
  };
}
