/** The dispatcher processes of a run. */
import { fileURLToPath } from 'node:url';
import { Child } from '../../src/torture/child.ts';
import type { FaultOp } from '../../src/torture/run-record.ts';
import { PROTO_DIR } from '../lab/dispatcher-process.ts';

const SCRIPT = fileURLToPath(new URL('./dispatcher-main.js', import.meta.url));
const SHIFT_CLOCK = new URL('./shift-clock.js', import.meta.url).href;

export interface DispatcherOptions {
  readonly url: string;
  readonly sink: string;
  readonly environment: Readonly<Record<string, string>>;
}

export class DispatcherProcess extends Child {
  readonly #record: (op: FaultOp) => Promise<void>;

  constructor(
    { url, sink, environment }: DispatcherOptions,
    record: (op: FaultOp) => Promise<void>,
  ) {
    super({
      script: SCRIPT,
      args: [PROTO_DIR],
      execArgv: 'CHAOS_CLOCK' in environment ? ['--import', SHIFT_CLOCK] : [],
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        REDIS_URL: url,
        CHAOS_SINK: sink,
        WORKERS: '2',
        MILLRACE_THREAD_HEAP_MB: '48',
        MILLRACE_BATCH_EVENTS: '200',
        ...environment,
      },
    });
    this.#record = record;
  }

  /**
   * Freezes the process, and records that. After the thaw its handlers may go on beside its heir's
   * work, which the record explains.
   */
  async suspend(): Promise<void> {
    await this.#record({ what: 'fault', name: 'frozen', pid: this.pid });
    this.freeze();
  }
}
