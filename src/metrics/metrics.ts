/** The metrics of a process that serves them: its own, and those of the deployment. */
import { DeploymentMetrics, type DeploymentSources } from './deployment-metrics.ts';
import { ProcessMetrics, type ProcessSources } from './process-metrics.ts';

export interface MetricsSources {
  readonly process: ProcessSources;
  readonly deployment: DeploymentSources;
  /** Whether the deployment's metrics stand in `/metrics/deployment` only. */
  readonly apart: boolean;
}

export class Metrics {
  readonly #process: ProcessMetrics;
  readonly #deployment: DeploymentMetrics;
  readonly #apart: boolean;

  constructor({ process, deployment, apart }: MetricsSources) {
    this.#process = new ProcessMetrics(process);
    this.#deployment = new DeploymentMetrics(deployment);
    this.#apart = apart;
  }

  /** `/metrics`. The deployment's states stand here too, because they did before there was more. */
  async text(): Promise<string> {
    if (this.#apart) return this.#process.text();
    const [own, states] = await Promise.all([this.#process.text(), this.#deployment.statesText()]);
    return `${own}\n${states}`;
  }

  /** `/metrics/deployment`. */
  deploymentText(): Promise<string> {
    return this.#deployment.text();
  }
}
