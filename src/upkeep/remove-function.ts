/**
 * Forgets a function that is deployed no more: until then it holds its streams against retention,
 * and counts as behind.
 */
import { MillraceError } from '../core/errors.ts';
import { laneName } from '../core/function-spec.ts';
import type { Deployment } from '../deployment.ts';
import { readPartitions, requireFunction } from '../pipeline/dead/registered-functions.ts';
import { withRetry } from '../redis/connection.ts';
import { defineScript } from '../redis/script.ts';

const script = defineScript({
  url: new URL('./remove-function.lua', import.meta.url),
  keys: 'variable',
});

/** Lists a call. */
const PAGE = 100;
const DEADLINE_MS = 15_000;

/**
 * A dispatcher runs the function: stop it, or deploy without the function, first. Nothing was
 * removed.
 */
export class FunctionInUseError extends MillraceError {
  readonly code = 'FUNCTION_IN_USE';
  constructor(name: string, dispatchers: readonly string[]) {
    super(
      `function "${name}" is run by ${dispatchers.join(', ')}: deploy without it first; a lease that nobody renews ends by itself after MILLRACE_LEASE_MS. Nothing was removed`,
    );
  }
}

/** Events would be thrown away with the function. Nothing was removed. */
export class FunctionHasEventsError extends MillraceError {
  readonly code = 'FUNCTION_HAS_EVENTS';
  readonly left: Remains;
  constructor(name: string, left: Remains) {
    super(
      `function "${name}" still has ${left.parkedUnits} parked subjects, ${left.deadLetters} dead letters and ${left.pendingEntries} pending entries, which would be gone. ` +
        'Purge them first (dlq purge), or discard them with it (--discard). Nothing was removed',
    );
    this.left = left;
  }
}

export interface Remains {
  readonly parkedUnits: number;
  readonly deadLetters: number;
  readonly pendingEntries: number;
}

/**
 * Its groups, leases, counters, parked lists and dead letters, in all partitions. What it has not
 * read is not asked about: the events stay in the streams, for others. Broken off half-way, it is
 * known still, and may be removed again.
 *
 * @param discard remove it although it has parked, dead or pending events
 * @returns what went with it
 * @throws UnknownFunctionError, FunctionInUseError, FunctionHasEventsError, UnknownOutcomeError
 */
export async function removeFunction(
  source: Deployment,
  name: string,
  discard: boolean,
): Promise<Remains> {
  const { connection, keys, partitions } = source;
  const states = await readPartitions(source);
  requireFunction(states, name);
  const serving = await servingDispatchers(source, name);
  if (serving.length > 0) throw new FunctionInUseError(name, serving);
  const base = (partition: number): string[] => [
    keys.lease(partition, name),
    keys.counters(partition),
    keys.due(partition, name),
    keys.held(partition, name),
    keys.dead(partition, name),
    keys.settledIds(partition, name, 0),
    keys.settledIds(partition, name, 1),
    keys.helpers(partition, name),
  ];
  const typesOf = (partition: number): string[] => {
    const types = new Set(states[partition]?.functions.find((fn) => fn.name === name)?.types ?? []);
    // also those it no longer consumes: their groups are there still
    for (const field of states[partition]?.counters.keys() ?? [])
      if (field.startsWith(`base:${name}:`)) types.add(field.slice(`base:${name}:`.length));
    return [...types];
  };
  const call = async (
    partition: number,
    more: readonly string[],
    args: readonly string[],
  ): Promise<[string, ...unknown[]]> => {
    const reply = (await withRetry(
      () => script.run(connection, [...base(partition), ...more], [name, ...args]),
      { deadlineMs: DEADLINE_MS },
    )) as [string, ...unknown[]];
    if (reply[0] === 'owned')
      throw new FunctionInUseError(name, [String(reply[1]).replace(/:\d+$/, '')]);
    return reply;
  };

  const left = { parkedUnits: 0, deadLetters: 0, pendingEntries: 0 };
  for (let partition = 0; partition < partitions; partition++) {
    for (const helper of (await connection.command(
      'SMEMBERS',
      keys.helpers(partition, name),
    )) as string[]) {
      if ((await connection.command('EXISTS', keys.lease(partition, laneName(name, helper)))) === 1)
        throw new FunctionInUseError(name, [helper]);
    }
    const [, parked, dead, pending] = await call(
      partition,
      typesOf(partition).map((type) => keys.events(partition, type)),
      ['look'],
    );
    left.parkedUnits += Number(parked);
    left.deadLetters += Number(dead);
    left.pendingEntries += Number(pending);
  }
  if (!discard && (left.parkedUnits > 0 || left.deadLetters > 0 || left.pendingEntries > 0))
    throw new FunctionHasEventsError(name, left);

  for (let partition = 0; partition < partitions; partition++) {
    for (;;) {
      const units = (await connection.command(
        'ZRANGE',
        keys.due(partition, name),
        0,
        PAGE - 1,
      )) as string[];
      if (units.length === 0) break;
      await call(
        partition,
        units.map((unit) => keys.parked(partition, name, unit)),
        ['lists', ...units],
      );
    }
    const types = typesOf(partition);
    await call(
      partition,
      types.map((type) => keys.events(partition, type)),
      ['rest', ...types],
    );
  }
  await connection.command('DEL', keys.members(name));
  return left;
}

/** Those that say they serve it, whether or not they own a lane just now. */
async function servingDispatchers(
  { connection, keys }: Deployment,
  name: string,
): Promise<string[]> {
  const [seconds] = (await connection.command('TIME')) as [string, string];
  return (await connection.command(
    'ZRANGEBYSCORE',
    keys.members(name),
    Number(seconds) * 1000,
    '+inf',
  )) as string[];
}
