/**
 * `/healthz`: whether all is well. `/livez`: whether a restart would cure nothing. `/readyz`:
 * whether the dispatcher takes work. They are open to everybody who reaches the port, because
 * probes have no token.
 */
import type { HealthReport } from '../dispatcher/health.ts';
import type { RouteGroup } from './server.ts';

/** @param health null: there is no dispatcher (yet) */
export function healthRoutes(health: () => HealthReport | null): RouteGroup {
  return {
    prefixes: ['/healthz', '/livez', '/readyz'],
    access: 'open',
    mount(app) {
      app.get('/healthz', (c) => {
        const report = health();
        if (report === null) return c.json({ status: 'starting' });
        const status = report.ok ? 'ok' : 'stalled';
        return c.json(healthBody(status, report), report.ok ? 200 : 503);
      });
      // 503 tells a supervisor to restart the process. So it is never for Redis, for another
      // process, or for a slow downstream. A restart at a full memory would even do harm: a new
      // process gets no leases, and nobody settles the events that fill the memory.
      app.get('/livez', (c) => {
        const report = health();
        if (report === null) return c.json({ status: 'starting' });
        const status = report.live ? 'ok' : 'restart';
        return c.json(healthBody(status, report), report.live ? 200 : 503);
      });
      app.get('/readyz', (c) => {
        const report = health();
        const ready = report?.ready ?? false;
        return c.json(
          {
            status: ready ? 'ready' : 'not ready',
            lanes: report?.lanes ?? 0,
            connection: report?.connection ?? 'unknown',
            ...(report === null || ready ? {} : firstReason(report)),
            reasons: report?.reasons ?? [],
          },
          ready ? 200 : 503,
        );
      });
    },
  };
}

function healthBody(status: string, report: HealthReport): Record<string, unknown> {
  const { lanes, connection, problems, setups, reasons } = report;
  return { status, lanes, connection, problems, setups, reasons };
}

/** The reason that weighs most, spelt out beside the list. */
function firstReason({ reasons }: HealthReport): Record<string, string> {
  const [first] = reasons;
  return first === undefined ? {} : { reason: first.text, code: first.code, cure: first.cure };
}
