/**
 * The presence of a dispatcher: a record with a TTL that tells of its threads and lanes, for people
 * who look. Nothing in Millrace relies on it: members and leases say who works on which lane.
 */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection, RedisSender } from '../../redis/contract.ts';

/** Time for which a record is kept after the last one, ms. */
const KEPT_MS = 10_000;

export interface Presence {
  readonly dispatcher: string;
  /** Version of Millrace. */
  readonly version: string;
  /** Time since its start, ms. */
  readonly upMs: number;
  /** Threads of its pool, and those that run a batch. */
  readonly threads: number;
  readonly busy: number;
  /** Batches that wait for a thread. */
  readonly queued: number;
  /** Lanes that it owns. */
  readonly lanes: number;
  /** Resident memory of its process, bytes. */
  readonly rssBytes: number;
  /** Threads that died or were ended. */
  readonly threadDeaths: number;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function announcePresence(
  connection: RedisSender,
  keys: Keys,
  { dispatcher, ...record }: Presence,
): Promise<void> {
  await connection.command('SET', keys.presence(dispatcher), JSON.stringify(record), 'PX', KEPT_MS);
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function removePresence(
  connection: RedisSender,
  keys: Keys,
  dispatcher: string,
): Promise<void> {
  await connection.command('UNLINK', keys.presence(dispatcher));
}

/**
 * Reads the records of these dispatchers. A dispatcher without a readable record is left out.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readPresences(
  connection: RedisConnection,
  keys: Keys,
  dispatchers: readonly string[],
): Promise<Presence[]> {
  const texts = (await Promise.all(
    dispatchers.map((dispatcher) => connection.command('GET', keys.presence(dispatcher))),
  )) as (string | null)[];
  return texts.flatMap((text, i) => {
    const found = text === null ? null : parse(text);
    return found === null ? [] : [{ ...found, dispatcher: dispatchers[i] as string }];
  });
}

/** Null: another program has written the record. */
function parse(text: string): Omit<Presence, 'dispatcher'> | null {
  try {
    const found = JSON.parse(text) as Partial<Record<keyof Presence, unknown>>;
    const number = (name: keyof Presence): number => {
      const value = found[name];
      return typeof value === 'number' && Number.isFinite(value) ? value : 0;
    };
    return {
      version: typeof found.version === 'string' ? found.version : '',
      upMs: number('upMs'),
      threads: number('threads'),
      busy: number('busy'),
      queued: number('queued'),
      lanes: number('lanes'),
      rssBytes: number('rssBytes'),
      threadDeaths: number('threadDeaths'),
    };
  } catch {
    return null;
  }
}
