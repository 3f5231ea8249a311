/**
 * Facts about a deployment, read from Redis with a plain client. Tests wait for these facts and
 * compare them.
 */
import { splitCounterField } from '../../src/redis/counters.ts';
import type { Redis } from 'ioredis';
import { untilTold, countersOf, NotYet } from './until.ts';

export interface Totals {
  readonly appended: number;
  readonly done: number;
  readonly dead: number;
  readonly parked: number;
  readonly retried: number;
}

/** Returns the sums of mr:{p}:counters over partitions and types. */
export async function totals(redis: Redis, fn: string, partitions: number): Promise<Totals> {
  const out = { appended: 0, done: 0, dead: 0, parked: 0, retried: 0 };
  for (let p = 0; p < partitions; p++) {
    const counters = await redis.hgetall(`mr:{${p}}:counters`);
    for (const [field, value] of Object.entries(counters)) {
      const [name, of] = splitCounterField(field);
      if (name === 'appended' || (name in out && of === fn))
        out[name as keyof Totals] += Number(value);
    }
  }
  return out;
}

/** Waits until `count` events are done or dead for the function and none is parked. */
export async function settled(
  redis: Redis,
  fn: string,
  partitions: number,
  count: number,
  timeoutMs = 60_000,
): Promise<Totals> {
  return untilTold(
    countersOf(redis),
    `${count} events are settled`,
    async () => {
      const now = await totals(redis, fn, partitions);
      return now.done + now.dead >= count && now.parked === 0 ? now : new NotYet(now);
    },
    timeoutMs,
  );
}

export interface DeadLetter {
  readonly partition: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly event: Buffer;
}

export async function deadLetters(
  redis: Redis,
  fn: string,
  partitions: number,
): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for (let p = 0; p < partitions; p++) {
    for (const [, flat] of await redis.xrangeBuffer(`mr:{${p}}:dead:${fn}`, '-', '+')) {
      const fields: Record<string, string> = {};
      let event: Buffer = Buffer.alloc(0);
      for (let i = 0; i + 1 < flat.length; i += 2) {
        const name = String(flat[i]);
        if (name === 'event') event = flat[i + 1] as Buffer;
        else fields[name] = String(flat[i + 1]);
      }
      out.push({ partition: p, fields, event });
    }
  }
  return out;
}

export async function entriesIn(
  redis: Redis,
  partitions: number,
  types: readonly string[],
): Promise<number> {
  let entries = 0;
  for (let p = 0; p < partitions; p++)
    for (const type of types) entries += await redis.xlen(`mr:{${p}}:events:${type}`);
  return entries;
}

/**
 * Returns everything in the database but leases, members, presence, trend, audit and TTLs, to show
 * that nothing has changed.
 */
export async function dump(redis: Redis): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for (const key of (await redis.keys('*')).sort()) {
    if (/:lease:|:members:|:presence:|:\{trend\}:|:audit$/.test(key)) continue;
    out[key] = ((await redis.dumpBuffer(key)) ?? Buffer.alloc(0)).toString('hex');
  }
  return out;
}
