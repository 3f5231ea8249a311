/** Starts the samples of the trend in a process that has a deployment. */
import { processName } from '../core/process-name.ts';
import type { Deployment } from '../deployment.ts';
import type { LagReport } from '../lag/lag.ts';
import { TrendSampler } from '../trend/trend-sampler.ts';

/**
 * Starts the trend. One process of the deployment takes the samples, however many start it.
 * @param lag reading that alerts and metrics share
 * @returns null: MILLRACE_TREND is `off`
 */
export function startTrend(
  deployment: Deployment,
  lag: () => Promise<LagReport>,
): TrendSampler | null {
  const { environment, connection, keys, partitions, log } = deployment;
  if (environment.MILLRACE_TREND === 'off') return null;
  const source = { connection, keys, partitions };
  const trend = new TrendSampler({ source, owner: processName(), log, lag });
  trend.start();
  return trend;
}
