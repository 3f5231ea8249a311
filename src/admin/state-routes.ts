/**
 * `/metrics` and `/metrics/deployment` for Prometheus, open as probes are. `/api/lag` and
 * `/api/health` as JSON, under the rules of access.ts.
 */
import { monotonicMs } from '../core/clock.ts';
import type { Dispatcher } from '../dispatcher.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { LagReport } from '../lag/lag.ts';
import { CONTENT_TYPE } from '../metrics/exposition.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { RouteGroup } from './server.ts';

/** The part of a dispatcher that the API shows. */
export type ShownDispatcher = Pick<
  Dispatcher,
  'functions' | 'threadDeaths' | 'leaseLosses' | 'queuedBatches' | 'health'
> &
  Partial<Pick<Dispatcher, 'viewFolds'>>;

export function metricsRoutes(metrics: Metrics): RouteGroup {
  return {
    prefixes: ['/metrics'],
    access: 'open',
    mount(app) {
      const type = { 'content-type': CONTENT_TYPE };
      app.get('/metrics', async (c) => c.text(await metrics.text(), 200, type));
      app.get('/metrics/deployment', async (c) =>
        c.text(await metrics.deploymentText(), 200, type),
      );
    },
  };
}

export function stateRoutes(
  dispatcher: ShownDispatcher,
  lag: () => Promise<LagReport>,
): RouteGroup {
  return {
    prefixes: ['/api/lag', '/api/health'],
    access: 'guarded',
    mount(app) {
      app.get('/api/lag', async (c) => {
        try {
          return c.json(await lag());
        } catch (error) {
          if (error instanceof MillraceError && error.retryable)
            return c.json({ error: error.message }, 503);
          throw error;
        }
      });
      app.get('/api/health', (c) => {
        const { ok, ...report } = dispatcher.health();
        return c.json({
          status: ok ? 'ok' : 'stalled',
          ...report,
          functions: dispatcher.functions.map(({ spec, version }) => ({
            name: spec.name,
            version,
            on: spec.on,
          })),
          threadDeaths: dispatcher.threadDeaths,
          leaseLosses: dispatcher.leaseLosses,
          queuedBatches: dispatcher.queuedBatches,
        });
      });
    },
  };
}

/**
 * Returns a reader that keeps its answer for `freshMs`: a read asks every partition, so many
 * readers share one. A failure is not kept.
 */
export function recent<T>(read: () => Promise<T>, freshMs: number): () => Promise<T> {
  let last: { readonly atMs: number; readonly answer: Promise<T> } | null = null;
  return () => {
    if (last !== null && monotonicMs() - last.atMs < freshMs) return last.answer;
    const answer = read();
    const mine = (last = { atMs: monotonicMs(), answer });
    answer.catch(() => {
      if (last === mine) last = null;
    });
    return answer;
  };
}
