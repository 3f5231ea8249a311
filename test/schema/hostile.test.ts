/** Schemas that strangers send: whatever they are, a clear refusal or a model, in bounded time and memory, and nothing left behind. */
import fc from 'fast-check';
import t from 'tap';
import { InvalidSchemaError, SCHEMA_LIMITS } from '../../src/schema/limits.ts';
import { parseSchema } from '../../src/schema/parse-schema.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { textOf } from './rows.ts';

const parse = (text: string, ...more: string[]): Promise<unknown> => parseSchema([text, ...more].map((one, i) => ({ name: `${'abcdef'[i] ?? 'x'}.proto`, text: one })));

t.test('a schema is parsed in a thread of its own', async (t) => {
  const model = await parseSchema([
    { name: 'a.proto', text: 'syntax = "proto3"; package a; import "b.proto"; import "google/protobuf/timestamp.proto"; import "millrace/v1/options.proto"; message M { option (millrace.v1.event) = { type: "m.happened", subject: "id" }; string id = 1; b.N n = 2; google.protobuf.Timestamp at = 3; optional int32 maybe = 4; oneof o { int32 x = 5; string y = 6; } map<string, b.N> all = 7; reserved 8, 10 to 12; reserved "old"; }' },
    { name: 'b.proto', text: 'syntax = "proto3"; package b; message N { E e = 1; } enum E { ZERO = 0; reserved 5; }' },
  ]);
  t.strictSame([model.roots, model.events], [['a.M'], { 'm.happened': 'a.M' }]);
  const message = model.messages['a.M'];
  t.equal(message?.syntax, 'proto3');
  t.strictSame(message?.reserved, { ranges: [[8, 8], [10, 12]], names: ['old'] });
  t.strictSame(message?.fields.map((field) => `${field.number} ${field.name} ${field.kind} ${field.type} ${field.oneof ?? '-'} ${field.mapKey ?? '-'} ${field.presence ? 'presence' : ''}`.trim()), [
    '1 id scalar string - -', '2 n message b.N - - presence', '3 at message google.protobuf.Timestamp - - presence', '4 maybe scalar int32 - - presence',
    '5 x scalar int32 o - presence', '6 y scalar string o - presence', '7 all message b.N - string',
  ]);
  t.strictSame(model.enums['b.E'], { syntax: 'proto3', values: [['ZERO', 0]], reserved: { ranges: [[5, 5]], names: [] } });
});

