import fc from 'fast-check';
import type { Redis } from 'ioredis';
import t from 'tap';
import { OWNER } from '../../../src/core/function-spec.ts';
import { appendFlush, type Appended } from '../../../src/pipeline/append/append.ts';
import type { StreamEntry } from '../../../src/pipeline/batch/batch.ts';
import { acquireLease } from '../../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../../src/pipeline/ownership/register.ts';
import { LaneReader } from '../../../src/pipeline/read/lane-reader.ts';
import { PartitionTakes } from '../../../src/pipeline/read/partition-takes.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import type { RedisConnection } from '../../../src/redis/contract.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';

const keys = createKeys('mr');
const ALL_TYPES = ['a', 'b', 'c'];

interface Budget {
  readonly events: number;
  readonly bytes: number;
}

/** Entries of some types, each with this many events and bytes. */
interface Flush extends Budget {
  readonly types: readonly number[];
}

type Step =
  | { readonly do: 'append'; readonly flushes: readonly Flush[] }
  | ({ readonly do: 'take' } & Budget)
  | { readonly do: 'ack' }
  | { readonly do: 'reset' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      flushes: fc.array(
        fc.record({
          types: fc.subarray([0, 1, 2], { minLength: 1 }),
          events: fc.integer({ min: 1, max: 30 }),
          bytes: fc.integer({ min: 1, max: 3000 }),
        }),
        { minLength: 1, maxLength: 30 },
      ),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      events: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 400 })),
      bytes: fc.integer({ min: 1, max: 60_000 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'ack' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'reset' as const }) },
);

interface ModelEntry {
  readonly id: string;
  readonly type: number;
  readonly count: number;
  readonly bytes: number;
}

/** A lane's reader, and a model of its streams that checks each take. */
class ReadLane {
  readonly #connection: RedisConnection;
  readonly #look: Redis;
  readonly #types: readonly string[];
  #lease = '';
  #reader: LaneReader;
  /** All entries, in order. */
  readonly #all: ModelEntry[] = [];
  /** Number of entries given out since the last reset. */
  #given = 0;
  /** Number of entries given out at the last reset. */
  #before = 0;
  #acknowledged = 0;
  #sequence = 0;

