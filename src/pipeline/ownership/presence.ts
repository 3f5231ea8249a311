/**
 * The presence of a dispatcher: a record with a TTL that tells of its threads and lanes, for people
 * who look. Nothing in Millrace relies on it: members and leases say who works on which lane.
 */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection, RedisSender } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';

const leaveScript = defineScript({
  url: new URL('./leave-presence.lua', import.meta.url),
  keys: 1,
});

/** Time for which a record is kept after the last one, ms. */
const KEPT_MS = 10_000;
/** Time for which a farewell is kept, ms. */
export const FAREWELL_MS = 600_000;
/** Most functions whose versions a record has. */
const MOST_VERSIONS = 500;

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
  /**
   * Ids of the schemas that its functions read with, by event type: those of the first 500 types.
   * Absent: an earlier Millrace does not tell.
   */
  readonly schemas?: Readonly<Record<string, number>>;
  /** Versions of its functions, by name. Missing: an older Millrace does not tell them. */
  readonly functions?: Readonly<Record<string, string>>;
  /**
   * Lanes that are not idle: the first 300, those that got nothing done for longest in front.
   * Missing: an older Millrace does not tell them.
   */
  readonly work?: readonly LaneWork[];
}

/** A lane that works, or tries to. */
export interface LaneWork {
  readonly function: string;
  readonly partition: number;
  /** Its present step, as in `Doing`: 'running', 'committing', 'failing' and others. */
  readonly doing: string;
  /** Time since it last got something done, ms. */
  readonly quietMs: number;
}

/** Most lanes in `work`. */
export const PRESENCE_LANES = 300;

/** Most types in `schemas`: the record is written every two seconds. */
export const PRESENCE_TYPES = 500;

/** @throws UnknownOutcomeError, RedisReplyError */
export async function announcePresence(
  connection: RedisSender,
  keys: Keys,
  { dispatcher, ...record }: Presence,
): Promise<void> {
  await connection.command('SET', keys.presence(dispatcher), JSON.stringify(record), 'PX', KEPT_MS);
}

/**
 * Ends the presence of a dispatcher that stops. A farewell stays for a while: without one, the
 * dispatcher has died.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function removePresence(
  connection: RedisSender,
  keys: Keys,
  dispatcher: string,
): Promise<void> {
  const farewell = JSON.stringify({ left: true } satisfies Farewell);
  await leaveScript.run(connection, [keys.presence(dispatcher)], [farewell, FAREWELL_MS]);
}

/** Record of a dispatcher that has stopped. */
interface Farewell {
  readonly left: true;
}

/**
 * Reads the records of these dispatchers. A dispatcher without a readable record is left out, and
 * so is one that has stopped.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readPresences(
  connection: RedisConnection,
  keys: Keys,
  dispatchers: readonly string[],
): Promise<Presence[]> {
  const all = await readDispatchers(connection, keys, dispatchers);
  return [...all.values()].filter((one) => one !== 'left');
}

/**
 * Reads the records of these dispatchers. A dispatcher without a readable record is left out.
 * @returns by dispatcher: its record; `left`: it has stopped in the last FAREWELL_MS
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readDispatchers(
  connection: RedisConnection,
  keys: Keys,
  dispatchers: readonly string[],
): Promise<Map<string, Presence | 'left'>> {
  const texts = (await Promise.all(
    dispatchers.map((dispatcher) => connection.command('GET', keys.presence(dispatcher))),
  )) as (string | null)[];
  const found = new Map<string, Presence | 'left'>();
  for (const [i, dispatcher] of dispatchers.entries()) {
    const text = texts[i] ?? null;
    const record = text === null ? null : parse(text);
    if (record === 'left') found.set(dispatcher, record);
    else if (record !== null) found.set(dispatcher, { ...record, dispatcher });
  }
  return found;
}

/** Returns the versions of the functions, as a record has them. */
export function versionsOf(
  functions: readonly { readonly spec: { readonly name: string }; readonly version: string }[],
): Readonly<Record<string, string>> {
  const told = functions.slice(0, MOST_VERSIONS);
  return Object.fromEntries(told.map(({ spec, version }) => [spec.name, version]));
}

/** Null: another program has written the record. */
function parse(text: string): Omit<Presence, 'dispatcher'> | 'left' | null {
  try {
    const found = JSON.parse(text) as Partial<Record<keyof Presence | keyof Farewell, unknown>>;
    if (found.left === true) return 'left';
    const versions = versionsIn(found.functions);
    const work = workIn(found.work);
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
      ...schemasIn(found.schemas),
      ...(versions && { functions: versions }),
      ...(work && { work }),
    };
  } catch {
    return null;
  }
}

function schemasIn(value: unknown): Pick<Presence, 'schemas'> {
  if (typeof value !== 'object' || value === null) return {};
  const ids = Object.entries(value).filter(([, id]) => Number.isSafeInteger(id));
  return { schemas: Object.fromEntries(ids) as Record<string, number> };
}

/** Null: there are none. */
function versionsIn(found: unknown): Readonly<Record<string, string>> | null {
  if (typeof found !== 'object' || found === null) return null;
  const texts = Object.entries(found).filter(([, version]) => typeof version === 'string');
  return Object.fromEntries(texts.slice(0, MOST_VERSIONS)) as Record<string, string>;
}

/** Null: the record does not tell. Entries of another form are left out. */
function workIn(found: unknown): readonly LaneWork[] | null {
  if (!Array.isArray(found)) return null;
  return (found as unknown[]).slice(0, PRESENCE_LANES).filter((one): one is LaneWork => {
    const lane = one as Partial<Record<keyof LaneWork, unknown>> | null;
    return (
      typeof lane?.function === 'string' &&
      typeof lane.partition === 'number' &&
      typeof lane.doing === 'string' &&
      typeof lane.quietMs === 'number'
    );
  });
}
