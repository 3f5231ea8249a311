/**
 * Tells systemd of this process: ready, alive, its state, stopping. See sd_notify(3).
 *
 * Node has no datagram sockets of the AF_UNIX family, which systemd listens on. So `systemd-notify`
 * sends the messages, a program of systemd. The unit needs NotifyAccess=all, because the messages
 * come from a child process.
 *
 * The watchdog is fed while `/livez` is green. Without food systemd restarts the process, so it
 * goes hungry only where a restart may help, or where this thread hangs.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { NotifyAddress } from '../config.ts';
import { monotonicMs } from '../core/clock.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import type { Log } from '../core/log.ts';
import type { HealthReport } from '../dispatcher/health.ts';

/** Longest pause between two looks at health, ms. */
const LOOK_MS = 1000;
/** Time for one message, ms. */
const SEND_MS = 10_000;
/** Time that a waiting start asks for, ms. It is told again every 30 s. */
const START_MS = 120_000;
/** Time beside the drain for the end of the process, ms. */
const END_MS = 30_000;
/** Most characters of a state. */
const STATUS_LENGTH = 300;

const run = promisify(execFile);

export interface ServiceManagerOptions {
  /** Null: nobody waits for messages, and nothing is sent. */
  readonly address: NotifyAddress | null;
  readonly health: () => Pick<HealthReport, 'live' | 'ready' | 'lanes' | 'reasons'>;
  readonly log: Log;
}

export class ServiceManager implements Lifecycle {
  readonly #options: ServiceManagerOptions;
  readonly #loop: Loop;
  #fedMs = -Infinity;
  /** The state that was told last. */
  #told = '';
  /** Failure that the log was told of. */
  #failure = '';
  /** Messages are sent one after the other. */
  #sending: Promise<void> = Promise.resolve();

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    const feedMs = this.#feedMs ?? Infinity;
    this.#loop = new Loop({
      pass: () => this.#look(),
      pauseMs: () => Math.min(LOOK_MS, feedMs / 2),
      failed: (error) => options.log('error', 'systemd is not told of health', { err: error }),
    });
  }

  /** Tells that the process is ready. From then on it is fed, and told of each state. */
  start(): void {
    void this.#send(['READY=1']);
    this.#loop.start();
  }

  /** Ends the messages. Resolves when the last one is sent. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#sending;
  }

  /** Tells why the start waits, and asks for more time. */
  waits(reason: string): void {
    void this.#send([`STATUS=${statusText(reason)}`, `EXTEND_TIMEOUT_USEC=${START_MS * 1000}`]);
  }

  /** Tells that the process stops. @param drainMs time that running handlers have */
  stopping(drainMs: number): void {
    void this.#send(['STOPPING=1', `EXTEND_TIMEOUT_USEC=${(drainMs + END_MS) * 1000}`]);
  }

  /** Time between two meals of the watchdog, ms. Null: there is no watchdog. */
  get #feedMs(): number | null {
    const watchdogMs = this.#options.address?.watchdogMs ?? null;
    return watchdogMs === null ? null : watchdogMs / 3;
  }

  async #look(): Promise<void> {
    const report = this.#options.health();
    const now = monotonicMs();
    const feedMs = this.#feedMs;
    const hungry = feedMs !== null && report.live && now - this.#fedMs >= feedMs;
    const status = stateOf(report);
    if (!hungry && status === this.#told) return;
    if (hungry) this.#fedMs = now;
    this.#told = status;
    await this.#send([...(hungry ? ['WATCHDOG=1'] : []), `STATUS=${status}`]);
  }

  #send(assignments: readonly string[]): Promise<void> {
    const { address, log } = this.#options;
    if (address === null) return Promise.resolve();
    this.#sending = this.#sending.then(async () => {
      try {
        await run('systemd-notify', assignments, { env: address.env, timeout: SEND_MS });
        this.#failure = '';
      } catch (error) {
        const { message } = error as Error;
        if (message === this.#failure) return;
        this.#failure = message;
        log('error', 'systemd-notify failed: systemd does not hear of this process', {
          err: error,
          cure: 'Put systemd-notify on PATH, and set NotifyAccess=all in the unit',
        });
      }
    });
    return this.#sending;
  }
}

function stateOf({ ready, lanes, reasons }: ReturnType<ServiceManagerOptions['health']>): string {
  const [first] = reasons;
  if (first === undefined) return `ready: ${lanes} lanes`;
  const state = `${ready ? 'ready' : 'not ready'}: ${first.code}: ${first.text}. ${first.cure}`;
  return statusText(state);
}

/** A state is one line. */
function statusText(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, STATUS_LENGTH);
}
