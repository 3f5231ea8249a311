/**
 * What a deployment is fixed to (its number of partitions), in Redis: `mr:registry:settings`.
 * Written by the first process that publishes or consumes; whoever only looks writes nothing.
 *
 * Redis may forget it under living processes (FLUSHALL, a restored backup). So each of them
 * compares, and writes it down again: see settle-settings.lua for which of two deployments counts
 * then.
 */
import { monotonicMs } from '../core/clock.ts';
import { RedisReplyError, SettingsChangedError } from '../core/errors.ts';
import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './script.ts';

const script = defineScript({ url: new URL('./settle-settings.lua', import.meta.url), keys: 1 });

export const DEFAULT_PARTITIONS = 16;
/** How old an answer may be that a flush or a round relies on, in ms. */
const FRESH_MS = 1000;

export interface Settings {
  readonly partitions: number;
  /**
   * By the server's clock, ms since 1970; 0 for a deployment older than this field; '' where
   * nothing is settled.
   */
  readonly created: string;
}

/** Reads only. @returns null where nobody has started anything yet */
export async function readSettings(
  connection: RedisConnection,
  keys: Keys,
): Promise<Settings | null> {
  const [partitions, created] = (await connection.command(
    'HMGET',
    keys.settings(),
    'partitions',
    'created',
  )) as (string | null)[];
  return partitions === null || partitions === undefined
    ? null
    : { partitions: Number(partitions), created: created ?? '0' };
}

/** Settles what is not settled yet. @param partitions where nothing is */
export async function settleSettings(
  connection: RedisConnection,
  keys: Keys,
  partitions: number,
): Promise<Settings> {
  return (
    (await readSettings(connection, keys)) ??
    (await assert(connection, keys, { partitions, created: '' }))
  );
}

async function assert(
  connection: RedisConnection,
  keys: Keys,
  { partitions, created }: Settings,
): Promise<Settings> {
  const reply = (await script.run(connection, [keys.settings()], [partitions, created])) as [
    string,
    string,
  ];
  return { partitions: Number(reply[0]), created: reply[1] };
}

/** One per deployment of a process: its publishers, stores and dispatchers share the answers. */
export class SettingsGuard {
  readonly #connection: RedisConnection;
  readonly #keys: Keys;
  readonly #own: Settings;
  #checkedMs = monotonicMs();
  #checking: Promise<void> | null = null;
  #changed: SettingsChangedError | null = null;

  constructor(connection: RedisConnection, keys: Keys, own: Settings) {
    this.#connection = connection;
    this.#keys = keys;
    this.#own = own;
    connection.on('up', () => this.doubt());
  }

  /**
   * Redis may have forgotten something: the next verify() asks, however young the last answer is.
   */
  doubt(): void {
    this.#checkedMs = -Infinity;
  }

  /** Null: the answer is young, and there is nothing to wait for. */
  verify(): Promise<void> | null {
    if (this.#changed !== null) return Promise.reject(this.#changed);
    if (monotonicMs() - this.#checkedMs < FRESH_MS) return null;
    this.#checking ??= this.#check().finally(() => (this.#checking = null));
    return this.#checking;
  }

  /** @throws SettingsChangedError; UnknownOutcomeError, RedisReplyError where Redis does not say */
  async #check(): Promise<void> {
    const startedMs = monotonicMs();
    const { partitions } = await assert(this.#connection, this.#keys, this.#own).catch(
      (error: unknown) => {
        // They are missing, and cannot be written now: nor can anything else, so nobody goes by
        // others.
        if (error instanceof RedisReplyError && error.refuses === 'writes') return this.#own;
        throw error;
      },
    );
    this.#checkedMs = startedMs;
    if (partitions !== this.#own.partitions)
      throw (this.#changed = new SettingsChangedError(
        this.#keys.namespace,
        this.#own.partitions,
        partitions,
      ));
  }
}
