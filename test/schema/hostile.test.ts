/**
 * Schemas of strangers. Each one gives a clear refusal or a model, in bounded time and memory, and
 * leaves nothing behind.
 */
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { compare } from '../../src/schema/compatibility.ts';
import { fingerprint } from '../../src/schema/fingerprint.ts';
import type { ParsedSchema } from '../../src/schema/model.ts';
import { InvalidSchemaError, SCHEMA_LIMITS } from '../../src/schema/limits.ts';
import { parseSchema } from '../../src/schema/parse-schema.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { textOf } from './rows.ts';

/** With time for a busy machine. The time limit has a test of its own. */
const parse = (text: string, ...more: string[]): Promise<unknown> =>
  parseSchema(
    [text, ...more].map((one, i) => ({ name: `${'abcdef'[i] ?? 'x'}.proto`, text: one })),
    { parseMs: 60_000 },
  );

t.test('a schema is parsed in a thread of its own', async (t) => {
  const model = await parseSchema([
    {
      name: 'a.proto',
      text: 'syntax = "proto3"; package a; import "b.proto"; import "google/protobuf/timestamp.proto"; import "millrace/v1/options.proto"; message M { option (millrace.v1.event) = { type: "m.happened", subject: "id" }; string id = 1; b.N n = 2; google.protobuf.Timestamp at = 3; optional int32 maybe = 4; oneof o { int32 x = 5; string y = 6; } map<string, b.N> all = 7; reserved 8, 10 to 12; reserved "old"; }',
    },
    {
      name: 'b.proto',
      text: 'syntax = "proto3"; package b; message N { E e = 1; } enum E { ZERO = 0; reserved 5; }',
    },
  ]);
  t.strictSame([model.roots, model.events], [['a.M'], { 'm.happened': 'a.M' }]);
  const message = model.messages['a.M'];
  t.equal(message?.syntax, 'proto3');
  t.strictSame(message?.reserved, {
    ranges: [
      [8, 8],
      [10, 12],
    ],
    names: ['old'],
  });
  t.strictSame(
    message?.fields.map((field) =>
      `${field.number} ${field.name} ${field.kind} ${field.type} ${field.oneof ?? '-'} ${field.mapKey ?? '-'} ${field.presence ? 'presence' : ''}`.trim(),
    ),
    [
      '1 id scalar string - -',
      '2 n message b.N - - presence',
      '3 at message google.protobuf.Timestamp - - presence',
      '4 maybe scalar int32 - - presence',
      '5 x scalar int32 o - presence',
      '6 y scalar string o - presence',
      '7 all message b.N - string',
    ],
  );
  t.strictSame(model.enums['b.E'], {
    syntax: 'proto3',
    values: [['ZERO', 0]],
    reserved: { ranges: [[5, 5]], names: [] },
  });
});

const M = (body: string): string => textOf(`message M { ${body} }`);

type Refused = readonly [name: string, text: string | readonly string[], message: RegExp];

const NO_SCHEMAS: readonly Refused[] = [
  ['nothing', '', /a\.proto declares no message/],
  ['no message', 'syntax = "proto3";', /a\.proto declares no message/],
  ['garbage', 'these are no words of a schema', /a\.proto: illegal/],
  ['binary', '\x0a\x05a.proto\0\x12', /NUL character/],
  ['a JSON descriptor', '{"nested":{"M":{"fields":{}}}}', /a\.proto: illegal/],
];

const FORBIDDEN_NAMES: readonly Refused[] = [
  [
    '__proto__ as a field',
    M('string __proto__ = 1;'),
    /line 3: the name __proto__ is not accepted/,
  ],
  [
    'constructor as a message',
    textOf('message constructor { string a = 1; }'),
    /the name constructor is not accepted/,
  ],
  [
    'prototype in a package',
    textOf('message M { string a = 1; }', 'proto3', 'a.prototype.b'),
    /the name prototype is not accepted/,
  ],
  [
    '__proto__ as an option',
    M('option (__proto__).x = 1; string a = 1;'),
    /the name __proto__ is not accepted/,
  ],
  [
    '__proto__ as an enum value',
    textOf('message M { E e = 1; } enum E { ZERO = 0; __proto__ = 1; }'),
    /the name __proto__ is not accepted/,
  ],
];

