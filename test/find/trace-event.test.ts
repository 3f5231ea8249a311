import { join } from 'node:path';
import t from 'tap';
import { emittedEventId, emittedIdPrefix } from '../../src/core/emitted-ids.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { eventStates } from '../../src/find/event-states.ts';
import type { TraceNode } from '../../src/find/event-tree.ts';
import type { FoundEvent } from '../../src/find/found-event.ts';
import { lookUpEvents } from '../../src/find/look-up-events.ts';
import { traceEvent } from '../../src/find/trace-event.ts';
import { emittedId } from '../../scripts/lab/emitted-id.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { dataFor, type Plan } from '../../scripts/lab/misbehaving-functions/emit/_plan.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { createRelay, turnOf } from '../outbox/emitting-lane.ts';
import { specOf, startLane } from '../pipeline/bare-lane.ts';
import { append, makeFindBed, type NewFindEvent } from './find-bed.ts';

/** An event that a function emitted for a cause. */
const effect = (
  id: string,
  cause: string,
  source: string,
  more: Partial<NewFindEvent> = {},
): NewFindEvent => ({
  id,
  subject: 's',
  source,
  timeMs: Date.now(),
  extensions: { causationid: cause, correlationid: 'first', emitdepth: '1' },
  ...more,
});

/** The shape of a tree: ids below functions, in the order of the ids. */
type Shape = Readonly<Record<string, readonly (readonly [id: string, below: Shape])[]>>;
const shapeOf = ({ steps }: TraceNode): Shape =>
  Object.fromEntries(
    steps.map(({ function: fn, emitted }) => [
      fn,
      emitted
        .map((node) => [node.event.id, shapeOf(node)] as const)
        .sort(([a], [b]) => a.localeCompare(b)),
    ]),
  );

t.test('causes and effects over functions and partitions', async (t) => {
  const bed = await makeFindBed(t, 2);
  const lanes = [
    await startLane(bed, specOf('f', ['ordered']), 0),
    await startLane(bed, specOf('f', ['ordered']), 1),
    await startLane(bed, specOf('g', ['paid']), 1),
  ];
  await append(bed, 0, { ordered: [{ id: 'first', subject: 'a', timeMs: Date.now() }] });
  await append(bed, 0, { ordered: [{ id: 'stranger', subject: 'a' }] });
  await append(bed, 1, { paid: [effect('second', 'first', 'f')] });
  await append(bed, 0, { ordered: [effect('sibling', 'first', 'f')] });
  await append(bed, 1, { ordered: [effect('third', 'second', 'g')] });
  await append(bed, 1, { paid: [effect('fourth', 'third', 'f'), effect('fifth', 'third', 'f')] });
  for (const lane of lanes) await lane.drain();

  const whole = await traceEvent(bed, { eventId: 'first' });
  t.strictSame(whole.causes, []);
  t.match(whole, { complete: true, events: 6, searched: { back: 0 } });
  t.strictSame(whole.notes, []);
  t.strictSame(shapeOf(whole.root), {
    f: [
      [
        'second',
        {
          g: [
            [
              'third',
              {
                f: [
                  ['fifth', { g: [] }],
                  ['fourth', { g: [] }],
                ],
              },
            ],
          ],
        },
      ],
      ['sibling', { f: [] }],
    ],
  });
  t.ok((whole.totalMs as number) >= 0);

  const middle = await traceEvent(bed, { eventId: 'third' });
  t.strictSame(
    middle.causes.map(({ id, partition, cause }) => [id, partition, cause]),
    [
      ['first', 0, null],
      ['second', 1, 'first'],
    ],
  );
  t.match(middle, { complete: true, events: 3 });
  t.match(middle.root, {
    event: { id: 'third', type: 'ordered', source: 'g', cause: 'second', waits: null },
    untilAppendMs: Number,
    again: false,
    steps: [
      {
        function: 'f',
        state: { state: 'done' },
        unasked: null,
        untilEmitMs: Number,
        doneWithinMs: Number,
      },
    ],
  });
  const [step] = middle.root.steps;
  t.ok((step?.doneWithinMs as number) >= 0, 'both times are of one clock');

  const { events } = await lookUpEvents(bed, { eventId: 'third' });
  const byPosition = await traceEvent(bed, { position: events[0]?.where as string });
  t.strictSame(shapeOf(byPosition.root), shapeOf(middle.root));
});

