/** A lane whose scripts a test calls directly: take.lua, commit.lua and those of leases. */
import type { Redis } from 'ioredis';
import { OWNER } from '../../src/core/function-spec.ts';
import { acquireLease } from '../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisArg, RedisConnection } from '../../src/redis/contract.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { defineScript } from '../../src/redis/script.ts';
import {
  APPEND_ENTRIES,
  ARRIVALS,
  HOLDS_LEASE,
  SCHEDULE_EVENT,
} from '../../src/redis/lua/shared.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';

const take = defineScript({
  url: new URL('../../src/pipeline/read/take.lua', import.meta.url),
  keys: 'variable',
});
const commit = defineScript({
  url: new URL('../../src/pipeline/commit/commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    ARRIVALS,
    new URL('../../src/pipeline/commit/emit-events.lua', import.meta.url),
  ],
  keys: 'variable',
});
export const keys = createKeys('mr');
export const FN = 'f';
export const LANE = { fn: FN, partition: 0, consumer: OWNER };
const TYPES = ['a', 'b'];

export interface ScriptLane {
  readonly connection: RedisConnection;
  readonly look: Redis;
  readonly lease: string;
}

export async function openScriptLane(t: TestLike): Promise<ScriptLane> {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  await registerFunction(connection, keys, 0, {
    name: FN,
    on: TYPES,
    startFrom: 'start',
    ordering: 'key',
  });
  const answer = await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 });
  if (!('value' in answer)) throw new Error('the lane is not free');
  return { connection, look: redis.client(), lease: answer.value };
}

interface TakeCall {
  readonly lease?: string;
  readonly count?: number;
  readonly units?: number;
  readonly after?: readonly [string, string];
}
export async function callTake(
  { connection, lease }: ScriptLane,
  call: TakeCall = {},
): Promise<[string, string, string, string[], string[], string[]]> {
  return (await take.run(
    connection,
    [keys.lease(0, FN), keys.due(0, FN), ...TYPES.map((type) => keys.events(0, type))],
    [
      call.lease ?? lease,
      60_000,
      FN,
      call.units ?? 10,
      call.count ?? 100,
      'lane',
      ...(call.after ?? ['>', '>']),
    ],
  )) as [string, string, string, string[], string[], string[]];
}

export interface CommitCall {
  readonly lease?: string;
  readonly turn?: string;
  readonly units?: readonly string[];
  /** stream 1 or 2, id, done */
  readonly entries?: readonly (readonly [number, string, number])[];
  /** unit, entry, delay, bytes */
  readonly parked?: readonly (readonly [number, number, number | '', string])[];
  /** entry, type, events, fields, unit that it holds */
  readonly dead?: readonly (readonly [number, string, number, readonly string[], number?])[];
  /** unit, taken, settled, head, delay */
  readonly retries?: readonly (readonly [
    number,
    number,
    readonly (readonly [string, 'done' | 'dead'])[],
    string,
    number | '',
  ])[];
}
export async function callCommit(
  { connection, lease }: ScriptLane,
  call: CommitCall,
): Promise<unknown[]> {
  const { units = [], entries = [], parked = [], dead = [], retries = [] } = call;
  const args: RedisArg[] = [
    call.lease ?? lease,
    60_000,
    FN,
    call.turn ?? '1.1',
    TYPES.length,
    units.length,
    entries.length,
    parked.length,
    dead.length,
    retries.length,
    0,
    0,
    0,
    0,
    0,
    '',
    ...TYPES,
    ...units,
    ...entries.flat(),
    ...parked.flat(),
  ];
  for (const [entry, type, events, fields, holds = 0] of dead)
    args.push(entry, type, events, holds, fields.length, ...fields);
  for (const [unit, taken, settled, head, delay] of retries)
    args.push(unit, taken, settled.length, ...settled.flat(), head, delay);
  return (await commit.run(
    connection,
    [
      keys.lease(0, FN),
      keys.counters(0),
      keys.due(0, FN),
      keys.dead(0, FN),
      keys.held(0, FN),
      keys.arrived(0, FN),
      ...TYPES.map((type) => keys.events(0, type)),
      ...units.map((unit) => keys.parked(0, FN, unit)),
    ],
    args,
  )) as unknown[];
}
export const add = async (
  look: Redis,
  type: string,
  id: string,
  ...fields: string[]
): Promise<string> =>
  (await look.xadd(
    keys.events(0, type),
    id,
    ...(fields.length > 0 ? fields : ['b', `bytes of ${id}`]),
  )) as string;