const TOO_MUCH: readonly Refused[] = [
  ['deep nesting', textOf('message A { '.repeat(5000) + '}'.repeat(5000)), /nested deeper than 32/],
  [
    'deep options',
    textOf(
      `option (x) = ${'{ a: '.repeat(20_000)}1${'}'.repeat(20_000)}; message M { string a = 1; }`,
    ),
    /nested deeper than 32/,
  ],
  [
    'many fields',
    textOf(
      Array.from(
        { length: 41 },
        (_, m) =>
          `message M${m} { ${Array.from({ length: 500 }, (_, i) => `string f${i} = ${i + 1};`).join('')} }`,
      ).join(''),
    ),
    /more than 20000 fields/,
  ],
  [
    'many reservations',
    M(`reserved ${Array.from({ length: 20_001 }, (_, i) => 2 * i + 1).join(', ')}; string a = 2;`),
    /more than 20000 fields, enum values and reservations/,
  ],
  [
    'many messages',
    textOf(Array.from({ length: 2_001 }, (_, i) => `message M${i} { string a = 1; }`).join('')),
    /more than 2000 messages/,
  ],
  [
    'a long name',
    textOf(`message ${'M'.repeat(256)} { string a = 1; }`),
    /a name of 256 characters/,
  ],
  [
    'too much text',
    textOf(`message M { string a = 1; } // ${'x'.repeat(SCHEMA_LIMITS.characters)}`),
    /characters; the limit is 2097152/,
  ],
  [
    'too many files',
    Array.from({ length: 201 }, () => 'syntax = "proto3";'),
    /201 files; the limit is 200/,
  ],
];

const INVALID: readonly Refused[] = [
  [
    'an import that is not there',
    'syntax = "proto3"; import "secret/../../etc/passwd"; message M { string a = 1; }',
    /it imports secret.*which did not come with it/,
  ],
  ['an unknown type', M('Nobody n = 1;'), /a\.M\.n: .*Nobody/],
  [
    'a group',
    'syntax = "proto2"; message M { repeated group G = 1 { optional int32 a = 1; } }',
    /group|illegal/i,
  ],
  [
    'a range that ends before it begins',
    M('reserved 9 to 2; string a = 1;'),
    /a\.M: "reserved 9 to 2" is no range/,
  ],
  ['a number twice', M('string a = 1; string b = 1;'), /duplicate id 1/],
  ['a reserved number used', M('reserved 1; string a = 1;'), /reserved/],
];

t.test('refused, with the place and the reason', async (t) => {
  for (const [name, text, message] of [
    ...NO_SCHEMAS,
    ...FORBIDDEN_NAMES,
    ...TOO_MUCH,
    ...INVALID,
  ]) {
    const texts = typeof text === 'string' ? [text] : text;
    await t.rejects(
      parse(texts[0] as string, ...texts.slice(1)),
      { name: 'InvalidSchemaError', message },
      name,
    );
  }
  t.equal(({} as Record<string, unknown>)['x'], undefined, 'no prototype was touched');
});

t.test('files that import each other', async (t) => {
  await t.resolves(
    parse(
      'syntax = "proto3"; package a; import "b.proto"; message M { b.N n = 1; }',
      'syntax = "proto3"; package b; import "a.proto"; message N { a.M m = 1; }',
    ),
  );
});

