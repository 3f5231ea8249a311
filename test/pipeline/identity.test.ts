/**
 * Which event it is: source and id together. Two events of two sources are two, whoever sends them
 * and whatever happens to them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { Deployment } from '../../src/deployment.ts';
import { readLag } from '../../src/lag/lag.ts';
import { connect } from '../../src/millrace.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { identityOf } from '../../src/wire/event-identity.ts';
import {
  encodeEvents,
  makeBed,
  specOf,
  startLane,
  type Bed,
  type Choose,
  type TestEvent,
} from './bare-lane.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

const PROTO = `syntax = "proto3";
package d.v1;
import "millrace/v1/options.proto";
message Paid { option (millrace.v1.event) = { type: "paid", subject: "k", dedupe_ms: 60000 }; string k = 1; }
`;
const WINDOW = { windowMs: 600_000, maxIds: 10_000 };
/** Events without a source count as of the default one. */
const sourceOf = (own: string | undefined, batch: string): string =>
  (own ?? '') || batch || 'millrace';
const send = (bed: Bed, type: string, events: readonly TestEvent[], source = '') =>
  bed.connection.command('XADD', bed.keys.events(0, type), '*', 'b', encodeEvents(events, source));

t.test('one identity per event, and two events never have one', (t) => {
  t.equal(identityOf('a', ''), 'a', 'without a source, the id alone');
  t.equal(identityOf('a', 'millrace'), 'a');
  const text = fc.oneof(
    fc.constantFrom('', 'a', 'millrace', 'urn:a', '\n', 'a\nb', 'b'),
    fc.string({ maxLength: 6, unit: 'grapheme' }),
  );
  const event = fc.record({ id: text, source: text });
  fc.assert(
    fc.property(event, event, fc.boolean(), (one, other, nest) => {
      // The identity of the one as an id of the other: what could be mistaken.
      const second = nest ? { id: identityOf(one.id, one.source), source: other.source } : other;
      const same = one.id === second.id && sourceOf(one.source, '') === sourceOf(second.source, '');
      return (identityOf(one.id, one.source) === identityOf(second.id, second.source)) === same;
    }),
    { numRuns: 2000 },
  );
  t.ok(identityOf('a', 'x'.repeat(1024)).length < 32, 'a long source takes no more room');
  t.end();
});

t.test(
  'publishing: dedupe_ms drops an event of the same id and source, from whichever publisher',
  async (t) => {
    const redis = await startRedis(t);
    const dir = testDir(t);
    mkdirSync(join(dir, 'proto'));
    writeFileSync(join(dir, 'proto/d.proto'), PROTO);
    const millrace = await connect({
      environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, LOG_LEVEL: 'silent' },
      protoDir: join(dir, 'proto'),
    });
    t.teardown(() => millrace.close());
    const sources = [undefined, 'millrace', 'urn:a', 'urn:b'] as const;
    const publishers = sources.map((source) =>
      millrace.publisher(source === undefined ? {} : { source }),
    );
    const seen = new Set<string>();
    for (const together of [false, true]) {
      for (const [at, publisher] of publishers.entries()) {
        const items = sources.flatMap((source) =>
          ['1', '2'].map((id) => ({
            type: 'paid' as string,
            data: { k: 'k' },
            id: `${id}-${String(together)}`,
            ...(source === undefined ? {} : { source }),
          })),
        );
        const answers = together ? await publisher.publishMany(items) : [];
        if (!together)
          for (const item of items)
            answers.push(await publisher.publish(item.type, item.data, item));
        const wanted = items.map(({ id, source }) => {
          const event = `${sourceOf(source, sources[at] ?? '')} ${id}`;
          const known = seen.has(event);
          seen.add(event);
          return known;
        });
        t.strictSame(
          answers.map(({ duplicate }) => duplicate ?? false),
          wanted,
          `${sources[at] ?? 'none'} ${together ? 'together' : 'one by one'}`,
        );
      }
    }
    const found: string[] = [];
    for (const [, fields] of await redis.client().xrangeBuffer('mr:{0}:events:paid', '-', '+')) {
      walkBatch(fields[1] as Buffer, ({ id, source }) => void found.push(`${source} ${id}`));
    }
    t.strictSame(found.sort(), [...seen].sort());
  },
);

