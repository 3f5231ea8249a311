import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { pino } from 'pino';
import { readEnvironment } from '../../src/config.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { millrace } from '../../src/wire/generated/millrace.js';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { deadLetters, dump, settled } from '../../scripts/lab/counters.ts';
import {
  openService,
  PROTO_DIR,
  startDispatcher,
  testDir,
} from '../../scripts/lab/dispatcher-process.ts';
import { completions, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';

const PARTITIONS = 2;
const silent = pino({ level: 'silent' });

/**
 * Creates a folder inside the project, so that its packages are found. The folder is not there yet
 * where the server is somebody else's.
 */
function madeFolder(): string {
  const dir = join(projectDir, '.millrace');
  mkdirSync(dir, { recursive: true });
  return dir;
}

type PublishArguments = Parameters<ReturnType<Millrace['publisher']>['publish']>;
type Refused = readonly [what: string, args: PublishArguments, error: object];

const good = { key: 's', number: 1, order: 'ok', filler: new Uint8Array(0) };

const BAD_DATA: readonly Refused[] = [
  [
    'unknown type',
    ['test.evnet', good],
    { code: 'UNKNOWN_EVENT_TYPE', message: /test\.evnet.*test\.event, test\.other/ },
  ],
  [
    'wrong kind of field',
    ['test.event', { ...good, number: 'seven' }],
    { code: 'INVALID_EVENT', path: 'number' },
  ],
  [
    'a fraction',
    ['test.event', { ...good, number: 1.5 }],
    { code: 'INVALID_EVENT', path: 'number' },
  ],
  [
    'a field that is not declared',
    ['test.event', { ...good, nubmer: 1 }],
    { code: 'INVALID_EVENT', path: 'nubmer' },
  ],
  ['no object', ['test.event', 'text'], { code: 'INVALID_EVENT' }],
  ['null', ['test.event', null], { code: 'INVALID_EVENT' }],
  [
    'a list',
    ['test.event', [good]],
    { code: 'INVALID_EVENT', path: '', message: /an object was expected, got an array/ },
  ],
  [
    'payload too large',
    ['test.event', { ...good, filler: new Uint8Array(262_144) }],
    { code: 'OVERSIZE', limit: 262_144 },
  ],
];

const BAD_SUBJECTS_AND_OPTIONS: readonly Refused[] = [
  ['missing subject', ['test.event', { number: 1 }], { code: 'INVALID_EVENT', path: 'key' }],
  [
    'a subject of another kind',
    ['test.event', { ...good, key: 7 }],
    { code: 'INVALID_EVENT', path: 'key', message: /a string was expected, got number 7/ },
  ],
  [
    'a subject option of another kind',
    ['test.event', good, { subject: 7 as unknown as string }],
    { code: 'INVALID_EVENT', path: 'subject' },
  ],
  [
    'an id of another kind',
    ['test.event', good, { id: 7 as unknown as string }],
    { code: 'INVALID_EVENT', path: 'id' },
  ],
  [
    'a source of another kind',
    ['test.event', good, { source: 7 as unknown as string }],
    { code: 'INVALID_EVENT', path: 'source' },
  ],
  ['empty subject', ['test.event', { ...good, key: '' }], { code: 'INVALID_EVENT', path: 'key' }],
  [
    'empty subject option',
    ['test.event', good, { subject: '' }],
    { code: 'INVALID_EVENT', path: 'subject' },
  ],
  [
    'subject too long',
    ['test.event', { ...good, key: 'é'.repeat(513) }],
    { code: 'OVERSIZE', actual: 1026, limit: 1024 },
  ],
  ['empty id', ['test.event', good, { id: '' }], { code: 'INVALID_EVENT', path: 'id' }],
  [
    'id too long',
    ['test.event', good, { id: 'x'.repeat(257) }],
    {
      code: 'OVERSIZE',
      actual: 257,
      limit: 256,
      message: /id: the limit is 256, it has 257 bytes of UTF-8\. Nothing was sent$/,
    },
  ],
  ['no time', ['test.event', good, { time: NaN }], { code: 'INVALID_EVENT', path: 'time' }],
  [
    'an option that nobody reads',
    ['test.event', good, { delay: 5000 } as object],
    { code: 'INVALID_EVENT', path: 'delay' },
  ],
];

const BAD_EXTENSIONS: readonly Refused[] = [
  ...[
    ...[
      'specversion',
      'id',
      'source',
      'type',
      'subject',
      'time',
      'datacontenttype',
      'dataschema',
      'data',
      'data_base64',
    ],
    'x-tenant',
    'Tenant',
    'tenant_id',
    'ténant',
    '',
    ' ',
    '__proto__',
    'a.b',
  ].map((name): Refused => [
    `extension named ${JSON.stringify(name)}`,
    ['test.event', good, { extensions: Object.fromEntries([[name, 'x']]) }],
    { code: 'INVALID_EVENT', path: `extensions.${name}` },
  ]),
  ...[5, true, null, undefined, {}, [], 5n, Symbol('s'), new Date(0), '\ud83d'].map(
    (value): Refused => [
      `extension of the value ${String(value)}`,
      ['test.event', good, { extensions: { tenant: value as string } }],
      { code: 'INVALID_EVENT', path: /^extensions/ },
    ],
  ),
  ...[new Map([['a', 'b']]), [], 'a=b', 7, new Date(0)].map((value): Refused => [
    'extensions that are no plain object',
    ['test.event', good, { extensions: value as unknown as Record<string, string> }],
    { code: 'INVALID_EVENT', path: 'extensions' },
  ]),
  [
    'extensions too large',
    ['test.event', good, { extensions: { x: 'y'.repeat(4096) } }],
    { code: 'OVERSIZE', limit: 4096 },
  ],
];

t.test('at publish: bad input is refused by name, and nothing changes', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
  await publisher.publish('test.event', good);
  const before = await dump(look);

  for (const [what, args, expected] of [
    ...BAD_DATA,
    ...BAD_SUBJECTS_AND_OPTIONS,
    ...BAD_EXTENSIONS,
  ]) {
    await t.rejects(publisher.publish(...args), expected as Error, what);
  }
  await t.rejects(
    publisher.publishMany([
      { type: 'test.event', data: good },
      { type: 'test.event' as string, data: { ...good, number: {} } },
    ]),
    { code: 'INVALID_EVENT', path: 'number' },
    'one bad event of many: none is sent',
  );
  t.strictSame(await dump(look), before, 'no key has changed');
  t.match(
    await publisher.publish('test.event', { ...good, key: 'é'.repeat(512) }),
    { position: /^\d\/\d+-\d+\/\d+$/ },
    'the longest subject is fine',
  );
});

