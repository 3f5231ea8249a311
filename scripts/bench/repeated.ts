/** Runs measurements, as often as asked for, and keeps their results. */
import pLimit from 'p-limit';
import { watchingOthers } from './others.ts';
import type { ScenarioResult } from './result.ts';
import { resultOfRuns } from './runs.ts';
import type { Case } from './scenarios.ts';

export interface Measurement {
  readonly name: string;
  readonly run: Case;
}

export class Repeated {
  /** Names of the measurements that failed. */
  readonly failed = new Set<string>();
  /** Results by measurement, by place in its results, and by run. */
  readonly #results: ScenarioResult[][][] = [];
  readonly #runs: number;
  readonly #atOnce: number;
  readonly #say: (text: string) => void;

  /** @param atOnce number of measurements that run at once: 1, unless the figures do not count */
  constructor(runs: number, atOnce: number, say: (text: string) => void) {
    this.#runs = runs;
    this.#atOnce = atOnce;
    this.#say = say;
  }

  /** Each round runs all measurements once: a disturbance does not hit all runs of one of them. */
  async run(measurements: readonly Measurement[]): Promise<void> {
    const limit = pLimit(this.#atOnce);
    for (let round = 1; round <= this.#runs; round++) {
      const run = (index: number, measurement: Measurement): Promise<void> => {
        const which = this.#runs > 1 ? `, run ${round} of ${this.#runs}` : '';
        this.#say(`${measurement.name}${which}`);
        return this.#attempt(index, measurement);
      };
      await Promise.all(
        measurements.map((measurement, index) => limit(() => run(index, measurement))),
      );
    }
  }

  /** A measurement that fails does not take the others' figures along. */
  async #attempt(index: number, { name, run }: Measurement): Promise<void> {
    try {
      const { value, others } = await watchingOthers(run);
      for (const [at, result] of value.entries()) {
        const place = (this.#results[index] ??= []);
        (place[at] ??= []).push({ ...result, others });
        this.#tell(result);
        if (others?.disturbed)
          this.#say(`other processes used ${others.mean} cores, ${others.worst} at worst`);
      }
    } catch (error) {
      this.failed.add(name);
      this.#say(
        `${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    }
  }

  #tell(result: ScenarioResult): void {
    const rate = `${result.eventsPerSecond.toLocaleString('en-US')} events/s`;
    const latency = result.p99Ms === null ? '' : `, p99 ${result.p99Ms} ms`;
    this.#say(`${result.name}: ${rate}${latency}`);
  }

  results(): ScenarioResult[] {
    return this.#results.flatMap((places) => places.map(resultOfRuns));
  }
}
