/** Stands in for the dispatcher in a process that runs no functions. */
import { connectionReason } from '../core/health-reason.ts';
import type { Deployment } from '../deployment.ts';
import type { ShownDispatcher } from './state-routes.ts';

/**
 * Creates the onlooker. It has no lanes, so it is well as long as the process lives, and ready
 * while Redis answers.
 */
export function createOnlooker({ connection }: Pick<Deployment, 'connection'>): ShownDispatcher {
  return {
    functions: [],
    threadDeaths: 0,
    leaseLosses: 0,
    queuedBatches: 0,
    health() {
      const reason = connectionReason(connection);
      return {
        ok: true,
        ready: reason === null,
        live: true,
        started: true,
        connection: connection.status,
        lanes: 0,
        problems: [],
        setups: [],
        reasons: reason === null ? [] : [reason],
      };
    },
  };
}
