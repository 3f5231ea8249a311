/** Objects that Millrace hands out, logged by their user: name and state, without internals. */
import { inspect } from 'node:util';
import { pino } from 'pino';
import t from 'tap';
import { ClosedError } from '../../src/core/errors/append-errors.ts';
import {
  ConfigError,
  InvalidEventError,
  OversizeError,
  UnknownEventTypeError,
} from '../../src/core/errors/input-errors.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { handleCommand } from '../../src/store/handle-command.ts';
import { defineAggregate, defineDecider } from '../../src/define/define-aggregate.ts';
import {
  cancelScheduled,
  connect,
  listScheduled,
  listViews,
  readLosses,
  readTypeLimits,
} from '../../src/index.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { reserved } from '../store/open-store.ts';

/** Secrets and internals that belong in nobody's log. */
const INTERNAL =
  /<Buffer|Uint8Array|ArrayBuffer|"type":"Buffer"|\bresolve\b|\breject\b|\[Function|\[AsyncFunction|Promise|Gathering|EncodedEvent|RunningEvent|WeakMap|Symbol\(|Redis \{|s3cret|RedisConnection/;

t.test('what publish answers is plain', async (t) => {
  const redis = await startRedis(t);
  const millrace = await connect({
    protoDir: `${projectDir}/proto`,
    logger: pino({ level: 'silent' }),
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 2 },
  });
  t.teardown(() => millrace.close());
  const publisher = millrace.publisher();
  const published = await publisher.publish(
    'payment.failed',
    { orderId: 'A', reason: 'x' },
    { id: 'one' },
  );
  t.equal(inspect(published), `{ id: 'one', position: '${published.position}' }`);
  t.equal(JSON.stringify(published), `{"id":"one","position":"${published.position}"}`);
  t.same({ ...published }, { id: 'one', position: published.position });
  t.same(structuredClone(published), published);
  t.equal(Object.getPrototypeOf(published), Object.prototype);

  const later = await publisher.publish(
    'payment.failed',
    { orderId: 'A' },
    { id: 'later', delayMs: 3_600_000 },
  );
  t.match(inspect(later), /^\{ id: 'later', position: '', scheduledMs: \d+ \}$/);
  const store = millrace.store();
  const decider = defineDecider({
    category: 'order',
    events: ['stock.reserved'],
    initialState: () => ({ n: 0 }),
    evolve: (state) => ({ n: state.n + 1 }),
    decide: () => reserved('A', 1),
  });
  const read = [];
  await store.append('order', 'A', [reserved('A', 1)], { expectedRevision: 'any' });
  for await (const event of store.read('order', 'A')) read.push(event);
  const refused: unknown[] = [];
  for (const attempt of [
    () => publisher.publish('nope' as string, {}),
    () => publisher.publish('payment.failed', { orderId: 'A', reason: 5 as never }),
    () => store.append('order', 'A', [reserved('A', 1)], { expectedRevision: 9 }),
    () =>
      millrace.deployment.connection.command(
        'HGET',
        millrace.deployment.keys.events(0, 'payment.failed'),
        Buffer.from('s3cret'),
      ),
    () =>
      millrace.deployment.connection.command(
        'HGET',
        millrace.deployment.keys.events(1, 'payment.failed'),
        Buffer.from('s3cret'),
      ),
  ])
    await attempt().catch((error: unknown) => refused.push(error));
  t.ok(refused.length >= 4);

  const table: readonly [what: string, value: unknown, says: RegExp][] = [
    ['publish', published, /one/],
    [
      'publishMany',
      await publisher.publishMany([{ type: 'payment.failed', data: { orderId: 'B' } }]),
      /position/,
    ],
    ['a scheduled one', later, /scheduledMs/],
    [
      'append',
      await store.append('order', 'A', [reserved('A', 1)], { expectedRevision: 'any' }),
      /revision/,
    ],
    ['read', read, /stock\.reserved/],
    [
      'load',
      await store.load(
        defineAggregate({
          category: 'order',
          events: ['stock.reserved'],
          initialState: () => ({ n: 0 }),
          evolve: (s) => s,
        }),
        'A',
      ),
      /revision/,
    ],
    ['handleCommand', await handleCommand(store, decider, 'A', {}), /revision/],
    ['connect', millrace, /target/],
    ['deployment', millrace.deployment, /target/],
    ['publisher', publisher, /bufferedBytes/],
    ['store', store, /source|maxEvents/],
    ['view', millrace.view('orders'), /orders/],
    ['dispatcher', millrace.dispatcher({ functionsDir: `${projectDir}/none` }), /id/],
    ['listScheduled', await listScheduled(millrace.deployment, 10), /later/],
    ['readTypeLimits', await readTypeLimits(millrace.deployment), /Map|\{\}/],
    ['readLosses', await readLosses(millrace.deployment), /\[/],
    ['listViews', await listViews(millrace.deployment), /\[/],
    ['cancelScheduled', await cancelScheduled(millrace.deployment, 'later'), /./],
    ...refused.map((error): [string, unknown, RegExp] => [(error as Error).name, error, /Error/]),
    ['health', millrace.dispatcher({ functionsDir: `${projectDir}/none` }).health(), /problems|ok/],
  ];
  for (const [what, value, says] of table) {
    for (const [how, text] of [
      ['inspect', inspect(value, { depth: 8 })],
      ['JSON', JSON.stringify(value)],
    ] as const) {
      t.match(text, says, `${what}, ${how}`);
      t.notMatch(text.replace(/^ +at .*$/gm, ''), INTERNAL, `${what}, ${how}`);
      t.ok(text.length < 6000, `${what}, ${how}: ${text.length} characters`);
    }
  }
});

t.test('every error says its message, code and fields in JSON', (t) => {
  const made = [
    new UnknownEventTypeError('a.b', ['c.d']),
    new InvalidEventError('a.b', 'x', 'no'),
    new OversizeError('x', 2, 1, 'bytes'),
    new ConfigError(['one']),
    new ClosedError('it'),
    new UnknownOutcomeError('XADD', {
      cause: Object.assign(new Error('gone'), { args: [Buffer.from('s3cret')] }),
    }),
  ];
  for (const error of made) {
    t.match(
      JSON.parse(JSON.stringify(error)),
      { name: error.name, message: error.message, code: error.code },
      error.name,
    );
    t.notMatch(JSON.stringify(error), INTERNAL);
  }
  t.match(JSON.parse(JSON.stringify(made[5])), { cause: 'Error: gone' });
  t.end();
});