t.test(
  'a function: one id of two sources runs twice; one event runs once, also as a retry and after a replay',
  async (t) => {
    const bed = await makeBed(t, 1);
    for (const ordering of ['key', 'none'] as const) {
      const [fn, type] = [`f-${ordering}`, `a.${ordering}`];
      const lane = await startLane(bed, specOf(fn, [type], { dedupe: WINDOW, ordering }), 0);
      const ran: string[] = [];
      const choose =
        (outcome: Choose): Choose =>
        (event) => (ran.push(`${event.source}/${event.id}`), outcome(event));
      const fails = choose(({ id, attempts }) =>
        id === 'dies' ? 'dead' : id === 'retries' && attempts < 1 ? 'retry' : 'done',
      );
      const one = (id: string, source?: string): TestEvent => ({
        id,
        subject: `${id}${source ?? ''}`,
        ...(source === undefined ? {} : { source }),
      });
      await send(
        bed,
        type,
        [
          one('1'),
          one('1', 'urn:b'),
          one('dies'),
          one('dies', 'urn:b'),
          one('retries'),
          one('retries', 'urn:b'),
        ],
        'urn:a',
      );
      await lane.drain(fails);
      t.strictSame(
        ran.splice(0).sort(),
        [
          'urn:a/1',
          'urn:b/1',
          'urn:a/dies',
          'urn:b/dies',
          ...Array<string>(2).fill('urn:a/retries'),
          ...Array<string>(2).fill('urn:b/retries'),
        ].sort(),
        ordering,
      );
      // Again by others: the batch's own source, another batch, named by the event.
      await send(bed, type, [one('1'), one('dies'), one('retries'), one('1', 'urn:c')], 'urn:b');
      await send(bed, type, [one('1', 'urn:a'), one('dies', 'urn:a'), one('retries', 'urn:a')]);
      await lane.drain(fails);
      t.strictSame(ran.splice(0), ['urn:c/1'], ordering);
      const deployment = bed as unknown as Deployment;
      for await (const letter of listDeadLetters(deployment, { function: fn }))
        if (letter.subject === 'dies') await replayDeadLetter(deployment, letter);
      await lane.drain(choose(() => 'done'));
      t.strictSame(ran.splice(0), ['urn:a/dies'], `${ordering}: replayed, it runs`);
      await send(bed, type, [one('dies', 'urn:a'), one('dies', 'urn:b'), one('dies', 'urn:c')]);
      await lane.drain(choose(() => 'done'));
      t.strictSame(
        ran.splice(0),
        ['urn:c/dies'],
        `${ordering}: and is remembered again, and the other is remembered still`,
      );
    }
  },
);

t.test('an id alone stands for an event without a source', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b'], { dedupe: WINDOW }), 0);
  await bed.connection.command('SADD', bed.keys.settledIds(0, 'f', 0), 'old');
  const ran: string[] = [];
  await send(bed, 'a.b', [{ id: 'old', subject: 's' }]);
  await send(
    bed,
    'a.b',
    [
      { id: 'old', subject: 's' },
      { id: 'new', subject: 's' },
      { id: 'old', subject: 's', source: 'urn:a' },
    ],
    'millrace',
  );
  await lane.drain(({ id, source }) => (ran.push(`${source}/${id}`), 'done'));
  t.strictSame(ran, ['millrace/new', 'urn:a/old']);
});

t.test(
  'property: however they are sent, fail, and are replayed, each event is settled once',
  async (t) => {
    const bed = await makeBed(t, 1);
    const deployment = bed as unknown as Deployment;
    let run = 0;
    const source = fc.constantFrom('', 'millrace', 'urn:a', 'urn:b');
    const outcome = fc.constantFrom(
      'done' as const,
      'done' as const,
      'retry' as const,
      'dead' as const,
    );
    const sent = fc.array(
      fc.record({
        n: fc.integer({ min: 0, max: 3 }),
        source: fc.option(source, { nil: undefined }),
      }),
      { minLength: 1, maxLength: 6 },
    );
    const step = fc.oneof(
      fc.record({ do: fc.constant('send' as const), batch: source, sent }),
      fc.record({
        do: fc.constant('work' as const),
        outcomes: fc.array(outcome, { minLength: 1, maxLength: 4 }),
        n: fc.integer({ min: 1, max: 6 }),
      }),
      fc.record({ do: fc.constant('crash' as const) }),
      fc.record({ do: fc.constant('replay' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 16 }),
        fc.constantFrom('key' as const, 'none' as const),
        async (steps, ordering) => {
          const [fn, type] = [`f${++run}`, `t.${run}`];
          const lane = await startLane(bed, specOf(fn, [type], { dedupe: WINDOW, ordering }), 0);
          const events = new Set<string>();
          for (const one of steps) {
            if (one.do === 'send') {
              await send(
                bed,
                type,
                one.sent.map(({ n, source: own }) => {
                  const of = sourceOf(own, one.batch);
                  events.add(`${of} ${n}`);
                  return {
                    id: `${run}-${n}`,
                    subject: `s${n % 2}${of}`,
                    ...(own === undefined ? {} : { source: own }),
                  };
                }),
                one.batch,
              );
            } else if (one.do === 'work') {
              let at = 0;
              await lane.work(() => one.outcomes[at++ % one.outcomes.length] as 'done', one.n);
            } else if (one.do === 'crash') {
              await lane.turn(() => 'done', 3);
              await lane.acquire();
            } else {
              for await (const letter of listDeadLetters(deployment, { function: fn }))
                await replayDeadLetter(deployment, letter);
            }
          }
          await lane.drain();
          const end = (await readLag(bed)).functions.find(({ name }) => name === fn);
          const settled = end && end.done - end.skipped + end.dead;
          if (!end?.conserved || end.parked > 0 || settled !== events.size)
            throw new Error(JSON.stringify({ end: { ...end, types: [] }, events: [...events] }));
          await bed.connection.command('DEL', bed.keys.counters(0));
        },
      ),
      { numRuns: 60 },
    );
    t.pass();
  },
);
