/** Appends in any interleaving: every revision has one winner, and none is missing. */
import fc from 'fast-check';
import t from 'tap';
import type { EventStore } from '../../src/store/event-store.ts';
import type { ExpectedRevision } from '../../src/store/expected-revision.ts';
import { ConflictError } from '../../src/store/store-errors.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, openShop, published, reserved } from './open-store.ts';

const redis = await startRedis(t);
const look = redis.client();
const millrace = await openShop(t, redis.url, 4);
const store = millrace.store({ maxEvents: 20 });

t.test(
  'property: any interleaving of appends leaves gap-free revisions with one winner each',
  async (t) => {
    const stores: EventStore[] = [store, millrace.store(), millrace.store()];
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            store: fc.nat(2),
            history: fc.nat(2),
            events: fc.integer({ min: 1, max: 3 }),
            wait: fc.boolean(),
            expected: fc.oneof(
              fc.nat(6),
              fc.constantFrom('any' as const, 'no-stream' as const, 'stream-exists' as const),
            ),
          }),
          { minLength: 1, maxLength: 40 },
        ),
        async (plan) => {
          run++;
          const winners = new Map<
            string,
            { id: string; revision: number; expected: ExpectedRevision; position: string }[]
          >();
          let number = 0;
          const attempts: Promise<void>[] = [];
          for (const { store: s, history, events, wait, expected } of plan) {
            const id = `run${run}-${history}`;
            const attempt = (stores[s] as EventStore)
              .append(
                'prop',
                id,
                Array.from({ length: events }, () => reserved(id, ++number)),
                { expectedRevision: expected },
              )
              .then(
                (result) => {
                  const list = winners.get(id) ?? [];
                  winners.set(id, list);
                  list.push(
                    ...result.events.map((event) => ({
                      ...event,
                      expected:
                        event.revision === result.events[0]?.revision ? expected : ('any' as const),
                    })),
                  );
                },
                (error: unknown) => {
                  if (!(error instanceof ConflictError)) throw error;
                },
              );
            attempts.push(attempt);
            if (wait) await attempt;
          }
          await Promise.all(attempts);
          for (const [id, list] of winners) {
            list.sort((a, b) => a.revision - b.revision);
            const events = await collect(store.read('prop', id));
            if (events.length !== list.length)
              throw new Error(`${events.length} events, ${list.length} were acknowledged`);
            list.forEach((winner, i) => {
              if (winner.revision !== i + 1)
                throw new Error(
                  `revision ${i + 1} has ${list.filter((one) => one.revision === i + 1).length} winners`,
                );
              if (events[i]?.id !== winner.id || events[i]?.position !== winner.position)
                throw new Error(`revision ${i + 1} is another event than was acknowledged`);
              if (typeof winner.expected === 'number' && winner.expected !== i)
                throw new Error(`an append that expected ${winner.expected} was accepted at ${i}`);
              if (winner.expected === 'no-stream' && i !== 0)
                throw new Error('a second append expected no stream');
              if (winner.expected === 'stream-exists' && i === 0)
                throw new Error('a first append expected a stream');
            });
          }
        },
      ),
      { numRuns: 60 },
    );
    const streams = await published(look, 'stock.reserved');
    const positions = (
      await Promise.all(
        (await collect(store.histories('prop'))).map((id) => collect(store.read('prop', id))),
      )
    ).flat();
    t.ok(positions.length > 100);
    t.ok(
      positions.every((event) => streams.get(event.position)?.id === event.id),
      'all of it was published',
    );
  },
);
