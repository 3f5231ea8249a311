/**
 * Tells the log why the dispatcher is not well: once, then every minute, and when a reason is over.
 *
 * Owned here: the reasons that the log was told of.
 */
import { monotonicMs } from '../core/clock.ts';
import type { HealthReason, ReasonCode } from '../core/health-reason.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import type { Log } from '../core/log.ts';
import type { HealthReport } from './health.ts';

/** Pause between two looks, ms. */
const LOOK_MS = 1000;
/** Time after which a reason that lasts is told again, ms. */
const REPEAT_MS = 60_000;

interface Told {
  readonly sinceMs: number;
  toldMs: number;
}

export interface HealthLogOptions {
  readonly health: () => Pick<HealthReport, 'reasons' | 'problems'>;
  readonly log: Log;
  /** Default: monotonicMs(). */
  readonly now?: () => number;
}

export class HealthLog implements Lifecycle {
  readonly #options: HealthLogOptions;
  readonly #now: () => number;
  readonly #told = new Map<ReasonCode, Told>();
  readonly #loop: Loop;

  constructor(options: HealthLogOptions) {
    this.#options = options;
    this.#now = options.now ?? monotonicMs;
    this.#loop = new Loop({
      pass: () => this.look(),
      pauseMs: () => LOOK_MS,
      pausesFirst: true,
      failed: (error) => options.log('error', 'health could not be judged', { err: error }),
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  look(): void {
    const { reasons, problems } = this.#options.health();
    const bad = new Set(problems.map(({ code }) => code));
    for (const reason of reasons) this.#tell(reason, bad.has(reason.code));
    const now = new Set(reasons.map(({ code }) => code));
    for (const [code, { sinceMs }] of this.#told) {
      if (now.has(code)) continue;
      this.#told.delete(code);
      this.#options.log('info', `well again: ${code} is over`, {
        reason: code,
        seconds: Math.round((this.#now() - sinceMs) / 1000),
      });
    }
  }

  #tell({ code, text, cure }: HealthReason, unhealthy: boolean): void {
    const now = this.#now();
    const told = this.#told.get(code);
    if (told && now - told.toldMs < REPEAT_MS) return;
    if (told) told.toldMs = now;
    else this.#told.set(code, { sinceMs: now, toldMs: now });
    const seconds = told ? { seconds: Math.round((now - told.sinceMs) / 1000) } : {};
    const state = unhealthy ? 'not well' : 'not ready';
    this.#options.log(unhealthy ? 'error' : 'warn', `${state}: ${text}`, {
      reason: code,
      cure,
      ...seconds,
    });
  }
}
