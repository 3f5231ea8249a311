import type { FaultOp } from '../../src/torture/run-record.ts';
import { DispatcherProcess, type DispatcherOptions } from './dispatchers.ts';

/** Time between two looks at the memory of the dispatchers, ms. */
const SAMPLE_MS = 100;

/** The dispatchers of a run, dead ones included. */
export class Fleet {
  readonly all: DispatcherProcess[] = [];
  /** Largest resident memory of any dispatcher, MB. */
  peakRssMb = 0;
  readonly #options: Omit<DispatcherOptions, 'environment'>;
  readonly #environment: () => Readonly<Record<string, string>>;
  readonly #record: (op: FaultOp) => Promise<void>;
  #sampler: NodeJS.Timeout | undefined;

  /** @param environment variables of the next dispatcher */
  constructor(
    options: Omit<DispatcherOptions, 'environment'>,
    environment: () => Readonly<Record<string, string>>,
    record: (op: FaultOp) => Promise<void>,
  ) {
    this.#options = options;
    this.#environment = environment;
    this.#record = record;
  }

  get alive(): DispatcherProcess[] {
    return this.all.filter((process) => process.alive);
  }

  async start(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.spawn()));
    for (const { alive, log } of this.all)
      if (!alive) throw new Error(`a dispatcher did not start: ${log.slice(-3000)}`);
    this.#sampler = setInterval(() => this.sample(), SAMPLE_MS);
  }

  /** Starts a dispatcher. Resolves when it runs, or has died as ordered. */
  async spawn(environment: Readonly<Record<string, string>> = {}): Promise<DispatcherProcess> {
    const process = new DispatcherProcess(
      { ...this.#options, environment: { ...this.#environment(), ...environment } },
      this.#record,
    );
    this.all.push(process);
    await process.started;
    return process;
  }

  sample(): void {
    for (const process of this.alive)
      this.peakRssMb = Math.max(this.peakRssMb, process.peakRssMb());
  }

  /** Takes the last sample. */
  endSampling(): void {
    clearInterval(this.#sampler);
    this.sample();
  }

  /**
   * Drains all dispatchers.
   * @throws Error where a dispatcher does not end in order
   */
  async terminate(): Promise<void> {
    const codes = await Promise.all(this.alive.map((process) => process.terminate()));
    const unclean = codes.find((code) => code !== 0);
    if (unclean !== undefined)
      throw new Error(
        `a dispatcher ended its drain with status ${String(unclean)}: ${this.all.map((process) => process.log.slice(-1500)).join('\n')}`,
      );
  }

  async kill(): Promise<void> {
    clearInterval(this.#sampler);
    await Promise.all(this.all.map((process) => process.kill()));
  }
}
