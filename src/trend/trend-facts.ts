/**
 * Reads the deployment for a sample and its marks. Reads only.
 *
 * The cost does not depend on backlog, dead letters or parked subjects. The lag is the reading that
 * alerts and metrics share. Beside it there are a few commands for each function, each partition
 * and each dispatcher, all of them bounded.
 */
import type { AlertRecord } from '../alerts/alert-record.ts';
import { readAlerts } from '../alerts/alert-store.ts';
import { readAuditAfter, type ChangesAfter } from '../audit/read-audit.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { LagReport } from '../lag/lag.ts';
import { readLossesAfter, type LossesAfter } from '../lag/losses.ts';
import { readDispatchers, type Presence } from '../pipeline/ownership/presence.ts';
import { counterFields } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import type { Known } from './known-state.ts';
import { readRedisMasters, type RedisMaster } from './redis-master.ts';
import { MOST_TREND_FUNCTIONS } from './trend-times.ts';

/** The state of one moment. Null: this part could not be read. */
export interface TrendFacts {
  /** Time of the look by the server's clock, ms since 1970. */
  readonly nowMs: number;
  readonly lag: LagReport | null;
  /** Events appended so far, of all types. */
  readonly appended: number | null;
  /**
   * Dispatchers by id.
   * - its presence
   * - `silent`: it serves functions, and has no presence
   * - `left`: it has stopped
   */
  readonly dispatchers: ReadonlyMap<string, Presence | 'silent' | 'left'> | null;
  readonly registered: RegisteredSchemas | null;
  readonly masters: readonly RedisMaster[] | null;
  readonly changes: ChangesAfter | null;
  readonly losses: LossesAfter | null;
  readonly alerts: readonly AlertRecord[] | null;
}

export interface RegisteredSchemas {
  /** Last version of each subject. */
  readonly subjects: ReadonlyMap<string, number>;
  /** Versions that are new since the look before. At most MOST_DETAILS of them have details. */
  readonly fresh: readonly FreshSchema[];
}

export interface FreshSchema {
  readonly subject: string;
  readonly version: number;
  /** Null: they were not read. */
  readonly details: { readonly id: string; readonly by: string; readonly atMs: number } | null;
}

export interface FactSources {
  readonly source: RedisSource;
  /** Reading that alerts and metrics share. */
  readonly lag: () => Promise<LagReport>;
  /** Told of each part that could not be read. */
  readonly failed: (part: string, error: MillraceError) => void;
}

/** Bounds of one look. */
const MOST_TYPES = 1000;
const MOST_SUBJECTS = 2000;
const MOST_DETAILS = 20;
const MOST_DISPATCHERS = 1000;
const MOST_RECORDS = 500;
/** Losses of a partition. */
const MOST_LOSSES = 100;

/**
 * Reads all parts at the same time. A part that fails is null: it costs no other part.
 * @param known state at the look before. Null: there was none
 */
export async function readTrendFacts(
  sources: FactSources,
  known: Known | null,
  nowMs: number,
): Promise<TrendFacts> {
  const { source, lag: readShared, failed } = sources;
  const part = async <T>(name: string, reading: Promise<T>): Promise<T | null> => {
    try {
      return await reading;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      failed(name, error);
      return null;
    }
  };
  const [lag, registered, masters, changes, losses, alerts] = await Promise.all([
    part('lag', readShared()),
    part('schemas', readRegistered(source, known)),
    part('INFO', readRedisMasters(source.connection)),
    part('audit log', readAuditAfter(source, known?.audit ?? null, MOST_RECORDS)),
    part('losses', readLossesAfter(source, known?.losses ?? [], MOST_LOSSES)),
    part('alerts', readAlerts(source)),
  ]);
  const functions = lag?.functions.map(({ name }) => name) ?? [];
  const types = new Set(lag?.functions.flatMap((fn) => fn.types.map(({ type }) => type)));
  for (const subject of registered?.subjects.keys() ?? []) types.add(subject);
  const [appended, dispatchers] = await Promise.all([
    part('counters', readAppended(source, [...types].slice(0, MOST_TYPES))),
    lag === null ? null : part('dispatchers', readServing(source, functions, known, nowMs)),
  ]);
  return {
    nowMs,
    lag,
    appended,
    dispatchers,
    registered,
    masters,
    changes,
    losses,
    alerts: alerts && [...alerts.alerts.values()],
  };
}

/** Adds up the events appended of these types. */
async function readAppended(
  { connection, keys, partitions }: RedisSource,
  types: readonly string[],
): Promise<number> {
  if (types.length === 0) return 0;
  const fields = types.map((type) => counterFields.appended(type));
  const counts = (await Promise.all(
    Array.from({ length: partitions }, (_, partition) =>
      connection.command('HMGET', keys.counters(partition), ...fields),
    ),
  )) as (string | null)[][];
  return counts.flat().reduce((sum, count) => sum + (Number(count ?? 0) || 0), 0);
}

async function readServing(
  { connection, keys }: RedisSource,
  functions: readonly string[],
  known: Known | null,
  nowMs: number,
): Promise<Map<string, Presence | 'silent' | 'left'>> {
  const members = (await Promise.all(
    functions
      .slice(0, MOST_TREND_FUNCTIONS)
      .map((fn) =>
        connection.command(
          'ZRANGE',
          keys.members(fn),
          `(${nowMs}`,
          '+inf',
          'BYSCORE',
          'LIMIT',
          0,
          MOST_DISPATCHERS,
        ),
      ),
  )) as string[][];
  const serving = new Set(members.flat());
  const ids = [...new Set([...(known?.dispatchers?.keys() ?? []), ...serving])];
  const told = await readDispatchers(connection, keys, ids.slice(0, MOST_DISPATCHERS));
  const found = new Map<string, Presence | 'silent' | 'left'>();
  for (const id of ids.slice(0, MOST_DISPATCHERS)) {
    const record = told.get(id) ?? (serving.has(id) ? 'silent' : null);
    if (record !== null) found.set(id, record);
  }
  return found;
}

/** Null: there are more subjects than are compared. */
async function readRegistered(
  { connection, keys }: RedisSource,
  known: Known | null,
): Promise<RegisteredSchemas | null> {
  const key = keys.registry('subjects');
  if (Number(await connection.command('HLEN', key)) > MOST_SUBJECTS) return null;
  const flat = (await connection.command('HGETALL', key)) as string[];
  const subjects = new Map<string, number>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const version = Number(flat[i + 1]);
    if (Number.isSafeInteger(version)) subjects.set(flat[i] as string, version);
  }
  const before = known?.subjects ?? null;
  const changed =
    before === null
      ? []
      : [...subjects].filter(([subject, version]) => version > (before.get(subject) ?? 0));
  const fresh = changed.map(async ([subject, version], i): Promise<FreshSchema> => {
    if (i >= MOST_DETAILS) return { subject, version, details: null };
    const [id, by, at] = (await connection.command(
      'HMGET',
      keys.registrySubject(subject),
      `id:${version}`,
      `by:${version}`,
      `at:${version}`,
    )) as (string | null)[];
    return { subject, version, details: { id: id ?? '', by: by ?? '', atMs: Number(at) || 0 } };
  });
  return { subjects, fresh: await Promise.all(fresh) };
}
