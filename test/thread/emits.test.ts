/** ctx.emit through a dispatcher: the written events, their partitions, and the refusals. */
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { OUTBOX_LIMITS } from '../../src/core/emitted.ts';
import { readLag } from '../../src/lag/lag.ts';
import { EmitClosedError } from '../../src/core/errors/handler-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { Emits } from '../../src/thread/emits.ts';
import { EventContext, EventsContext } from '../../src/thread/function-context.ts';
import { EventView, RunningEvent, type EventOrigin } from '../../src/thread/running-event.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { PackReader } from '../../src/wire/message-pack.ts';
import { deadLetters, settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, openService, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { emittedId } from '../../scripts/lab/emitted-id.ts';
import { eventsIn, miscounted, outboxEntries } from '../../scripts/lab/emits.ts';
import { dataFor, type Plan } from '../../scripts/lab/misbehaving-functions/emit/_plan.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { untilTold, writesTo } from '../../scripts/lab/until.ts';

const PARTITIONS = 4;
const event = (id: string, plan: Plan, key = `subject-${id}`, type = 'test.event') => ({
  type,
  id,
  data: dataFor(key, 0, JSON.stringify(plan)),
});

const near = (key: string): string =>
  Array.from({ length: 200 }, (_, i) => `near-${i}`).find(
    (s) => partitionOf(s, PARTITIONS) === partitionOf(key, PARTITIONS),
  ) as string;
const away = (key: string): string =>
  Array.from({ length: 200 }, (_, i) => `away-${i}`).find(
    (s) => partitionOf(s, PARTITIONS) !== partitionOf(key, PARTITIONS),
  ) as string;

/** A dispatcher with the functions `emit`. Keeps the numbers of the events to settle. */
async function openBed(t: Test) {
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await openService(t, redis.url, PARTITIONS);
  const publisher = millrace.publisher();
  await millrace.dispatcher({ functionsDir: functionsDirOf('emit') }).start();
  let events = 0;
  let others = 0;
  const emitterSettled = () => settled(look, 'emitter', PARTITIONS, events);
  return {
    look,
    millrace,
    publisher,
    /** Counts events of type test.event that the step published itself. */
    expectEvents: (count: number): void => void (events += count),
    emitterSettled,
    /** Publishes, and resolves when the emitter has settled all of its events so far. */
    async run(...items: ReturnType<typeof event>[]): Promise<void> {
      await publisher.publishMany(items);
      events += items.filter((item) => item.type === 'test.event').length;
      await emitterSettled();
    },
    /** Resolves when the sink has settled `count` more events. */
    async arrived(count: number): Promise<void> {
      others += count;
      await settled(look, 'sink', PARTITIONS, others);
    },
  };
}
type Bed = Awaited<ReturnType<typeof openBed>>;

async function emitHereAndThere(t: Test, { look, millrace, run, arrived }: Bed): Promise<void> {
  const [here, there] = [near('A'), away('A')];
  await run(
    event(
      'first',
      {
        emits: [
          { type: 'test.other', subject: here },
          { type: 'test.other', subject: there },
          { type: 'test.other', subject: here, id: 'own-id' },
        ],
      },
      'A',
    ),
  );
  await arrived(3);
  const found = await eventsIn(look, PARTITIONS, 'test.other');
  t.strictSame(
    miscounted(found, [
      emittedId('first', 'emitter', 0),
      emittedId('first', 'emitter', 1),
      'own-id',
    ]),
    [],
  );
  for (const one of found) {
    t.match(one, {
      source: 'emitter',
      extensions: { causationid: 'first', correlationid: 'first', emitdepth: '1' },
    });
    t.equal(one.partition, partitionOf(one.subject, PARTITIONS));
  }
  t.equal(
    new Set(found.filter((one) => one.subject === here).map((one) => one.entry)).size,
    1,
    'those of one turn are one entry',
  );
  t.match(
    (await readLag(millrace.deployment)).functions.find(({ name }) => name === 'sink'),
    { appended: 3, done: 3, conserved: true },
  );
  t.equal(await outboxEntries(look, PARTITIONS), 0, 'the outbox is empty again');
  t.equal(await look.hget(`mr:{${partitionOf('A', PARTITIONS)}}:counters`, 'outbox'), null);
}

async function emitOverTwoHops(t: Test, bed: Bed): Promise<void> {
  const { look, publisher, arrived } = bed;
  const chain = JSON.stringify({
    emits: [{ type: 'test.third', subject: away('B'), order: '{"emits":[]}' }],
  });
  await publisher.publish(
    'test.event',
    dataFor(
      'B',
      0,
      JSON.stringify({ emits: [{ type: 'test.other', subject: away('B'), order: chain }] }),
    ),
    {
      id: 'root',
      extensions: { correlationid: 'request-7', emitdepth: 'not a number' },
    },
  );
  bed.expectEvents(1);
  await arrived(1);
  const [third] = await untilTold(writesTo(look), 'the second hop is there', async () => {
    const found = await eventsIn(look, PARTITIONS, 'test.third');
    return found.length > 0 ? found : null;
  });
  t.match(third, {
    id: emittedId(emittedId('root', 'emitter', 0), 'sink', 0),
    source: 'sink',
    extensions: {
      causationid: emittedId('root', 'emitter', 0),
      correlationid: 'request-7',
      emitdepth: '2',
    },
  });
}

async function emitAfterRetry(t: Test, { look, run, arrived }: Bed): Promise<void> {
  const before = (await eventsIn(look, PARTITIONS, 'test.other')).map(({ id }) => id);
  const emits = [
    { type: 'test.other', subject: near('C') },
    { type: 'test.other', subject: away('C') },
    { type: 'test.other', subject: near('C'), delayMs: 1 },
  ];
  await run(
    event('fails', { emits, then: 'throw' }, 'C'),
    event('fails-once', { emits, then: 'throw-once' }, 'D'),
    event('kills-once', { emits, then: 'exit-once' }, 'E'),
  );
  await arrived(6);
  t.strictSame(
    miscounted(await eventsIn(look, PARTITIONS, 'test.other'), [
      ...before,
      ...['fails-once', 'kills-once'].flatMap((cause) =>
        [0, 1, 2].map((i) => emittedId(cause, 'emitter', i)),
      ),
    ]),
    [],
  );
  t.match(await deadLetters(look, 'emitter', PARTITIONS), [
    { fields: { id: 'fails', reason: 'attempts' } },
  ]);
}

async function emitFromBatch(t: Test, { look, publisher, arrived }: Bed): Promise<void> {
  const before = (await eventsIn(look, PARTITIONS, 'test.other')).map(({ id }) => id);
  const plans = Array.from({ length: 40 }, (_, i): Plan => ({
    emits: [{ type: 'test.other', subject: `batch-${i}` }],
    ...(i % 10 === 3
      ? { then: 'throw' }
      : i % 10 === 4
        ? { then: 'throw-once' }
        : i % 10 === 5
          ? { bad: 'wrong data' }
          : {}),
  }));
  await publisher.publishMany(
    plans.map((plan, i) => event(`batch-${i}`, plan, `batch-${i % 20}`, 'test.third')),
  );
  const good = plans.flatMap((plan, i) =>
    plan.then === 'throw' || plan.bad ? [] : [emittedId(`batch-${i}`, 'batch-emitter', 0)],
  );
  await arrived(good.length);
  await settled(look, 'batch-emitter', PARTITIONS, 41);
  t.strictSame(
    miscounted(await eventsIn(look, PARTITIONS, 'test.other'), [...before, ...good]),
    [],
  );
  t.equal((await deadLetters(look, 'batch-emitter', PARTITIONS)).length, 8);
}

async function refuseBadEmits(t: Test, { look, run }: Bed): Promise<void> {
  const before = await eventsIn(look, PARTITIONS, 'test.other');
  const bad = [
    'unknown type',
    'wrong data',
    'no subject',
    'oversize',
    'too many',
    'too much',
    'two times',
  ] as const;
  await run(
    ...bad.map((one) =>
      event(one, { emits: [{ type: 'test.other', subject: near(one) }], bad: one }, one),
    ),
    event('good', { emits: [] }, 'good'),
  );
  const letters = new Map(
    (await deadLetters(look, 'emitter', PARTITIONS)).map(({ fields }) => [
      fields['id'],
      `${fields['name']}: ${fields['message']}`,
    ]),
  );
  for (const [one, message] of [
    ['unknown type', /UnknownEventTypeError: .*"no\.such" is not declared/],
    ['wrong data', /InvalidEventError: .*field number/],
    ['no subject', /InvalidEventError: .*field key: the subject is missing/],
    ['oversize', /OversizeError: event "test\.other": the limit is 262144, it has 3\d+ bytes/],
    ['too many', /OversizeError: .*the limit is 1000, it has 1001 events/],
    ['too much', /OversizeError: .*the limit is 1048576, it has \d+ bytes/],
    ['two times', /InvalidEventError: .*not both/],
  ] as const)
    t.match(letters.get(one), message);
  t.notOk(letters.has('good'));
  t.strictSame(await eventsIn(look, PARTITIONS, 'test.other'), before);
}

async function fillOutbox(t: Test, bed: Bed): Promise<void> {
  const { look, publisher, run, arrived } = bed;
  const key = near('full');
  const [from, to] = [partitionOf(key, PARTITIONS), partitionOf(away(key), PARTITIONS)];
  await run(event('fills-1', { emits: [{ type: 'test.other', subject: away(key) }] }, key));
  await arrived(1);
  // The target partition refuses the event.
  const relayed = await look.hgetall(`mr:{${to}}:relayed`);
  await look.del(`mr:{${to}}:relayed`);
  await look.set(`mr:{${to}}:relayed`, 'in the way');
  const pipeline = look.pipeline();
  for (let i = 0; i < OUTBOX_LIMITS.entries; i++)
    pipeline.xadd(`mr:{${from}}:outbox`, '*', 'to', to, 'size', 0);
  await pipeline.exec();
  await run(event('fills-2', { emits: [{ type: 'test.other', subject: away(key) }] }, key));
  await publisher.publishMany([
    event('waits', { emits: [{ type: 'test.other', subject: away(key) }] }, key),
    event('of-another-lane', { emits: [] }, key, 'test.other'),
  ]);
  bed.expectEvents(1);
  await arrived(1);
  const undelivered = async (): Promise<unknown> => {
    const [flat] = (await look.xinfo('GROUPS', `mr:{${from}}:events:test.event`)) as (
      string | number
    )[][];
    return flat?.[flat.indexOf('lag') + 1];
  };
  t.equal(await undelivered(), 1, 'it has not been taken');
  await look.del(`mr:{${to}}:relayed`);
  await look.hset(`mr:{${to}}:relayed`, relayed);
  await bed.emitterSettled();
  await arrived(2);
  t.strictSame(
    miscounted(
      (await eventsIn(look, PARTITIONS, 'test.other')).filter(({ extensions }) =>
        /^(fills|waits)/.test(extensions?.['causationid'] ?? ''),
      ),
      ['fills-1', 'fills-2', 'waits'].map((cause) => emittedId(cause, 'emitter', 0)),
    ),
    [],
  );
}

async function breakLoop(t: Test, { look, publisher, arrived }: Bed): Promise<void> {
  // Each hop emits the same event again.
  await publisher.publish('test.other', dataFor('loop', 0, '"loop"'), { id: 'loop' });
  const [letter] = await untilTold(
    writesTo(look),
    'the loop is broken',
    async () => {
      const found = await deadLetters(look, 'sink', PARTITIONS);
      return found.length > 0 ? found : null;
    },
    30_000,
  );
  await arrived(65);
  t.match(letter, { fields: { reason: 'emit-loop', name: 'EmitLoopError', attempts: '1' } });
  t.equal(
    (await eventsIn(look, PARTITIONS, 'test.other')).filter(
      ({ extensions }) => extensions?.['correlationid'] === 'loop',
    ).length,
    64,
  );
}

async function emitMuch(t: Test, { look, millrace, run, arrived }: Bed): Promise<void> {
  const before = (await eventsIn(look, PARTITIONS, 'test.other')).map(({ id }) => id);
  const items = Array.from({ length: 60 }, (_, i) =>
    event(
      `much-${i}`,
      {
        emits: [
          { type: 'test.other', subject: `much-${i}`, size: 200_000 },
          { type: 'test.other', subject: `much-${i + 1}`, size: 200_000 },
        ],
      },
      `one-${i % 3}`,
    ),
  );
  await run(...items);
  await arrived(120);
  t.strictSame(
    miscounted(await eventsIn(look, PARTITIONS, 'test.other'), [
      ...before,
      ...items.flatMap(({ id }) => [emittedId(id, 'emitter', 0), emittedId(id, 'emitter', 1)]),
    ]),
    [],
  );
  t.match(
    (await readLag(millrace.deployment)).functions.map(({ name, conserved }) => [name, conserved]),
    [
      ['batch-emitter', true],
      ['emitter', true],
      ['sink', true],
    ],
  );
}

t.test('emitting', async (t) => {
  const bed = await openBed(t);
  await t.test(
    'to the own partition and to another one: deterministic ids, causation, source, counted',
    (t) => emitHereAndThere(t, bed),
  );
  await t.test('correlation goes on; the emitted event knows its cause', (t) =>
    emitOverTwoHops(t, bed),
  );
  await t.test('a failing event emits nothing; its retry that succeeds emits once', (t) =>
    emitAfterRetry(t, bed),
  );
  await t.test('handleBatch: named failures emit nothing, the others do', (t) =>
    emitFromBatch(t, bed),
  );
  await t.test('what is wrong with an emit fails its event, and nothing of it is written', (t) =>
    refuseBadEmits(t, bed),
  );
  await t.test(
    'a full outbox: lanes that emit to other partitions take nothing new, others go on',
    (t) => fillOutbox(t, bed),
  );
  await t.test('functions that feed each other are stopped after 64 hops', (t) =>
    breakLoop(t, bed),
  );
  await t.test('a turn that emits much: the rest comes with the next ones, and all of it', (t) =>
    emitMuch(t, bed),
  );
});

t.test(
  'nothing can be emitted for an event whose outcome is settled, nor by a call of handleBatch that is over',
  (t) => {
    const catalog = createCatalog(loadProtoFolder(PROTO_DIR));
    const emits = new Emits({
      fn: 'f',
      partition: 0,
      partitions: 1,
      catalog,
      schemas: new Map(),
      trace: null,
    });
    const origin: EventOrigin = {
      typeName: 'test.event',
      type: null,
      partition: 0,
      entryId: '1-1',
      entry: 0,
      base: 0,
      attempt: 1,
    };
    const running = (index: number): RunningEvent => {
      const header = { ...readEvent(Buffer.alloc(0)), id: `e${index}`, subject: 's' };
      const view = new EventView(header, true, origin, index);
      return new RunningEvent(view, header, origin, index, index);
    };
    const shared = {
      functionName: 'f',
      timeoutMs: 1000,
      logger: pino({ level: 'silent' }),
      resources: null,
      emits,
      trace: null,
    };
    const one = running(0);
    const context = new EventContext(shared, one);
    const id = context.emit('test.other', dataFor('s', 0));
    t.equal(id, emittedId('e0', 'f', 0));
    t.ok(emits.settle(one));
    t.throws(() => context.emit('test.other', dataFor('s', 1)), EmitClosedError);
    const [two, three] = [running(1), running(2)];
    const batch = new EventsContext(shared, [two], 0);
    batch.emit('test.other', dataFor('s', 0), { cause: two.view });
    t.throws(() => batch.emit('test.other', dataFor('s', 0), { cause: three.view }), TypeError);
    batch.close();
    t.throws(() => batch.emit('test.other', dataFor('s', 0), { cause: two.view }), EmitClosedError);
    emits.drop(two);
    t.notOk(emits.settle(two), 'what was dropped is not written');
    const report = emits.report();
    t.match(report, { types: ['test.other'] });
    t.equal(new PackReader(report?.block as Uint8Array).left, 8, 'one flush with one entry');
    t.end();
  },
);