  constructor(connection: RedisConnection, look: Redis, types: readonly string[]) {
    this.#connection = connection;
    this.#look = look;
    this.#types = types;
    this.#reader = new LaneReader({
      takes: new PartitionTakes(connection, 600_000),
      fn: 'f',
      leaseKey: keys.lease(0, 'f'),
      dueKey: keys.due(0, 'f'),
      streamKeys: types.map((name) => keys.events(0, name)),
      observed: () => {},
    });
  }

  /** Registers the function in an empty Redis, and takes the lease. */
  async open(): Promise<void> {
    await this.#look.flushall();
    await registerFunction(this.#connection, keys, 0, {
      name: 'f',
      on: this.#types,
      startFrom: 'start',
      ordering: 'key',
    });
    const lease = await acquireLease(
      this.#connection,
      keys,
      { fn: 'f', partition: 0, consumer: OWNER },
      { dispatcher: 'me', ttlMs: 600_000 },
    );
    if (!('value' in lease)) throw new Error('no lease');
    this.#lease = lease.value;
  }

  async step(one: Step): Promise<void> {
    if (one.do === 'append') for (const flush of one.flushes) await this.#append(flush);
    else if (one.do === 'take') await this.#take(one);
    else if (one.do === 'ack') await this.#acknowledge();
    else {
      this.#reader.reset();
      this.#before = Math.max(this.#before, this.#given);
      this.#given = this.#acknowledged;
    }
  }

  /** Takes until nothing is left. All entries have come out then. */
  async drain(): Promise<void> {
    for (let rounds = 0; await this.#take({ events: 100, bytes: 30_000 }); rounds++)
      if (rounds > 5000) throw new Error('never at the end');
    const left = this.#all.length - this.#given;
    if (left !== 0) throw new Error(`${left} entries never came out`);
    if (this.#reader.heldBytes !== 0)
      throw new Error(`${this.#reader.heldBytes} bytes are still held`);
  }

  async #append(flush: Flush): Promise<void> {
    const chosen = flush.types.filter((type) => type < this.#types.length);
    if (chosen.length === 0) return;
    const { entryId } = (await appendFlush(
      {
        partition: 0,
        producer: 'p',
        sequence: ++this.#sequence,
        parts: chosen.map((type) => ({
          type: this.#types[type] as string,
          count: flush.events,
          crc: 0,
          bytes: Buffer.alloc(flush.bytes),
        })),
      },
      {
        connection: this.#connection,
        keys,
        confirm: { kind: 'none' },
        signal: new AbortController().signal,
        deadlineMs: 5000,
      },
    )) as Appended;
    for (const type of chosen)
      this.#all.push({ id: entryId, type, count: flush.events, bytes: flush.bytes });
  }

  async #acknowledge(): Promise<void> {
    for (; this.#acknowledged < this.#given; this.#acknowledged++) {
      const { id, type } = this.#all[this.#acknowledged] as ModelEntry;
      await this.#look.xack(keys.events(0, this.#types[type] as string), 'f', id);
    }
  }

  /** @returns whether the reader says that there is more */
  async #take(budget: Budget): Promise<boolean> {
    const taken = await this.#reader.take(this.#lease, { ...budget, retryUnits: 10 });
    if (taken.kind !== 'ok') throw new Error(`take answered ${taken.kind}`);
    const { entries, more } = taken;
    this.#checkNext(entries);
    checkBudget(entries, budget);
    const last = entries.at(-1);
    this.#given += entries.length;
    const left = this.#all.length - this.#given;
    if (last !== undefined && this.#all[this.#given]?.id === last.id)
      throw new Error('a flush was taken apart');
    if (entries.length === 0 && left > 0)
      throw new Error(`nothing given out, ${left} entries are there`);
    if (!more && left > 0) throw new Error('more is false, but there is more');
    if (this.#given < this.#before && !this.#reader.pendingLeft)
      throw new Error(`${this.#before - this.#given} entries that were given out before are left`);
    return more;
  }

  /** Checks that these are the next entries, as they were appended. */
  #checkNext(entries: readonly StreamEntry[]): void {
    const next = this.#all.slice(this.#given, this.#given + entries.length);
    const expected = next.map((one) => `${one.id} ${one.type}`).join();
    const got = entries.map((one) => `${one.id} ${one.type}`).join();
    if (got !== expected) throw new Error(`given out ${got}, where ${expected} was next`);
    for (const [i, { id, count, bytes, gone }] of entries.entries())
      if (count !== next[i]?.count || bytes.length !== next[i].bytes || gone)
        throw new Error(`entry ${id} is not as it was appended`);
  }
}

const sizeOf = (entries: readonly StreamEntry[]): Budget => ({
  events: entries.reduce((sum, one) => sum + one.count, 0),
  bytes: entries.reduce((sum, one) => sum + one.bytes.length, 0),
});

/**
 * One flush stays together: only its first entry counts against the budget. An earlier flush may
 * have exceeded the budget for the same reason. Nothing may follow it then.
 */
function checkBudget(entries: readonly StreamEntry[], budget: Budget): void {
  const flushes = new Set(entries.map(({ id }) => id));
  if (flushes.size <= 1) return;
  const last = entries.filter(({ id }) => id === entries.at(-1)?.id);
  const all = sizeOf(entries);
  const beyond = sizeOf(last.slice(1));
  if (all.events - beyond.events > budget.events || all.bytes - beyond.bytes > budget.bytes)
    throw new Error(
      `${all.events} events and ${all.bytes} bytes given out for a budget of ${budget.events} and ${budget.bytes}`,
    );
}

t.test(
  'property: types, budgets and resets as they come: the entries come out in one order, each once until a reset',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const types = fc.integer({ min: 1, max: 3 });
    await fc.assert(
      fc.asyncProperty(types, fc.array(step, { maxLength: 40 }), async (count, steps) => {
        const lane = new ReadLane(connection, look, ALL_TYPES.slice(0, count));
        await lane.open();
        for (const one of steps) await lane.step(one);
        await lane.drain();
      }),
      { numRuns: 60, endOnFailure: true },
    );
    t.pass('60 lives of a lane');
  },
);