t.test('what takes too long is ended', async (t) => {
  const slow = textOf(
    `message M { ${Array.from({ length: 60_000 }, (_, i) => `string f${i} = ${i + 1};`).join('')} }`,
  );
  await t.rejects(
    parseSchema([{ name: 'a.proto', text: slow }], { parseMs: 500 }),
    { name: 'InvalidSchemaError', message: /not parsed within|more than 20000 fields/ },
    'many fields in one message',
  );
  await t.rejects(
    parseSchema(
      [
        {
          name: 'a.proto',
          text: textOf(
            `message M { ${Array.from({ length: 900 }, (_, i) => `string a${i} = ${i + 1};`).join(' ')} }`,
          ),
        },
      ],
      { parseMs: 1 },
    ),
    { name: 'InvalidSchemaError', message: /not parsed within 1 ms/ },
  );
  await t.resolves(parse(textOf('message M { string a = 1; }')), 'the next one is served');
});

const BASE =
  'syntax = "proto3"; package a.b; import "google/protobuf/timestamp.proto"; import "millrace/v1/options.proto"; message M { option (millrace.v1.event) = { type: "m", subject: "id" }; string id = 1; repeated int32 n = 2 [packed = true, deprecated = false]; map<string, E> m = 3; oneof o { bytes b = 4; In c = 5; } optional uint64 u = 6; google.protobuf.Timestamp at = 7; reserved 9 to 12, 20; reserved "x"; message In { fixed64 f = 1; M m = 2; } } enum E { option allow_alias = true; ZERO = 0; NIL = 0; reserved 5 to max; } service S { rpc Do (M) returns (stream M); }';
const WORDS = BASE.split(/(\W)/).filter((word) => word !== '');
const nested = (open: string, close: string, depth: number): string =>
  open.repeat(depth) + close.repeat(depth);
