/** Tells, once and again, since when a function's setup fails, and when it works again. */
import { monotonicMs, wallClockMs } from '../../core/clock.ts';
import type { SetupError } from '../../core/errors/handler-errors.ts';
import type { SetupFailure } from '../../core/setup-failure.ts';
import type { LaneStages } from './lane-stages.ts';

export class SetupWatch {
  readonly #stages: Pick<LaneStages, 'setupFailing'>;
  #failure: SetupFailure | null = null;
  /** First failure, by monotonicMs(). */
  #sinceMs = 0;

  constructor(stages: Pick<LaneStages, 'setupFailing'>) {
    this.#stages = stages;
  }

  /** Null: the setup works, as far as is known. */
  get failure(): SetupFailure | null {
    return this.#failure;
  }

  /** Time since the first failure, ms. 0: the setup works, as far as is known. */
  get failingMs(): number {
    return this.#failure === null ? 0 : monotonicMs() - this.#sinceMs;
  }

  /** @param nextMs time until the next attempt, ms */
  failed(error: SetupError, nextMs: number): void {
    const now = wallClockMs();
    if (this.#failure === null) this.#sinceMs = monotonicMs();
    this.#failure = {
      error: error.message,
      stack: error.stack ?? '',
      sinceMs: this.#failure?.sinceMs ?? now,
      atMs: now,
      nextMs: now + nextMs,
    };
    this.#stages.setupFailing(this.#failure);
  }

  worked(): void {
    if (this.#failure === null) return;
    this.#failure = null;
    this.#stages.setupFailing(null);
  }
}
