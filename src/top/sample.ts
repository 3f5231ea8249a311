/**
 * One look at the deployment for `millrace top`: the lag of each function, who owns its lanes, and
 * the dispatchers. The work in Redis is that of `millrace lag`, and a few reads for each lane.
 */
import { dispatcherOf } from '../core/lease-value.ts';
import { monotonicMs } from '../core/clock.ts';
import { readAlerts } from '../alerts/alert-store.ts';
import { shownState } from '../alerts/shown-alert.ts';
import { readSilences } from '../alerts/silences.ts';
import { readLag, type FunctionLag, type TypeLag } from '../lag/lag.ts';
import { readPresences, type Presence } from '../pipeline/ownership/presence.ts';
import type { RedisSource } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';

/** A function at one moment. */
export interface FunctionSample extends Pick<
  FunctionLag,
  'name' | 'appended' | 'done' | 'dead' | 'lag' | 'pending' | 'parked' | 'oldestMs' | 'conserved'
> {
  readonly types: readonly Pick<
    TypeLag,
    'type' | 'partition' | 'appended' | 'done' | 'lag' | 'pending' | 'parked' | 'dead' | 'oldestMs'
  >[];
  /** Owner of each partition's lane; null: nobody. */
  readonly owners: readonly (string | null)[];
}

export interface TopSample {
  /** Time of the look, by monotonicMs(). */
  readonly atMs: number;
  readonly partitions: number;
  readonly functions: readonly FunctionSample[];
  /** Dispatchers that own lanes. One without a record has no presence. */
  readonly dispatchers: readonly (Presence | { readonly dispatcher: string })[];
  /** Events in partitions that nobody reads. */
  readonly unserved: number;
  /** Alerts that fire and are not silenced: name, and function if it has one. */
  readonly firing: readonly string[];
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readTop(source: RedisSource): Promise<TopSample> {
  const { connection, keys, partitions } = source;
  const report = await readLag(source);
  const functions = await Promise.all(
    report.functions.map(async (fn): Promise<FunctionSample> => {
      const leases = (await Promise.all(
        Array.from({ length: partitions }, (_, partition) =>
          connection.command('GET', keys.lease(partition, fn.name)),
        ),
      )) as (string | null)[];
      return {
        ...fn,
        owners: leases.map((lease) => (lease === null ? null : dispatcherOf(lease))),
      };
    }),
  );
  const names = [
    ...new Set(functions.flatMap(({ owners }) => owners.filter((owner) => owner !== null))),
  ].sort();
  const known = await readPresences(connection, keys, names);
  return {
    atMs: monotonicMs(),
    partitions,
    functions,
    dispatchers: names.map(
      (dispatcher) => known.find((one) => one.dispatcher === dispatcher) ?? { dispatcher },
    ),
    firing: await readFiring(source),
    unserved: (report.unserved ?? []).reduce((sum, { events }) => sum + events, 0),
  };
}

async function readFiring(source: RedisSource): Promise<string[]> {
  const [{ alerts }, silences] = await Promise.all([
    readAlerts(source),
    serverTime(source).then((nowMs) => readSilences(source, nowMs)),
  ]);
  return [...alerts.values()]
    .filter((alert) => shownState(alert, silences) === 'firing')
    .map(({ name, labels }) => [name, labels['function'] ?? ''].join(' ').trim())
    .sort();
}
