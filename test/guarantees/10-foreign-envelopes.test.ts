/**
 * A foreign event with invalid attributes costs itself. It is dead with the reason, never runs, and
 * is never taken for another event.
 */
import fc from 'fast-check';
import t from 'tap';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { envelopeProblem } from '../../src/wire/envelope-problem.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { settled } from '../../scripts/lab/counters.ts';
import {
  functionsDirOf,
  PROTO_DIR,
  type FunctionSet,
} from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const field = (number: number, bytes: Uint8Array): Buffer => {
  const length = bytes.length;
  const varint: number[] = [];
  for (let rest = length; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      varint.push(rest);
      break;
    }
    varint.push((rest % 128) | 128);
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...varint]), bytes]);
};
const INVALID = [
  [0xff],
  [0xc3, 0x28],
  [0xed, 0xa0, 0xbd],
  [0xc0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x61, 0xe2, 0x82],
].map((b) => Buffer.from(b));
const invalid = INVALID[0] as Buffer;
const text = (value: string): Buffer => Buffer.from(value);

interface Raw {
  readonly id?: Buffer;
  readonly subject?: Buffer;
  readonly source?: Buffer;
  readonly type?: Buffer;
  readonly extension?: readonly [Buffer, Buffer];
  readonly extensions?: readonly string[];
}
let next = 0;
function event(raw: Raw, millrace: Millrace): Buffer {
  const id = raw.id ?? text(`e${next++}`);
  const data = Buffer.from(
    millrace.deployment.catalog
      .get('test.event')
      .encode({ key: 'k', number: 0, order: 'ok', filler: new Uint8Array(0) }),
  );
  return Buffer.concat([
    field(1, id),
    field(2, raw.subject ?? text(`s${next++}`)),
    field(3, data),
    ...(raw.source ? [field(5, raw.source)] : []),
    ...(raw.type ? [field(8, raw.type)] : []),
    ...(raw.extensions ?? []).map((name) =>
      field(9, Buffer.concat([field(1, text(name)), field(2, text('v'))])),
    ),
    ...(raw.extension
      ? [field(9, Buffer.concat([field(1, raw.extension[0]), field(2, raw.extension[1])]))]
      : []),
  ]);
}

const BAD: readonly (readonly [Raw, 'decode' | 'envelope', RegExp])[] = [
  ...INVALID.map((id) => [{ id }, 'decode', /id is not valid UTF-8/] as const),
  [{ id: Buffer.concat([text('x'.repeat(70)), invalid]) }, 'decode', /id is not valid UTF-8/],
  [{ subject: invalid }, 'decode', /subject is not valid UTF-8/],
  [{ subject: Buffer.concat([text('s'), invalid]) }, 'decode', /subject is not valid UTF-8/],
  [{ source: invalid }, 'decode', /source is not valid UTF-8/],
  [{ type: invalid }, 'decode', /type is not valid UTF-8/],
  [{ extension: [text('a'), invalid] }, 'decode', /extensions is not valid UTF-8/],
  [{ extension: [invalid, text('a')] }, 'decode', /extensions is not valid UTF-8/],
  [{ id: text('') }, 'envelope', /id is empty/],
  [{ id: text('') }, 'envelope', /id is empty/],
  [{ id: text('é'.repeat(129)) }, 'envelope', /id has 258 bytes, the limit is 256/],
  [{ subject: text('') }, 'envelope', /subject is empty/],
  [{ subject: text('x'.repeat(1025)) }, 'envelope', /subject has 1025 bytes, the limit is 1024/],
  ...[
    'x-tenant',
    'Tenant',
    'a b',
    'a_b',
    'ü',
    '',
    '__proto__',
    'constructor ',
    'a.b',
    'x'.repeat(257),
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
  ].map(
    (name) =>
      [
        { extensions: ['sound', name] },
        'envelope',
        new RegExp(`extensions have one named ${JSON.stringify(name.slice(0, 60))}: `),
      ] as const,
  ),
];
const GOOD: readonly Raw[] = [
  { extensions: ['tenant', 'a1', '0', 'constructor', 'x'.repeat(256)] },
  { extension: [text('a'), text('')] },
  { id: text('ü'.repeat(128)) },
  { subject: text('x'.repeat(1024)) },
  { id: text('\0') },
  { id: text('\ufffd') },
  { source: text('') },
];