const catalog = createCatalog(loadProtoFolder(PROTO_DIR));
const { EventBatch } = millrace.v1;
const SUBJECT = 'foreign';
const STREAM = `mr:{${partitionOf(SUBJECT, PARTITIONS)}}:events:test.event`;
const payload = (number: number): Uint8Array =>
  catalog
    .get('test.event')
    .encode({ key: SUBJECT, number, order: 'ok', filler: new Uint8Array(0) });
const batch = (...numbers: number[]): Buffer =>
  Buffer.from(
    EventBatch.encode(
      EventBatch.fromObject({
        type: 'test.event',
        source: 'plain ioredis',
        events: numbers.map((number, position) => ({
          id: `foreign-${number}`,
          subject: SUBJECT,
          data: payload(number),
          timeMs: 1_700_000_000_000,
          position,
        })),
      }),
    ).finish(),
  );

const undecodable = Buffer.from(
  EventBatch.encode(
    EventBatch.fromObject({
      events: [
        {
          id: 'undecodable',
          subject: SUBJECT,
          data: Buffer.from([0x0a, 0xff, 0xff, 0x01]),
          timeMs: 1,
        },
        { id: 'foreign-20', subject: 'neighbour', data: payload(20), timeMs: 1, position: 1 },
      ],
    }),
  ).finish(),
);

/** Appends entries with plain ioredis: sound, corrupt, and between the two. */
async function appendForeign(look: Redis): Promise<void> {
  const add = (...fields: (string | Buffer | number)[]) => look.xadd(STREAM, '*', ...fields);
  await add('b', batch(1, 2));
  await add('b', Buffer.from('\xff\xff\xff these are no bytes of a batch', 'latin1'));
  await add('b', batch(3), 'n', 1, 'c', 12345);
  await add('b', batch(4, 5), 'n', 3);
  await add('b', batch(6, 7), 'n', 1);
  await add('x', 'y');
  await add('b', undecodable);
  await add('b', '');
  await add('b', batch(8), 'unknown', 'field', 'n', '1');
  await add('b', batch(9), 'n', 'many');
  await add('b', Buffer.concat([batch(10), Buffer.from([0xa2, 0x06, 3, 1, 2, 3, 0xf8, 0x07, 5])]));
}

