/**
 * Forgets a function that is no longer deployed. Until then the function holds its streams against
 * retention, and counts as behind.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { laneName } from '../core/function-spec.ts';
import { dispatcherOf } from '../core/lease-value.ts';
import type { RedisSource } from '../redis/source.ts';
import {
  readPartitions,
  requireFunction,
  splitCounterField,
  type PartitionState,
} from '../redis/counters.ts';
import { defineScript } from '../redis/script.ts';

const script = defineScript({
  url: new URL('./remove-function.lua', import.meta.url),
  keys: 'variable',
});

/** Parked lists deleted by one call. */
const PAGE = 100;

/**
 * A dispatcher runs the function: stop the dispatcher, or deploy without the function, first.
 * Nothing was removed.
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
 * Removes the function's groups, leases, counters, parked lists and dead letters from all
 * partitions. Unread events do not prevent the removal: they stay in the streams for others. After
 * an interruption the function is still known, and may be removed again.
 *
 * @param discard remove it although it has parked, dead or pending events
 * @returns the events removed with it
 * @throws UnknownFunctionError, FunctionInUseError, FunctionHasEventsError, UnknownOutcomeError
 */
export async function removeFunction(
  source: RedisSource,
  name: string,
  discard: boolean,
): Promise<Remains> {
  const states = await readPartitions(source);
  requireFunction(states, name);
  const serving = await servingDispatchers(source, name);
  if (serving.length > 0) throw new FunctionInUseError(name, serving);
  const removals = Array.from(
    { length: source.partitions },
    (_, partition) => new PartitionRemoval(source, name, partition, states[partition]),
  );
  const left = { parkedUnits: 0, deadLetters: 0, pendingEntries: 0 };
  for (const removal of removals) {
    const { parkedUnits, deadLetters, pendingEntries } = await removal.look();
    left.parkedUnits += parkedUnits;
    left.deadLetters += deadLetters;
    left.pendingEntries += pendingEntries;
  }
  if (!discard && (left.parkedUnits > 0 || left.deadLetters > 0 || left.pendingEntries > 0))
    throw new FunctionHasEventsError(name, left);
  for (const removal of removals) await removal.remove();
  await source.connection.command('DEL', source.keys.members(name));
  return left;
}

/** The removal of a function from one partition. */
class PartitionRemoval {
  readonly #source: RedisSource;
  readonly #name: string;
  readonly #partition: number;
  /** Types of the function, with those it no longer consumes: their groups still exist. */
  readonly #types: readonly string[];

  constructor(
    source: RedisSource,
    name: string,
    partition: number,
    state: PartitionState | undefined,
  ) {
    this.#source = source;
    this.#name = name;
    this.#partition = partition;
    const types = new Set(state?.functions.find((fn) => fn.name === name)?.types ?? []);
    for (const field of state?.counters.keys() ?? []) {
      const [kind, fn, type] = splitCounterField(field);
      if (kind === 'base' && fn === name && type !== undefined) types.add(type);
    }
    this.#types = [...types];
  }

  /** @throws FunctionInUseError */
  async look(): Promise<Remains> {
    const { connection, keys } = this.#source;
    const helpers = (await connection.command(
      'SMEMBERS',
      keys.helpers(this.#partition, this.#name),
    )) as string[];
    for (const helper of helpers) {
      const lease = keys.lease(this.#partition, laneName(this.#name, helper));
      if ((await connection.command('EXISTS', lease)) === 1)
        throw new FunctionInUseError(this.#name, [helper]);
    }
    const [, parked, dead, pending] = await this.#call(this.#streams(), ['look']);
    return {
      parkedUnits: Number(parked),
      deadLetters: Number(dead),
      pendingEntries: Number(pending),
    };
  }

  /** @throws FunctionInUseError */
  async remove(): Promise<void> {
    const { connection, keys } = this.#source;
    const due = keys.due(this.#partition, this.#name);
    for (;;) {
      const units = (await connection.command('ZRANGE', due, 0, PAGE - 1)) as string[];
      if (units.length === 0) break;
      const lists = units.map((unit) => keys.parked(this.#partition, this.#name, unit));
      await this.#call(lists, ['lists', ...units]);
    }
    await this.#call(this.#streams(), ['rest', ...this.#types]);
  }

  #streams(): string[] {
    return this.#types.map((type) => this.#source.keys.events(this.#partition, type));
  }

  async #call(more: readonly string[], args: readonly string[]): Promise<[string, ...unknown[]]> {
    const { connection, keys } = this.#source;
    const [name, partition] = [this.#name, this.#partition];
    const base = [
      keys.lease(partition, name),
      keys.counters(partition),
      keys.due(partition, name),
      keys.held(partition, name),
      keys.dead(partition, name),
      keys.settledIds(partition, name, 0),
      keys.settledIds(partition, name, 1),
      keys.helpers(partition, name),
      keys.arrived(partition, name),
      keys.groups(partition, name),
    ];
    const reply = (await withRetry(
      () => script.run(connection, [...base, ...more], [name, ...args]),
      { deadlineMs: DEADLINE_MS },
    )) as [string, ...unknown[]];
    if (reply[0] === 'owned') throw new FunctionInUseError(name, [dispatcherOf(String(reply[1]))]);
    return reply;
  }
}

/** Lists the dispatchers that announce the function, whether or not they own a lane now. */
async function servingDispatchers(
  { connection, keys }: RedisSource,
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