const HOSTILE = [
  '',
  '}',
  '{',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'isPrototypeOf',
  '999999999999',
  '-1',
  '0',
  '1e400',
  'nan',
  '"',
  "'",
  '/*',
  '//',
  '\0',
  '\u2028',
  '\ud800',
  'group',
  'extend M { int32 z = 99; }',
  'extensions 1 to max;',
  'option (a).b.c = { d: [1, {e: 2}] };',
  'option (millrace.v1.event) = { type: "__proto__", subject: "constructor" };',
  'import "a.proto";',
  'import public "x.proto";',
  'syntax = "proto2";',
  'edition = "2023";',
  'option features.enum_type = CLOSED;',
  '[default = "\\u0000"]',
  '[json_name = "__proto__"]',
  'weak',
  'stream',
  'reserved 1 to max;',
  'reserved "id";',
  'message __proto__ { }',
  'map<string, map<string, int32>> z = 30;',
  'map<M, int32> z = 31;',
  '.a.b.M',
  '..',
  'a.b.',
  'x'.repeat(300),
  'x.'.repeat(500),
  '9'.repeat(400),
  '"'.concat('s'.repeat(5_000), '"'),
  nested('message A { ', '}', 40),
  nested('{ a: ', '}', 200),
  nested('[', ']', 2_000),
  nested('(', ')', 2_000),
  nested('< a: ', '>', 500),
  Array.from({ length: 600 }, (_, i) => `int32 y${i} = ${100 + i};`).join(' '),
];
const mutated = fc
  .array(
    fc.record({
      at: fc.nat(WORDS.length - 1),
      how: fc.constantFrom('replace', 'before', 'twice', 'gone'),
      by: fc.oneof(
        fc.constantFrom(...WORDS),
        fc.constantFrom(
          'int64',
          'string',
          'sint32',
          'bool',
          'E',
          'In',
          'p',
          '8',
          '13',
          '15',
          '1000',
        ),
        fc.constantFrom(...HOSTILE),
        fc.string({ unit: 'binary', maxLength: 8 }),
      ),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((changes) => {
    const copy = [...WORDS];
    for (const { at, how, by } of changes)
      copy[at] =
        how === 'replace'
          ? by
          : how === 'before'
            ? `${by} ${copy[at] ?? ''}`
            : how === 'twice'
              ? `${copy[at] ?? ''}${copy[at] ?? ''}`
              : '';
    return copy.join('');
  });

function untouched(t: Test): void {
  t.strictSame(
    [Object.keys(Object.prototype), Object.keys(Array.prototype), Object.keys(Function.prototype)],
    [[], [], []],
    'no prototype was touched',
  );
  t.equal(({} as Record<string, unknown>)['x'], undefined);
}

t.test('fuzzed: a verdict or an InvalidSchemaError, nothing else', async (t) => {
  const base = readModel([{ name: 'a.proto', text: BASE }]);
  const met = { refused: 0, compatible: 0, incompatible: 0 };
  fc.assert(
    fc.property(mutated, (text) => {
      let model: ParsedSchema;
      try {
        model = readModel([{ name: 'a.proto', text }]);
      } catch (error) {
        if (!(error instanceof InvalidSchemaError)) throw error;
        if (error.message.length > 1_100)
          throw new Error(
            `a refusal of ${error.message.length} characters: ${error.message.slice(0, 300)}`,
            { cause: error },
          );
        met.refused++;
        return;
      }
      for (const [now, before] of [
        [model, base],
        [base, model],
        [model, model],
      ] as const) {
        const { findings } = compare(now, now.roots, before, before.roots);
        if (now === before && findings.length > 0)
          throw new Error(`not compatible with itself: ${JSON.stringify(findings[0])}`);
        if (before === base) met[findings.length === 0 ? 'compatible' : 'incompatible']++;
      }
      if (fingerprint(structuredClone(model), model.roots) !== fingerprint(model, model.roots))
        throw new Error('another fingerprint after the way between threads');
    }),
    { numRuns: 2000 },
  );
  t.ok(met.refused > 200 && met.compatible > 50 && met.incompatible > 0, JSON.stringify(met));
  untouched(t);
});

t.test(
  'fuzzed through the thread: time and memory are bounded there, whatever comes',
  async (t) => {
    const size = fc.integer({ min: 1, max: 3_000 });
    const large = fc.oneof(
      size.map((n) =>
        textOf(
          `message M { ${Array.from({ length: n }, (_, i) => `${i % 3 === 0 ? 'repeated ' : ''}int32 f${i} = ${i + 1};`).join(' ')} }`,
        ),
      ),
      size.map((n) =>
        textOf(
          `message M { E e = 1; } enum E { ${Array.from({ length: n }, (_, i) => `V${i} = ${i};`).join(' ')} }`,
        ),
      ),
      size.map((n) =>
        textOf(
          Array.from({ length: n }, (_, i) => `message M${i} { M${(i + 1) % n} next = 1; }`).join(
            ' ',
          ),
        ),
      ),
      size.map((n) => textOf(nested('message A { string a = 1; ', '}', n))),
      size.map((n) => textOf(`message ${'M'.repeat(n)} { string ${'a'.repeat(n)} = 1; }`)),
      size.map((n) =>
        textOf(
          `message M { string a = 1 [${Array.from({ length: n }, (_, i) => `(o${i}) = { x: [${i}, "y"] }`).join(', ')}]; }`,
        ),
      ),
      size.map((n) =>
        textOf(
          `message M { oneof o { ${Array.from({ length: n }, (_, i) => `int32 f${i} = ${i + 1};`).join(' ')} } reserved ${Array.from({ length: n }, (_, i) => 10_000 + 2 * i).join(', ')}; }`,
        ),
      ),
      mutated,
    );
    let models = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(large, async (text) => {
        try {
          const model = await parseSchema([{ name: 'a.proto', text }]);
          compare(model, model.roots, model, model.roots);
          models++;
        } catch (error) {
          if (!(error instanceof InvalidSchemaError)) throw error;
          refused++;
        }
      }),
      { numRuns: 30 },
    );
    t.ok(models > 0 && refused > 0, `${models} models, ${refused} refusals`);
    untouched(t);
  },
);
