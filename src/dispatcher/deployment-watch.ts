/**
 * Asks Redis once a second whether the deployment is still the one that the dispatcher was started
 * for. Also asks why Redis refuses writes, while it does.
 */
import { monotonicMs } from '../core/clock.ts';
import {
  SettingsChangedError,
  UnknownOutcomeError,
  type RedisReplyError,
} from '../core/errors/server-errors.ts';
import { serverReason, type HealthReason } from '../core/health-reason.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { describeRefusal } from '../redis/refused-writes.ts';
import type { SettingsGuard } from '../redis/settings.ts';

/** Pause between two looks, ms. */
const LOOK_MS = 1000;

export interface DeploymentWatchOptions {
  readonly settings: Pick<SettingsGuard, 'doubt' | 'verify'>;
  readonly connection: RedisConnection;
  /** The refusal that the lanes met last. Null: Redis takes writes, as far as is known. */
  readonly refused: () => RedisReplyError | null;
  /** Asks Redis whether it takes writes. Lanes do not meet a full memory: commits free some. */
  readonly probe: () => Promise<RedisReplyError | null>;
  /** Told once that the settings have changed. The watch is over then. */
  readonly changed: (error: SettingsChangedError) => void;
}

export class DeploymentWatch implements Lifecycle {
  readonly #options: DeploymentWatchOptions;
  readonly #loop: Loop;
  /** The refusal that the last probe met. */
  #probed: RedisReplyError | null = null;
  /** Start of the first look without an answer, by monotonicMs(). Null: Redis has answered. */
  #askedMs: number | null = null;
  /** The last refusal, and its description. */
  #described: { readonly message: string; readonly text: string } | null = null;

  constructor(options: DeploymentWatchOptions) {
    this.#options = options;
    this.#loop = new Loop({
      pass: () => this.#look(),
      pauseMs: () => LOOK_MS,
      pausesFirst: true,
      failed: () => undefined,
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** Reason why Redis refuses writes now. Null: it takes them. */
  get refusal(): HealthReason | null {
    const refused = this.#refused;
    if (refused === null) return null;
    const told = this.#described?.message === refused.message ? this.#described.text : undefined;
    return serverReason(refused, told);
  }

  /** Time for which looks have had no answer, ms. 0: the last look had one. */
  get unansweredMs(): number {
    return this.#askedMs === null ? 0 : monotonicMs() - this.#askedMs;
  }

  /** Ignores a Redis that does not answer: the lanes tell of that, and the next look asks again. */
  async #look(): Promise<void> {
    this.#askedMs ??= monotonicMs();
    const looks = await Promise.allSettled([this.#verify()]);
    if (!this.#loop.signal.aborted) looks.push(...(await Promise.allSettled([this.#probe()])));
    await Promise.allSettled([this.#askWhyRefused()]);
    if (!looks.some(isUnanswered)) this.#askedMs = null;
  }

  get #refused(): RedisReplyError | null {
    return this.#options.refused() ?? this.#probed;
  }

  async #probe(): Promise<void> {
    this.#probed = await this.#options.probe();
  }

  async #verify(): Promise<void> {
    const { settings, changed } = this.#options;
    settings.doubt();
    try {
      await settings.verify();
    } catch (error) {
      if (!(error instanceof SettingsChangedError)) throw error;
      // The stop is not awaited, because it waits for this look.
      void this.stop();
      changed(error);
    }
  }

  async #askWhyRefused(): Promise<void> {
    const refused = this.#refused;
    if (refused === null) this.#described = null;
    else if (refused.message !== this.#described?.message) {
      const text = await describeRefusal(this.#options.connection, refused);
      this.#described = { message: refused.message, text };
    }
  }
}

function isUnanswered(look: PromiseSettledResult<void>): boolean {
  return look.status === 'rejected' && look.reason instanceof UnknownOutcomeError;
}