// before, 1, 2, 8, 10, 20 and after are done. So is 9, whose "n" is no number and counts as
// missing. The rest is dead.
const EXPECT_DONE = [
  'before',
  'foreign-1',
  'foreign-2',
  'foreign-8',
  'foreign-9',
  'foreign-10',
  'foreign-20',
  'after',
];
// The letters of: garbage, checksum, n too high (3), n too low (1), no b, undecodable, empty b.
const LETTERS = 1 + 1 + 3 + 1 + 1 + 1 + 1;

t.test(
  'in the stream: what is corrupt is dead-lettered with the reason, and the lane goes on',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'handle', history });
    await publisher.publish(
      'test.event',
      { key: SUBJECT, number: 0, order: 'ok', filler: new Uint8Array(0) },
      { id: 'before' },
    );
    await appendForeign(look);
    await publisher.publish(
      'test.event',
      { key: SUBJECT, number: 99, order: 'ok', filler: new Uint8Array(0) },
      { id: 'after' },
    );

    await settled(look, 'handle', PARTITIONS, EXPECT_DONE.length + LETTERS);
    t.equal(await dispatcher.terminate(), 0);
    t.strictSame(
      [...completions(runsOf(readHistory(history))).keys()].sort(),
      [...EXPECT_DONE].sort(),
      'all that is sound was done',
    );
    const dead = (await deadLetters(look, 'handle', PARTITIONS)).map((letter) => letter.fields);
    t.strictSame(
      // The timing of the reads decides which of them share a turn, and so the order of the
      // letters.
      dead.map((fields) => `${fields['kind']} ${fields['reason']}`).sort(),
      [
        'entry checksum',
        'entry count',
        'entry count',
        'entry decode',
        'entry missing',
        'entry missing',
        'event decode',
      ],
      'one letter each, with the reason',
    );
    for (const fields of dead)
      t.ok((fields['message'] ?? '').length > 10, fields['message'] ?? 'no message');
    const garbage = (await deadLetters(look, 'handle', PARTITIONS)).find(
      (letter) => letter.fields['reason'] === 'decode' && letter.fields['kind'] === 'entry',
    );
    t.match(
      garbage?.event.toString('latin1'),
      /these are no bytes of a batch/,
      'with the original bytes',
    );
  },
);