t.test('the state of each event: parked, dead, not read', async (t) => {
  const bed = await makeFindBed(t, 1);
  const later = specOf('f', ['paid'], {
    retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
  });
  const lane = await startLane(bed, later, 0);
  await append(bed, 0, { ordered: [{ id: 'first', subject: 'a' }] });
  await append(bed, 0, {
    paid: [
      effect('parked', 'first', 'e', { subject: 'p' }),
      effect('dead', 'first', 'e', { subject: 'd' }),
      effect('done', 'first', 'e', { subject: 'x' }),
    ],
  });
  await lane.work(({ id }) => (id === 'parked' ? 'retry' : id === 'dead' ? 'dead' : 'done'));
  await append(bed, 0, { paid: [effect('unread', 'first', 'e')] });
  const { root, events } = await traceEvent(bed, { eventId: 'first' });
  t.equal(events, 5);
  const [step] = root.steps;
  t.match(step, { function: 'e', state: null, unasked: /no function of this name/ });
  t.strictSame(
    step?.emitted.map(({ event, steps }) => [event.id, steps[0]?.state?.state]),
    [
      ['parked', 'parked'],
      ['dead', 'dead'],
      ['done', 'done'],
      ['unread', 'lag'],
    ],
  );
  const { events: found } = await lookUpEvents(bed, { eventId: 'dead' });
  t.match(await eventStates(bed, found[0] as FoundEvent), [
    { function: 'f', state: { state: 'dead', why: /dlq replay f\// }, unasked: null },
  ]);
  const few = await traceEvent(bed, { eventId: 'first' }, { states: 2 });
  t.match(few.root.steps[0]?.emitted[3]?.steps[0], { state: null, unasked: /limit of states/ });
  t.match(few.notes, [/states of its last events were not asked for/]);
});

t.test('an effect that comes again, and one whose cause comes later', async (t) => {
  const bed = await makeFindBed(t, 2);
  await append(bed, 0, { ordered: [{ id: 'first', subject: 'a' }] });
  // The clock of another master is behind: the effect seems older than its cause.
  await append(bed, 1, { paid: [effect('late', 'middle', 'g')] });
  await append(bed, 0, { paid: [effect('middle', 'first', 'f')] });
  await append(bed, 0, { paid: [effect('middle', 'first', 'f')] });
  const { root } = await traceEvent(bed, { eventId: 'first' });
  const emitted = root.steps[0]?.emitted ?? [];
  t.strictSame(
    emitted.map(({ event, again }) => [event.id, again]),
    [
      ['middle', false],
      ['middle', true],
    ],
  );
  t.strictSame(shapeOf(emitted[0] as TraceNode), { g: [['late', {}]] });
  t.strictSame(emitted[1]?.steps, []);
});

t.test('effects that wait in an outbox or a schedule', async (t) => {
  const bed = await makeFindBed(t, 3);
  const inPartition = (partition: number): string =>
    Array.from({ length: 100 }, (_, i) => `s${i}`).find(
      (subject) => partitionOf(subject, 3) === partition,
    ) as string;
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  const { plan } = await turnOf(bed, lane, [
    {
      id: 'cause',
      emits: [
        { type: 'test.event', subject: inPartition(0) },
        { type: 'test.event', subject: inPartition(1) },
        { type: 'test.event', subject: inPartition(0), delayMs: 3_600_000 },
        { type: 'test.event', subject: inPartition(2), delayMs: 3_600_000 },
      ],
      outcome: 'done',
    },
  ]);
  t.equal(await lane.send(plan), 'ok');
  const id = (i: number): string => emittedId('cause', 'f', i);
  t.equal(id(3), emittedEventId(emittedIdPrefix('cause', 'f'), 3));
  const waitsOf = async (): Promise<unknown[]> => {
    const { root, notes } = await traceEvent(bed, { eventId: 'cause' });
    t.strictSame(notes, []);
    return (root.steps[0]?.emitted ?? [])
      .map(({ event }) => [
        event.id,
        event.waits && [event.waits.kind, event.waits.dueMs === null ? 'at once' : 'later'],
      ])
      .sort((a, b) => String(a[0]).localeCompare(String(b[0])));
  };
  t.strictSame(await waitsOf(), [
    [id(0), null],
    [id(1), ['outbox', 'at once']],
    [id(2), ['schedule', 'later']],
    [id(3), ['outbox', 'later']],
  ]);
  const relay = createRelay(bed);
  relay.ring(0, null);
  await until('the outbox is empty', async () =>
    is(Number(await bed.connection.command('XLEN', bed.keys.outbox(0))), 0),
  );
  await relay.stop();
  t.strictSame(await waitsOf(), [
    [id(0), null],
    [id(1), null],
    [id(2), ['schedule', 'later']],
    [id(3), ['schedule', 'later']],
  ]);
});

t.test('limits, and causes that are gone, are told', async (t) => {
  const bed = await makeFindBed(t, 1);
  await append(bed, 0, { ordered: [{ id: 'first', subject: 'a' }] });
  const trimmed = await append(bed, 0, { ordered: [effect('second', 'first', 'f')] });
  for (let i = 0; i < 20; i++) await append(bed, 0, { paid: [effect(`e${i}`, 'second', 'g')] });
  t.match(await traceEvent(bed, { eventId: 'second' }, { most: 3 }), {
    events: 4,
    notes: [/Later effects may be missing: the limit of the tree/],
  });
  const where = `0/${trimmed}/0`;
  const { notes } = await traceEvent(bed, { position: where }, { maxEvents: 5 });
  t.match(notes.join(), /Later effects may be missing: the limit of 5 events was reached/);
  await bed.connection.command('XTRIM', bed.keys.events(0, 'ordered'), 'MINID', trimmed);
  t.match(await traceEvent(bed, { position: where }), {
    complete: false,
    causes: [],
    notes: [/The cause first was not found: all \d+ retained events/],
  });
  await t.rejects(traceEvent(bed, { eventId: 'first' }), {
    code: 'EVENT_NOT_FOUND',
    message: /which are all/,
  });
  await t.rejects(traceEvent(bed, { position: '0/1-1/0' }), { code: 'EVENT_NOT_FOUND' });
  await t.rejects(traceEvent(bed, { position: '7/1-1/0' }), {
    code: 'FIND_OPTION',
    message: /partitions 0 to 0/,
  });
  await t.rejects(traceEvent(bed, { position: 'x' }), { code: 'FIND_OPTION' });
  await t.rejects(traceEvent(bed, { eventId: 'second' }, { most: 0 }), {
    code: 'FIND_OPTION',
    option: 'most',
  });
  const stop = AbortSignal.abort();
  t.match(await traceEvent(bed, { position: where }, { signal: stop }), {
    notes: [/the search was ended/, /the search was ended/],
  });
  await t.rejects(traceEvent(bed, { eventId: 'second' }, { signal: stop }), {
    code: 'EVENT_NOT_FOUND',
    message: /0 events were searched, the newest ones/,
  });
});

t.test('a tree that dispatchers have made', async (t) => {
  const redis = await startRedis(t);
  const service = await openService(t, redis.url, 4);
  await startDispatcher(t, {
    url: redis.url,
    functions: 'emit',
    history: join(testDir(t), 'history'),
  });
  const leaf = (subject: string): Plan['emits'][number] => ({ type: 'test.other', subject });
  const branch = JSON.stringify({ emits: [leaf('c'), leaf('d')] } satisfies Plan);
  const plan: Plan = { emits: [{ ...leaf('a'), order: branch }, leaf('b')] };
  await service
    .publisher()
    .publish('test.event', dataFor('root', 1, JSON.stringify(plan)), { id: 'root' });
  const source = service.deployment;
  const a = emittedId('root', 'emitter', 0);
  const b = emittedId('root', 'emitter', 1);
  const [c, d] = [emittedId(a, 'sink', 0), emittedId(a, 'sink', 1)];
  const tree = await until('all events are done', async () => {
    const one = await traceEvent(source, { eventId: 'root' });
    const done = one.events === 5 && everyStep(one.root, (state) => state === 'done');
    return done ? one : undefined;
  });
  const [emitter] = tree.root.steps;
  t.equal(emitter?.function, 'emitter');
  t.strictSame(new Set(emitter?.emitted.map(({ event }) => event.id)), new Set([a, b]));
  const branchNode = emitter?.emitted.find(({ event }) => event.id === a) as TraceNode;
  t.equal(branchNode.steps[0]?.function, 'sink');
  t.strictSame(new Set(branchNode.steps[0]?.emitted.map(({ event }) => event.id)), new Set([c, d]));
  t.type(emitter?.untilEmitMs, 'number');
  const { causes, complete } = await traceEvent(source, { eventId: d });
  t.strictSame(
    causes.map(({ id }) => id),
    ['root', a],
  );
  t.ok(complete);
});

function everyStep(node: TraceNode, fits: (state: string | undefined) => boolean): boolean {
  return node.steps.every(
    ({ state, emitted }) => fits(state?.state) && emitted.every((one) => everyStep(one, fits)),
  );
}
