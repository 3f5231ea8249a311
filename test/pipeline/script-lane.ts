/** A lane whose scripts a test calls directly: take.lua, commit.lua and those of leases. */
import type { Redis } from 'ioredis';
import { OWNER } from '../../src/core/function-spec.ts';
import { acquireLease } from '../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { PartitionTakes, type TakeCall } from '../../src/pipeline/read/partition-takes.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisArg, RedisConnection } from '../../src/redis/contract.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { defineScript } from '../../src/redis/script.ts';
import {
  APPEND_ENTRIES,
  ARRIVALS,
  HOLDS_LEASE,
  LETTER_GROUPS,
  SCHEDULE_EVENT,
} from '../../src/redis/lua/shared.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';

const commit = defineScript({
  url: new URL('../../src/pipeline/commit/commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    ARRIVALS,
    LETTER_GROUPS,
    new URL('../../src/pipeline/commit/emit-events.lua', import.meta.url),
  ],
  keys: 'variable',
});
export const keys = createKeys('mr');
export const FN = 'f';
export const LANE = { fn: FN, partition: 0, consumer: OWNER };
const TYPES = ['a', 'b'];
const ABOUT = '{"name":"TestError","message":"#","frames":[],"type":"a","schema":0}';

export interface ScriptLane {
  readonly fn: string;
  readonly connection: RedisConnection;
  readonly look: Redis;
  readonly lease: string;
}

export async function openScriptLane(t: TestLike): Promise<ScriptLane> {
  const [lane] = await openScriptLanes(t, [FN]);
  return lane as ScriptLane;
}

/** Lanes of one partition. */
export async function openScriptLanes(
  t: TestLike,
  functions: readonly string[],
): Promise<ScriptLane[]> {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const look = redis.client();
  const lanes: ScriptLane[] = [];
  for (const fn of functions) {
    await registerFunction(connection, keys, 0, {
      name: fn,
      on: TYPES,
      startFrom: 'start',
      ordering: 'key',
    });
    const options = { dispatcher: 'one', ttlMs: 60_000 };
    const answer = await acquireLease(connection, keys, { ...LANE, fn }, options);
    if (!('value' in answer)) throw new Error('the lane is not free');
    lanes.push({ fn, connection, look, lease: answer.value });
  }
  return lanes;
}

interface TakeWanted {
  readonly lease?: string;
  readonly count?: number;
  readonly units?: number;
  readonly after?: readonly [string, string];
}
export function takeCall({ fn, lease }: ScriptLane, wanted: TakeWanted = {}): TakeCall {
  const { after = ['>', '>'], units = 10, count = 100 } = wanted;
  return {
    leaseKey: keys.lease(0, fn),
    dueKey: keys.due(0, fn),
    leaseValue: wanted.lease ?? lease,
    fn,
    consumer: 'lane',
    units,
    count,
    streams: TYPES.map((type, i) => ({ key: keys.events(0, type), after: after[i] as string })),
  };
}

/** @returns kind, server time, next due, units, then per type id, b, n, c of each entry */
export async function callTake(
  lane: ScriptLane,
  wanted: TakeWanted = {},
): Promise<readonly (string | readonly string[])[]> {
  const takes = new PartitionTakes(lane.connection, 60_000);
  const answer = await takes.take(takeCall(lane, wanted));
  if (answer.kind === 'error') throw answer.error;
  if (answer.kind === 'nogroup') return [answer.kind, answer.message];
  if (answer.kind === 'stale') return [answer.kind];
  const flat = answer.entries.map((entries) =>
    entries.flatMap(({ id, bytes, n, crc, gone }) => [
      id,
      String(bytes),
      gone ? 'gone' : String(n ?? ''),
      String(crc ?? ''),
    ]),
  );
  const { kind, serverNowMs, nextDueMs } = answer;
  return [kind, String(serverNowMs), String(nextDueMs ?? ''), answer.units, ...flat];
}

export interface CommitCall {
  readonly lease?: string;
  readonly turn?: string;
  readonly units?: readonly string[];
  /** stream 1 or 2, id, done */
  readonly entries?: readonly (readonly [number, string, number])[];
  /** unit, entry, delay, bytes */
  readonly parked?: readonly (readonly [number, number, number | '', string])[];
  /** entry, type, events, fields, unit that it holds, fingerprint */
  readonly dead?: readonly (readonly [
    number,
    string,
    number,
    readonly string[],
    number?,
    string?,
  ])[];
  /** unit, taken, settled, head, delay */
  readonly retries?: readonly (readonly [
    number,
    number,
    readonly (readonly [string, 'done' | 'dead'])[],
    string,
    number | '',
  ])[];
}
export async function callCommit(lane: ScriptLane, call: CommitCall): Promise<unknown[]> {
  const { keys, args } = commitPlan(lane, call);
  const [reply] = (await commit.run(lane.connection, keys, [...args, 1])) as unknown[][];
  return reply as unknown[];
}

/** Entries of one stream and one number of events done, as commit.lua reads them. */
function inRuns(entries: readonly (readonly [number, string, number])[]): (string | number)[] {
  const args: (string | number)[] = [];
  for (let from = 0, to; from < entries.length; from = to) {
    const [stream, , done] = entries[from] as (typeof entries)[number];
    to = entries.findIndex((one, i) => i > from && (one[0] !== stream || one[2] !== done));
    if (to < 0) to = entries.length;
    args.push(stream, done, to - from, ...entries.slice(from, to).map(([, id]) => id));
  }
  return args;
}

/** The call's keys and arguments. */
export function commitPlan(
  { fn, lease }: ScriptLane,
  call: CommitCall,
): { readonly partition: number; readonly keys: string[]; readonly args: RedisArg[] } {
  const { units = [], entries = [], parked = [], dead = [], retries = [] } = call;
  const planKeys = [
    keys.lease(0, fn),
    keys.counters(0),
    keys.due(0, fn),
    keys.dead(0, fn),
    keys.held(0, fn),
    keys.arrived(0, fn),
    ...TYPES.map((type) => keys.events(0, type)),
    ...units.map((unit) => keys.parked(0, fn, unit)),
    ...(dead.length > 0 ? [keys.groups(0, fn)] : []),
  ];
  const args: RedisArg[] = [
    call.lease ?? lease,
    60_000,
    fn,
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
    planKeys.length,
    '',
    ...TYPES,
    ...units,
    ...inRuns(entries),
    ...parked.flat(),
  ];
  for (const [entry, type, events, fields, holds = 0, fingerprint = '00000000000f'] of dead)
    args.push(entry, type, events, holds, fingerprint, ABOUT, fields.length, ...fields);
  for (const [unit, taken, settled, head, delay] of retries)
    args.push(unit, taken, settled.length, ...settled.flat(), head, delay);
  // The records in hand are not named, and so not checked.
  args.push(...retries.map(() => ''));
  return { partition: 0, keys: planKeys, args };
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