/** Returns the problems of the `ConfigError` that `work` throws. */
async function problemsOf(work: () => unknown): Promise<readonly string[]> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** Makes an empty folder of functions, `dir`, inside the folder `root`. */
function functionsFolder(t: Test) {
  const root = mkdtempSync(join(madeFolder(), 'test-functions-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const dir = join(root, 'functions');
  mkdirSync(dir);
  const define = new URL('../../src/define/index.js', import.meta.url).href;
  const write = (name: string, text: string) =>
    writeFileSync(
      join(dir, name),
      text.replace('DEFINE', `import { defineFunction } from ${JSON.stringify(define)};`),
    );
  return { root, dir, write };
}

type Write = ReturnType<typeof functionsFolder>['write'];

function writeWrongFunctions(write: Write): void {
  write(
    'good.js',
    "DEFINE export default defineFunction({ name: 'good', on: ['test.event'], handle() {} });",
  );
  write(
    'same-name.js',
    "DEFINE export default defineFunction({ name: 'good', on: ['test.event'], handle() {} });",
  );
  write(
    'unknown-type.mjs',
    "DEFINE export default defineFunction({ name: 'unknown-type', on: ['test.event', 'test.evnet'], handle() {} });",
  );
  write('no-function.js', 'export const nothing = 1;');
  write('throws.js', "throw new Error('not today');");
  write(
    'bad-options.js',
    "DEFINE export default defineFunction({ name: 'Bad Name', on: [], timeoutMs: 1, concurency: 3, handle() {} });",
  );
}

function writeFilesThatDoNotLoad(write: Write): void {
  write('does-not-compile.ts', 'export default {');
  write('nor-this.ts', 'const x: = 1;');
  write('exits.js', 'process.exit(3);');
  write('hangs.js', 'await new Promise(() => {});');
}

t.test('start-up names every problem at once', async (t) => {
  t.test('of the environment', async (t) => {
    const problems = await problemsOf(() =>
      readEnvironment({
        WORKERS: 'many',
        MILLRACE_PARTITIONS: '0',
        LOG_LEVEL: 'loud',
        MILLRACE_NAMESPACE: 'a{b}',
        MILLRACE_LAESE_MS: '1',
      }),
    );
    for (const name of [
      'WORKERS',
      'MILLRACE_PARTITIONS',
      'LOG_LEVEL',
      'MILLRACE_NAMESPACE',
      'MILLRACE_LAESE_MS',
    ]) {
      t.equal(problems.filter((problem) => problem.startsWith(`${name}:`)).length, 1, name);
    }
    t.equal(problems.length, 5);
  });

  t.test('of the server and the proto files', async (t) => {
    const redis = await startRedis(t, {
      args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'],
    });
    const dir = mkdtempSync(join(madeFolder(), 'test-proto-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    writeFileSync(
      join(dir, 'a.proto'),
      'syntax = "proto3"; message A { option (millrace.v1.event) = { type: "a.a", subject: "nope" }; string key = 1; }',
    );
    writeFileSync(
      join(dir, 'b.proto'),
      'syntax = "proto3"; message B { option (millrace.v1.event) = { type: "Bad Name", subject: "key" }; string key = 1; }',
    );
    const problems = await problemsOf(() =>
      connect({ environment: { REDIS_URL: redis.url }, protoDir: dir, logger: silent }),
    );
    t.match(problems.join('\n'), /allkeys-lru/);
    t.match(problems.join('\n'), /a\.proto: message A: its subject "nope"/);
    t.match(problems.join('\n'), /b\.proto: message B: event type "Bad Name"/);
    t.equal(problems.length, 3);
  });

  t.test('of the number of partitions', async (t) => {
    const redis = await startRedis(t);
    await openService(t, redis.url, 4);
    const problems = await problemsOf(() =>
      connect({
        environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 8 },
        protoDir: PROTO_DIR,
        logger: silent,
      }),
    );
    t.match(problems, [/MILLRACE_PARTITIONS is 8.*started with 4/]);
  });

  t.test('of the functions', async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const service = await openService(t, redis.url, 2);
    const { root, dir, write } = functionsFolder(t);
    writeWrongFunctions(write);
    const problems = await problemsOf(() => service.dispatcher({ functionsDir: dir }).start());
    const text = problems.join('\n');
    t.match(text, /same-name\.js: a function named "good" is in .*good\.js already/);
    t.match(
      text,
      /unknown-type\.mjs: on names the event type "test\.evnet".*declared: test\.event, test\.other/,
    );
    t.match(text, /no-function\.js exports no function/);
    t.match(text, /throws\.js cannot be loaded: Error: not today/);
    t.match(text, /bad-options\.js .*unknown option "concurency"/);
    t.match(text, /name must match/);
    t.match(text, /timeoutMs must be a whole number/);
    t.strictSame(await look.keys('mr:{*'), [], 'nothing was registered');

    // A file that does not compile, ends its thread or never ends loading does not hide the others'
    // problems.
    writeFilesThatDoNotLoad(write);
    const impatient = await openService(t, redis.url, 2, { MILLRACE_LOAD_MS: 8000 });
    const more = await problemsOf(() => impatient.dispatcher({ functionsDir: dir }).start());
    t.strictSame(
      problems.filter((problem) => !more.includes(problem)),
      [],
      'all of the above',
    );
    t.match(more.join('\n'), /does-not-compile\.ts does not compile: line 1/);
    t.match(more.join('\n'), /nor-this\.ts does not compile: line 1/);
    t.match(more.join('\n'), /exits\.js cannot be loaded: it ends its thread: .*code: 3/);
    t.match(more.join('\n'), /hangs\.js had not finished loading after 8000 ms/);
    t.equal(more.length, problems.length + 4);

    t.match(await problemsOf(() => service.dispatcher({ functionsDir: root }).start()), [
      /holds no function file/,
    ]);
    t.match(
      await problemsOf(() => service.dispatcher({ functionsDir: join(root, 'nope') }).start()),
      [/cannot be read/],
    );
  });
});
