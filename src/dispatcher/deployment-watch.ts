/**
 * Asks Redis once a second whether the deployment is still the one that the dispatcher was started
 * for. Also asks why Redis refuses writes, while it does.
 */
import { monotonicMs } from '../core/clock.ts';
import { SettingsChangedError, type RedisReplyError } from '../core/errors/server-errors.ts';
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
  /** Start of the look under way, by monotonicMs(). Null: none is under way. */
  #lookingSinceMs: number | null = null;
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

  /** Time for which the look under way has had no answer, ms. 0: no look is under way. */
  get unansweredMs(): number {
    return this.#lookingSinceMs === null ? 0 : monotonicMs() - this.#lookingSinceMs;
  }

  /** Ignores a Redis that does not answer: the lanes tell of that, and the next look asks again. */
  async #look(): Promise<void> {
    this.#lookingSinceMs = monotonicMs();
    await Promise.allSettled([this.#verify()]);
    if (!this.#loop.signal.aborted) await Promise.allSettled([this.#probe()]);
    await Promise.allSettled([this.#askWhyRefused()]);
    this.#lookingSinceMs = null;
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
