import fc from 'fast-check';
import t from 'tap';
import { OWNER } from '../../../src/core/function-spec.ts';
import { appendFlush, type Appended } from '../../../src/pipeline/append/append.ts';
import { acquireLease } from '../../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../../src/pipeline/ownership/register.ts';
import { LaneReader } from '../../../src/pipeline/read/lane-reader.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';

const ALL_TYPES = ['a', 'b', 'c'];

type Step =
  | {
      readonly do: 'append';
      readonly flushes: readonly {
        readonly types: readonly number[];
        readonly events: number;
        readonly bytes: number;
      }[];
    }
  | { readonly do: 'take'; readonly events: number; readonly bytes: number }
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

t.test(
  'property: types, budgets and resets as they come: the entries come out in one order, each once until a reset',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const keys = createKeys('mr');
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { maxLength: 40 }),
        async (types, steps) => {
          await look.flushall();
          const names = ALL_TYPES.slice(0, types);
          const streamKeys = names.map((name) => keys.events(0, name));
          await registerFunction(connection, keys, 0, {
            name: 'f',
            on: names,
            startFrom: 'start',
            ordering: 'key',
          });
          const lease = await acquireLease(
            connection,
            keys,
            { fn: 'f', partition: 0, consumer: OWNER },
            { dispatcher: 'me', ttlMs: 600_000 },
          );
          if (!('value' in lease)) throw new Error('no lease');
          const reader = new LaneReader({
            connection,
            fn: 'f',
            leaseKey: keys.lease(0, 'f'),
            dueKey: keys.due(0, 'f'),
            streamKeys,
            leaseTtlMs: 600_000,
            observed: () => {},
          });
          // The model: all entries in order, the number given out since the last reset, and the
          // number acknowledged.
          const all: { id: string; type: number; count: number; bytes: number }[] = [];
          let given = 0;
          let acknowledged = 0;
          let sequence = 0;
          const takeOnce = async (events: number, bytes: number): Promise<boolean> => {
            const taken = await reader.take(lease.value, { events, bytes, retryUnits: 10 });
            if (taken.kind !== 'ok') throw new Error(`take answered ${taken.kind}`);
            const expected = all
              .slice(given, given + taken.entries.length)
              .map((e) => `${e.id} ${e.type}`);
            const got = taken.entries.map((e) => `${e.id} ${e.type}`);
            if (got.join() !== expected.join())
              throw new Error(`given out ${got.join()}, where ${expected.join()} was next`);
            for (const [i, entry] of taken.entries.entries()) {
              const model = all[given + i];
              if (entry.count !== model?.count || entry.bytes.length !== model.bytes || entry.gone)
                throw new Error(`entry ${entry.id} is not as it was appended`);
            }
            const groups = new Set(taken.entries.map((e) => e.id));
            const sumEvents = taken.entries.reduce((sum, e) => sum + e.count, 0);
            const sumBytes = taken.entries.reduce((sum, e) => sum + e.bytes.length, 0);
            const last = taken.entries.filter((e) => e.id === taken.entries.at(-1)?.id);
            // One flush stays together: only its first entry counts against the budget.
            const beyond = last
              .slice(1)
              .reduce(
                (sum, e) => ({ events: sum.events + e.count, bytes: sum.bytes + e.bytes.length }),
                { events: 0, bytes: 0 },
              );
            if (
              groups.size > 1 &&
              (sumEvents - beyond.events > events || sumBytes - beyond.bytes > bytes)
            ) {
              // An earlier flush may have exceeded the budget for the same reason. Nothing may
              // follow it then.
              throw new Error(
                `${sumEvents} events and ${sumBytes} bytes given out for a budget of ${events} and ${bytes}`,
              );
            }
            if (
              all[given + taken.entries.length]?.id === taken.entries.at(-1)?.id &&
              taken.entries.length > 0
            )
              throw new Error('a flush was taken apart');
            given += taken.entries.length;
            if (taken.entries.length === 0 && given < all.length)
              throw new Error(`nothing given out, ${all.length - given} entries are there`);
            if (!taken.more && given < all.length)
              throw new Error('more is false, but there is more');
            return taken.more;
          };
          for (const one of steps) {
            if (one.do === 'append') {
              for (const flush of one.flushes) {
                const chosen = flush.types.filter((type) => type < types);
                if (chosen.length === 0) continue;
                const { entryId } = (await appendFlush(
                  {
                    partition: 0,
                    producer: 'p',
                    sequence: ++sequence,
                    parts: chosen.map((type) => ({
                      type: names[type] as string,
                      count: flush.events,
                      crc: 0,
                      bytes: Buffer.alloc(flush.bytes),
                    })),
                  },
                  {
                    connection,
                    keys,
                    confirm: { kind: 'none' },
                    signal: new AbortController().signal,
                    deadlineMs: 5000,
                  },
                )) as Appended;
                for (const type of chosen)
                  all.push({ id: entryId, type, count: flush.events, bytes: flush.bytes });
              }
            } else if (one.do === 'take') await takeOnce(one.events, one.bytes);
            else if (one.do === 'ack') {
              for (; acknowledged < given; acknowledged++) {
                const entry = all[acknowledged] as (typeof all)[number];
                await look.xack(streamKeys[entry.type] as string, 'f', entry.id);
              }
            } else {
              reader.reset();
              given = acknowledged;
            }
          }
          for (let rounds = 0; await takeOnce(100, 30_000); rounds++)
            if (rounds > 5000) throw new Error('never at the end');
          if (given !== all.length) throw new Error(`${all.length - given} entries never came out`);
          if (reader.heldBytes !== 0) throw new Error(`${reader.heldBytes} bytes are still held`);
        },
      ),
      { numRuns: 60, endOnFailure: true },
    );
    t.pass('60 lives of a lane');
  },
);
