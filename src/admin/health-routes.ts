/**
 * `/healthz`: whether the lanes make progress. `/readyz`: whether the dispatcher takes work. Both
 * are open to everybody who reaches the port, because probes have no token.
 */
import type { HealthReport } from '../dispatcher/health.ts';
import type { RouteGroup } from './server.ts';

/** @param health null: there is no dispatcher (yet) */
export function healthRoutes(health: () => HealthReport | null): RouteGroup {
  return {
    prefixes: ['/healthz', '/readyz'],
    access: 'open',
    mount(app) {
      // 503 tells a supervisor to restart the process. So 503 is for a lane with work and no
      // progress, or an outbox that does not move, never for a slow downstream.
      app.get('/healthz', (c) => {
        const report = health();
        if (report === null) return c.json({ status: 'starting' });
        return c.json(
          {
            status: report.ok ? 'ok' : 'stalled',
            lanes: report.lanes,
            connection: report.connection,
            problems: report.problems,
            setups: report.setups,
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