for (const [fn, set] of [
  ['batch', 'batch'],
  ['unordered', 'unordered'],
  ['hold', 'hold'],
  ['inbox', 'inbox'],
] as [string, FunctionSet][]) {
  t.test(`each by itself: ${fn}`, async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const millrace = await connect({
      environment: {
        REDIS_URL: redis.url,
        MILLRACE_PARTITIONS: 1,
        WORKERS: 1,
        LOG_LEVEL: 'silent',
      },
      protoDir: PROTO_DIR,
    });
    t.teardown(() => millrace.close());
    // One entry has bad and good events side by side. Another entry has an invalid source, and one
    // event in it names its own.
    const mixed = BAD.flatMap(([raw], i) => [raw, GOOD[i % GOOD.length] as Raw]).map((raw, i) =>
      event(raw.id || i % 2 === 0 ? raw : { ...raw, id: text(`g${i}`) }, millrace),
    );
    await look.xadd(
      'mr:{0}:events:test.event',
      '*',
      'b',
      Buffer.concat(mixed.map((bytes) => field(3, bytes))),
    );
    await look.xadd(
      'mr:{0}:events:test.event',
      '*',
      'b',
      Buffer.concat([
        field(2, invalid),
        field(3, event({}, millrace)),
        field(3, event({ source: text('own') }, millrace)),
      ]),
    );
    await millrace.dispatcher({ functionsDir: functionsDirOf(set) }).start();
    const total = 2 * BAD.length + 2;
    const counts = await until('all are settled', async () => {
      const at = await settled(look, fn, 1, total);
      return at.parked === 0 ? at : null;
    });
    t.match(counts, { dead: BAD.length + 1 });
    const letters = [];
    for await (const letter of listDeadLetters(millrace.deployment, { function: fn }))
      letters.push(letter);
    const mixedLetters = letters
      .filter(({ index, error }) => index < mixed.length && !/source is not/.test(error.message))
      .sort((a, b) => a.index - b.index);
    const wanted = BAD.map(([, reason, message], i) => ({
      index: 2 * i,
      reason,
      error: { name: 'EnvelopeError', message },
      kind: 'event',
    })).filter(({ error }) => !/source is not/.test(String(error.message)));
    t.match(
      mixedLetters.map(({ index, reason, error, kind }) => ({ index, reason, error, kind })),
      wanted,
    );
    t.ok(
      letters.every(
        ({ bytes, index, error }) =>
          /source is not/.test(error.message) || bytes.equals(mixed[index] as Buffer),
      ),
      'with their own bytes',
    );
    t.ok(
      letters.every(
        ({ eventId, subject }) => !eventId.includes('\ufffd') && !subject.includes('\ufffd'),
      ),
    );
    t.equal(letters.filter(({ error }) => /source is not/.test(error.message)).length, 2);

    // A replayed event dies again, and nothing else with it.
    const back = letters.find(({ error }) => /subject is not/.test(error.message));
    t.ok(back);
    if (back) await replayDeadLetter(millrace.deployment, back);
    await untilTold(countersOf(look), 'dead again', async () =>
      is(Number(await look.hget('mr:{0}:counters', `parked:${fn}:test.event`)), 0),
    );
    t.match(await settled(look, fn, 1, total), { dead: BAD.length + 1, parked: 0 });
  });
}

t.test('what is valid is what the platform says is valid', async () => {
  const fatal = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 80 }),
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 80 })
      .map((s) => new Uint8Array(Buffer.from(s))),
  );
  fc.assert(
    fc.property(bytes, (id) => {
      let wanted: string | null = null;
      try {
        wanted = fatal.decode(id);
      } catch {
        // The value stays null.
      }
      const read = readEvent(Buffer.concat([field(1, id), field(2, text('s'))]));
      return wanted === null
        ? read.invalid === 'id' && read.id === ''
        : read.id === wanted && envelopeProblem(read)?.reason !== 'decode';
    }),
    { numRuns: 1000 },
  );
});
