/**
 * Asks Redis once a second whether the deployment is still the one that the dispatcher was started
 * for. Also asks why Redis refuses writes, while it does.
 */
import { SettingsChangedError, type RedisReplyError } from '../core/errors/server-errors.ts';
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
  /** Told once that the settings have changed. The watch is over then. */
  readonly changed: (error: SettingsChangedError) => void;
}

export class DeploymentWatch implements Lifecycle {
  readonly #options: DeploymentWatchOptions;
  readonly #loop: Loop;
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
  get refusal(): string | null {
    const message = this.#options.refused()?.message ?? null;
    return message !== null && message === this.#described?.message
      ? this.#described.text
      : message;
  }

  /** Ignores a Redis that does not answer: the lanes tell of that, and the next look asks again. */
  async #look(): Promise<void> {
    await Promise.allSettled([this.#verify(), this.#askWhyRefused()]);
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
    const refused = this.#options.refused();
    if (refused === null) this.#described = null;
    else if (refused.message !== this.#described?.message) {
      const text = await describeRefusal(this.#options.connection, refused);
      this.#described = { message: refused.message, text };
    }
  }
}
