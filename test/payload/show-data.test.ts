import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { createDifferential } from '../../scripts/differential/compare.ts';
import { damaged, rawMessage, varintOf } from '../../scripts/differential/generate.ts';
import { randomOf } from '../../scripts/differential/random.ts';
import { TYPES, type DiffType } from '../../scripts/differential/schema.ts';
import { projectDir } from '../../scripts/lab/redis-server.ts';
import { textProblem } from '../../src/core/well-formed.ts';
import { plainShown } from '../../src/payload/plain-shown.ts';
import { showData, wholeValueAt, type DataShape } from '../../src/payload/show-data.ts';
import {
  PAGE_LIMITS,
  showUndecoded,
  WHOLE_LIMITS,
  type Cut,
  type Shown,
} from '../../src/payload/shown-payload.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { shapeOf, type FieldShape, type MessageShape } from '../../src/wire/message-shape.ts';

const FILE = `syntax = "proto3";
package look;
import "millrace/v1/options.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/any.proto";
enum Kind { NONE = 0; ONE = 1; }
message M {
  option (millrace.v1.event) = { type: "look.m", subject: "s" };
  string s = 1;
  int64 signed = 2;
  uint64 unsigned = 3;
  sint64 zig = 4;
  fixed64 fixed = 5;
  sfixed64 sfixed = 6;
  google.protobuf.Timestamp at = 7;
  google.protobuf.Duration took = 8;
  Kind kind = 9;
  bytes raw = 10;
  M more = 11;
  repeated string list = 12;
  map<string, string> map = 13;
  google.protobuf.Any any = 14;
}
`;
const catalog = createCatalog([{ name: 'look.proto', text: FILE }]);
const M = shapeOf(catalog.root, 'look.M') as MessageShape;
const schema: DataShape = { shape: M, also: [] };
const encode = (data: object): Buffer => Buffer.from(catalog.get('look.m').encode(data));

function fieldOf(shown: Shown | null, name: string): Shown {
  if (shown?.kind !== 'message') throw new Error(`no message, but ${JSON.stringify(shown)}`);
  const found = shown.fields.find((field) => field.name === name);
  if (!found) throw new Error(`no field ${name}`);
  return found.value;
}

/** Decoded data in the form of plainShown(). */
function reference(shape: MessageShape, data: Readonly<Record<string, unknown>>): unknown {
  const one = (field: FieldShape, value: unknown): unknown => {
    if (value === null) return null;
    const inner = field.message();
    if (inner) return reference(inner, value as Record<string, unknown>);
    if (field.enum) return field.enum.names.get(value as number) ?? value;
    if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
    if (typeof value !== 'number') return value;
    return Object.is(value, -0) ? '-0' : Number.isFinite(value) ? value : String(value);
  };
  return Object.fromEntries(
    [...shape.fields.values()].map((field) => {
      const value = data[field.name];
      if (field.mapKey !== null)
        return [
          field.name,
          Object.fromEntries(
            Object.entries(value as object).map(([key, its]) => [key, one(field, its)]),
          ),
        ];
      return [
        field.name,
        Array.isArray(value) ? value.map((its) => one(field, its)) : one(field, value),
      ];
    }),
  );
}

t.test('payloads are shown as functions see them, whatever the bytes', async (t) => {
  const { catalog: all, message } = createDifferential(projectDir);
  const types = Object.keys(TYPES) as DiffType[];
  let compared = 0;
  for (let round = 0; round < 400; round++) {
    const random = randomOf(round);
    const type = types[round % types.length] as DiffType;
    const shape = shapeOf(all.root, TYPES[type]) as MessageShape;
    const bytes = rawMessage(random, message(TYPES[type]));
    const shown = showData({ shape, also: [] }, bytes, 'full', WHOLE_LIMITS);
    let decoded: Record<string, unknown>;
    try {
      decoded = all.get(type).decode(bytes) as Record<string, unknown>;
    } catch {
      // An integer beyond 2^53, or text that is no UTF-8: functions do not get such an event.
      continue;
    }
    // Texts of proto2 may be invalid UTF-8, which nobody reads in the same way.
    if (JSON.stringify(shown).includes('"invalid":true')) continue;
    compared++;
    const { data, complete } = plainShown(shown);
    if (!complete || !isDeepStrictEqual(data, reference(shape, decoded)))
      throw new Error(
        `round ${round}, ${type}: ${bytes.toString('hex')}\nshown: ${JSON.stringify(data)}\nread:  ${JSON.stringify(reference(shape, decoded))}`,
      );
  }
  t.ok(compared > 100, `${compared} payloads were compared`);
});