t.test('refused, with the place and the reason', async (t) => {
  const M = (body: string): string => textOf(`message M { ${body} }`);
  const cases: readonly (readonly [string, string | readonly string[], RegExp])[] = [
    ['nothing', '', /a\.proto declares no message/],
    ['no message', 'syntax = "proto3";', /a\.proto declares no message/],
    ['garbage', 'these are no words of a schema', /a\.proto: illegal/],
    ['binary', '\x0a\x05a.proto\0\x12', /NUL character/],
    ['a JSON descriptor', '{"nested":{"M":{"fields":{}}}}', /a\.proto: illegal/],
    ['__proto__ as a field', M('string __proto__ = 1;'), /line 3: the name __proto__ is not accepted/],
    ['constructor as a message', textOf('message constructor { string a = 1; }'), /the name constructor is not accepted/],
    ['prototype in a package', textOf('message M { string a = 1; }', 'proto3', 'a.prototype.b'), /the name prototype is not accepted/],
    ['__proto__ as an option', M('option (__proto__).x = 1; string a = 1;'), /the name __proto__ is not accepted/],
    ['__proto__ as an enum value', textOf('message M { E e = 1; } enum E { ZERO = 0; __proto__ = 1; }'), /the name __proto__ is not accepted/],
    ['deep nesting', textOf('message A { '.repeat(5000) + '}'.repeat(5000)), /nested deeper than 32/],
    ['deep options', textOf(`option (x) = ${'{ a: '.repeat(20_000)}1${'}'.repeat(20_000)}; message M { string a = 1; }`), /nested deeper than 32/],
    ['many fields', textOf(Array.from({ length: 41 }, (_, m) => `message M${m} { ${Array.from({ length: 500 }, (_, i) => `string f${i} = ${i + 1};`).join('')} }`).join('')), /more than 20000 fields/],
    ['many fields in one message, where parsing takes long', M(Array.from({ length: 60_000 }, (_, i) => `string f${i} = ${i + 1};`).join('')), /not parsed within|more than 20000 fields/],
    ['many messages', textOf(Array.from({ length: 2_001 }, (_, i) => `message M${i} { string a = 1; }`).join('')), /more than 2000 messages/],
    ['a long name', textOf(`message ${'M'.repeat(256)} { string a = 1; }`), /a name of 256 characters/],
    ['too much text', textOf(`message M { string a = 1; } // ${'x'.repeat(SCHEMA_LIMITS.characters)}`), /characters; the limit is 2097152/],
    ['an import that is not there', 'syntax = "proto3"; import "secret/../../etc/passwd"; message M { string a = 1; }', /it imports secret.*which did not come with it/],
    ['an unknown type', M('Nobody n = 1;'), /a\.M\.n: .*Nobody/],
    ['a group', 'syntax = "proto2"; message M { repeated group G = 1 { optional int32 a = 1; } }', /group|illegal/i],
    ['a number twice', M('string a = 1; string b = 1;'), /duplicate id 1/],
    ['a reserved number used', M('reserved 1; string a = 1;'), /reserved/],
    ['too many files', Array.from({ length: 201 }, () => 'syntax = "proto3";'), /201 files; the limit is 200/],
  ];
  for (const [name, text, message] of cases) {
    const texts = typeof text === 'string' ? [text] : text;
    await t.rejects(parse(texts[0] as string, ...texts.slice(1)), { name: 'InvalidSchemaError', message }, name);
  }
  t.equal(({} as Record<string, unknown>)['x'], undefined, 'no prototype was touched');
});

t.test('files that import each other', async (t) => {
  await t.resolves(parse('syntax = "proto3"; package a; import "b.proto"; message M { b.N n = 1; }', 'syntax = "proto3"; package b; import "a.proto"; message N { a.M m = 1; }'));
});

t.test('what takes too long is ended', async (t) => {
  await t.rejects(parseSchema([{ name: 'a.proto', text: textOf(`message M { ${Array.from({ length: 900 }, (_, i) => `string a${i} = ${i + 1};`).join(' ')} }`) }], { parseMs: 1 }), { name: 'InvalidSchemaError', message: /not parsed within 1 ms/ });
  await t.resolves(parse(textOf('message M { string a = 1; }')), 'the next one is served');
});

t.test('fuzzed: a model or an InvalidSchemaError, nothing else', async (t) => {
  const base = 'syntax = "proto3"; package a.b; message M { string id = 1; repeated int32 n = 2 [packed = true, deprecated = false]; map<string, E> m = 3; oneof o { bytes b = 4; } reserved 9 to 12, "x"; message In { fixed64 f = 1; } } enum E { option allow_alias = true; ZERO = 0; NIL = 0; } service S { rpc Do (M) returns (stream M); }';
  const words = base.split(/(\W)/).filter((word) => word !== '');
  const mutated = fc.array(fc.record({ at: fc.nat(words.length - 1), by: fc.oneof(fc.constantFrom(...words, '', '}', '{', '__proto__', '999999999999', '-1', '"', "'", '/*', '//', '\0', '\u2028', 'group', 'extend', 'extensions 1 to max;', 'option (a).b.c = { d: [1, {e: 2}] };'), fc.string({ maxLength: 8 })) }), { minLength: 1, maxLength: 6 });
  let models = 0;
  fc.assert(fc.property(mutated, (changes) => {
    const copy = [...words];
    for (const { at, by } of changes) copy[at] = by;
    try {
      readModel([{ name: 'a.proto', text: copy.join('') }]);
      models++;
    } catch (error) {
      if (!(error instanceof InvalidSchemaError)) throw error;
    }
  }), { numRuns: 2000 });
  t.ok(models > 20, `${models} of 2,000 were schemas all the same`);
  t.strictSame(Object.keys(Object.prototype), []);
});
