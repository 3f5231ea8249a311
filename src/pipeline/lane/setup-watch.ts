/** Tells, once and again, since when a function's setup fails, and when it works again. */
import { wallClockMs } from '../../core/clock.ts';
import type { SetupError } from '../../core/errors/handler-errors.ts';
import type { LaneStages } from './lane-stages.ts';

export class SetupWatch {
  readonly #stages: Pick<LaneStages, 'setupFailing'>;
  /** Time of the first failure, ms since 1970. Null: the setup works, as far as is known. */
  #failingSinceMs: number | null = null;

  constructor(stages: Pick<LaneStages, 'setupFailing'>) {
    this.#stages = stages;
  }

  /** @param nextMs time until the next attempt, ms */
  failed(error: SetupError, nextMs: number): void {
    const now = wallClockMs();
    this.#failingSinceMs ??= now;
    this.#stages.setupFailing({
      error: error.message,
      stack: error.stack ?? '',
      sinceMs: this.#failingSinceMs,
      atMs: now,
      nextMs: now + nextMs,
    });
  }

  worked(): void {
    if (this.#failingSinceMs === null) return;
    this.#failingSinceMs = null;
    this.#stages.setupFailing(null);
  }
}