t.test('damaged bytes are shown as unreadable, and never throw', async (t) => {
  const { catalog: all, message } = createDifferential(projectDir);
  let unreadable = 0;
  for (let round = 0; round < 300; round++) {
    const random = randomOf(round);
    const bytes = damaged(random, rawMessage(random, message('three.M')));
    const shape = shapeOf(all.root, 'three.M') as MessageShape;
    for (const access of ['none', 'masked', 'full'] as const) {
      const shown = showData({ shape, also: [] }, bytes, access);
      if (access === 'full' && JSON.stringify(shown).includes('"unreadable"')) unreadable++;
    }
  }
  t.ok(unreadable > 50, `${unreadable} were unreadable`);
});

t.test('64-bit integers are exact', async (t) => {
  const field = (number: number, value: bigint): Buffer =>
    Buffer.concat([varintOf(number * 8), varintOf(value)]);
  const fixed = (number: number, value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
    return Buffer.concat([varintOf(number * 8 + 1), bytes]);
  };
  const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const unsigned = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(signed, unsigned, (one, two) => {
      const zigZag = one < 0n ? -one * 2n - 1n : one * 2n;
      const bytes = Buffer.concat([
        field(2, one),
        field(3, two),
        field(4, zigZag),
        fixed(5, two),
        fixed(6, one),
      ]);
      const shown = showData(schema, bytes, 'masked');
      const texts = ['signed', 'unsigned', 'zig', 'fixed', 'sfixed'].map((name) => {
        const value = fieldOf(shown, name);
        return value.kind === 'number' ? value.text : value.kind;
      });
      t.same(texts, [one, two, one, two, one].map(String));
    }),
    { numRuns: 200 },
  );
});

t.test('texts survive as they are, also hostile ones', async (t) => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '<script>alert(1)</script>',
      '{"kind":"masked","why":"field"}',
      '\u0000\u001b[31m\u202e',
      '__proto__',
      '"><img src=x onerror=alert(1)>',
    ),
  );
  fc.assert(
    fc.property(hostile, hostile, (key, value) => {
      fc.pre(textProblem(key) === null && textProblem(value) === null);
      const bytes = encode({ s: 's', list: [value], map: new Map([[key, value]]) });
      const shown = showData(schema, bytes, 'masked', WHOLE_LIMITS);
      t.strictSame(fieldOf(shown, 'list'), {
        kind: 'list',
        items: [{ kind: 'text', text: value }],
        size: 1,
      });
      t.strictSame(fieldOf(shown, 'map'), {
        kind: 'map',
        entries: [{ key: { kind: 'text', text: key }, value: { kind: 'text', text: value } }],
        size: 1,
      });
      t.strictSame(JSON.parse(JSON.stringify(shown)), shown, 'JSON holds it');
    }),
    { numRuns: 200 },
  );
});

