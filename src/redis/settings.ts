/**
 * The fixed settings of a deployment (its number of partitions) in Redis: `mr:registry:settings`.
 * The first process that publishes or consumes writes them. A process that only looks writes
 * nothing.
 *
 * Redis may forget the settings under living processes (FLUSHALL, a restored backup). So each of
 * them compares the settings, and writes them down again. settle-settings.lua says which of two
 * deployments counts then.
 */
import { monotonicMs } from '../core/clock.ts';
import { RedisReplyError, SettingsChangedError } from '../core/errors/server-errors.ts';
import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './script.ts';

const script = defineScript({ url: new URL('./settle-settings.lua', import.meta.url), keys: 1 });

export const DEFAULT_PARTITIONS = 16;
/** Greatest age of an answer that a flush or a round relies on, ms. */
const FRESH_MS = 1000;

export interface Settings {
  readonly partitions: number;
  /**
   * Time of its creation by the server's clock, ms since 1970. 0: Redis has no such field. '':
   * nothing is settled.
   */
  readonly created: string;
}

/**
 * Reads the settings, and writes nothing.
 * @returns null where no deployment exists yet
 */
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

/**
 * Settles the settings where they are not settled yet.
 * @param partitions number of partitions to settle
 */
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

/**
 * Guards the settings, once for each deployment of a process: its publishers, stores and
 * dispatchers share the answers.
 */
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
   * Doubts the last answer: Redis may have forgotten something. The next verify() asks, whatever
   * the age of that answer.
   */
  doubt(): void {
    this.#checkedMs = -Infinity;
  }

  /** Asks where the answer is old. Null: the answer is young, and there is nothing to wait for. */
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
        // The settings are missing, and cannot be written now. Nothing else can be written either,
        // so nobody goes by other settings.
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