t.test('times, durations, enums, bytes, messages in an Any', async (t) => {
  const inner = encode({ s: 'inside' });
  const bytes = encode({
    s: 's',
    at: { seconds: -1, nanos: 5 },
    took: { seconds: -1, nanos: -500_000_000 },
    kind: 7,
    raw: Buffer.from([1, 2, 255]),
    any: { typeUrl: 'type.googleapis.com/look.M', value: inner },
  });
  const shown = showData(schema, bytes, 'masked');
  t.strictSame(fieldOf(shown, 'at'), { kind: 'time', text: '1969-12-31T23:59:59.000000005Z' });
  t.strictSame(fieldOf(shown, 'took'), { kind: 'duration', text: '-1.5s' });
  t.strictSame(fieldOf(shown, 'kind'), { kind: 'enum', name: null, number: 7 });
  t.strictSame(fieldOf(shown, 'raw'), { kind: 'bytes', base64: 'AQL/', length: 3 });
  t.strictSame(fieldOf(shown, 'more'), { kind: 'null' });
  t.strictSame(fieldOf(fieldOf(fieldOf(shown, 'any'), 'value'), 's'), {
    kind: 'text',
    text: 'inside',
  });
  t.strictSame(wholeValueAt(schema, bytes, ['any', 'value', 's'], 'masked'), {
    kind: 'text',
    text: 'inside',
  });

  const strange = encode({ s: 's', any: { typeUrl: 'a/look.Unknown', value: inner } });
  const value = (access: 'masked' | 'full'): Shown =>
    fieldOf(fieldOf(showData(schema, strange, access), 'any'), 'value');
  t.strictSame(value('masked'), { kind: 'masked', why: 'schema' });
  t.match(value('full'), { kind: 'bytes', base64: inner.toString('base64') });
});

t.test('big values are cut, with a way to the whole', async (t) => {
  const long = 'ä😀'.repeat(2000);
  const bytes = encode({
    s: 's',
    list: ['a', long],
    map: new Map([
      ['k', long],
      [long, 'v'],
    ]),
    raw: Buffer.alloc(5000, 7),
    more: { s: long },
  });
  const shown = showData(schema, bytes, 'full');
  const text = fieldOf(fieldOf(shown, 'more'), 's');
  if (text.kind !== 'text') throw new Error(text.kind);
  t.ok(long.startsWith(text.text), 'the cut is between two characters');
  t.equal(text.cut?.bytes, Buffer.byteLength(long));
  const cuts: Cut[] = [];
  const collect = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, one] of Object.entries(value))
      if (name === 'cut') cuts.push(one as Cut);
      else collect(one);
  };
  collect(shown);
  t.equal(cuts.length, 5);
  for (const { path, bytes: size } of cuts) {
    const whole = wholeValueAt(schema, bytes, path, 'full');
    if (whole?.kind === 'text') t.equal(whole.text, long);
    else if (whole?.kind === 'bytes') t.equal(whole.length, size);
    else t.fail(`${path.join('.')}: ${JSON.stringify(whole)}`);
    t.notMatch(whole, { cut: Object });
  }
  t.equal(wholeValueAt(schema, bytes, ['list', 2], 'full'), null);
  t.equal(wholeValueAt(schema, bytes, ['constructor'], 'full'), null);
});

t.test('a tree is bounded in depth, in nodes and in items', async (t) => {
  let nested: object = { s: 'last' };
  for (let i = 0; i < 60; i++) nested = { s: 's', more: nested };
  const deep = encode(nested);
  t.match(JSON.stringify(showData(schema, deep, 'full')), /"left-out","why":"depth"/);
  t.match(JSON.stringify(showData(schema, deep, 'full', WHOLE_LIMITS)), /"last"/);

  const list = encode({ s: 's', list: Array.from({ length: 5000 }, (_, i) => `item ${i}`) });
  const shown = fieldOf(showData(schema, list, 'full'), 'list');
  if (shown.kind !== 'list') throw new Error(shown.kind);
  t.equal(shown.items.length, PAGE_LIMITS.items);
  t.equal(shown.size, 5000);
  t.match(shown.cut, { bytes: null, path: ['list'] });
  const all = wholeValueAt(schema, list, shown.cut?.path ?? [], 'full');
  t.match(all, { kind: 'list', items: { length: 5000 } });
  t.notMatch(all, { cut: Object });
  const few = showData(schema, list, 'full', { ...PAGE_LIMITS, nodes: 5 });
  t.match(few, { kind: 'message', more: 10, cut: { path: [] } });
});

t.test('what has no schema is shown as bytes, to readers who see everything', async (t) => {
  const bytes = Buffer.from('secret');
  t.strictSame(showUndecoded(bytes, 'none'), { kind: 'masked', why: 'access' });
  t.strictSame(showUndecoded(bytes, 'masked'), { kind: 'masked', why: 'schema' });
  t.match(showUndecoded(bytes, 'full'), { kind: 'bytes', length: 6 });
});
