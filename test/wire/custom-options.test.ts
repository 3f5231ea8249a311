import fc from 'fast-check';
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { prepareSchema } from '../../src/registry/schema-tools.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import type { ProtoSource } from '../../src/wire/proto-folder.ts';
import { generateTypes } from '../../src/wire/generate-types.ts';
import { stripOptions } from '../../src/wire/proto-text.ts';
import { ANNOTATED, PLAIN, VENDORED } from '../../scripts/lab/vendored-protos.ts';

const sources = (root: string, more: Readonly<Record<string, string>> = {}): ProtoSource[] =>
  Object.entries({ 'orders.proto': root, ...more }).map(([name, text]) => ({ name, text }));

const HEAD = 'import "millrace/v1/options.proto";';
const DECLARED = 'option (millrace.v1.event) = { type: "m", subject: "s" };';

function problemsOf(files: readonly ProtoSource[]): readonly string[] {
  try {
    createCatalog(files);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

t.test(
  'vendored option files change nothing: the catalog, the types and the model are those without options',
  async (t) => {
    const annotated = createCatalog(sources(ANNOTATED, VENDORED));
    const plain = createCatalog(sources(PLAIN));
    const data = {
      orderId: 'o',
      quantity: 3,
      stock: { a: 1 },
      status: 1,
      cash: 7,
      rates: [0.5, 1],
    };
    const type = annotated.get('order.created');
    t.same(
      type.decode(type.encode(data)),
      plain.get('order.created').decode(plain.get('order.created').encode(data)),
    );
    t.same(Buffer.from(type.encode(data)), Buffer.from(plain.get('order.created').encode(data)));
    t.same(
      annotated.filesOf('order.created').map((file) => file.name),
      ['orders.proto', ...Object.keys(VENDORED).sort()],
    );
    const interfaceOf = (text: string): string =>
      /export interface OrderCreated \{[^}]*\}/.exec(text)?.[0] ?? '';
    t.equal(interfaceOf(generateTypes(annotated)), interfaceOf(generateTypes(plain)));
    t.notMatch(
      generateTypes(annotated),
      /FieldOptions|FileDescriptorProto/,
      'what describes .proto files is no payload',
    );

    const model = readModel(annotated.filesOf('order.created'));
    t.same(model.roots, ['shop.v1.OrderCreated']);
    t.same(model.events, { 'order.created': 'shop.v1.OrderCreated' });
    t.same(
      model.messages['shop.v1.OrderCreated']?.fields,
      readModel(sources(PLAIN)).messages['shop.v1.OrderCreated']?.fields,
    );
  },
);

t.test(
  'each vendored file is a schema of its own, as references of the registry API are',
  async (t) => {
    for (const [name, text] of Object.entries(VENDORED)) {
      const others = Object.entries(VENDORED)
        .filter(([other]) => other !== name)
        .map(([other, its]) => ({ name: other, text: its }));
      const outcome = await prepareSchema(`${name}-value`, [{ name, text }, ...others]).then(
        () => 'taken',
        (error: Error) => error.message,
      );
      const extendsItsOwn = name === 'acme/v1/options.proto';
      t.match(
        outcome,
        extendsItsOwn
          ? /line 1[45] extends acme\.v1\.Secrecy with field (extra|numbers): .* not supported/
          : 'taken',
        name,
      );
    }
  },
);

t.test('spellings of options and extensions, all left out of account', async (t) => {
  const declare =
    'import "google/protobuf/descriptor.proto"; extend google.protobuf.FieldOptions { optional X x = 50001; } message X { optional int32 a = 1; }';
  const rows: Record<string, string> = {
    'declared behind its use': `syntax = "proto2"; package a; ${HEAD} message M { ${DECLARED} optional string s = 1 [(x).a = 1]; } ${declare}`,
    'an extend within a message': `syntax = "proto2"; package a; ${HEAD} import "google/protobuf/descriptor.proto"; message M { ${DECLARED} optional string s = 1; extend google.protobuf.FieldOptions { optional string x = 50001; } }`,
    'a relative name in package google': `syntax = "proto3"; package google.shop; ${HEAD} import "google/protobuf/descriptor.proto"; extend protobuf.FieldOptions { string x = 50001; } message M { ${DECLARED} string s = 1 [(x) = "a"]; }`,
    'names in pieces': `syntax = "proto3"; package a; ${HEAD} import "google/protobuf/descriptor.proto"; extend google . protobuf . FieldOptions { string x = 50001; } message M { ${DECLARED} string s = 1 [( .a . x ) = "a"]; }`,
    'no option file imported': `syntax = "proto3"; package a; ${HEAD} extend google.protobuf.FieldOptions { string x = 50001; } message M { ${DECLARED} string s = 1 [(x) = "a"]; }`,
    'an edition with features': `edition = "2023"; package a; ${HEAD} import "google/protobuf/cpp_features.proto"; import "google/protobuf/descriptor.proto"; option features.field_presence = IMPLICIT; option features.(pb.cpp).string_type = VIEW; extend google.protobuf.FieldOptions { string x = 50001 [retention = RETENTION_SOURCE, targets = TARGET_TYPE_FIELD, edition_defaults = { edition: EDITION_2023, value: "x" }]; } message M { ${DECLARED} string s = 1 [(x) = "a", features.field_presence = EXPLICIT]; }`,
    'the event option without spaces, among others': `syntax="proto3";package a;${HEAD}import "google/protobuf/descriptor.proto";extend google.protobuf.MessageOptions{string x=50001;}message M{option(x)="{";option(.millrace.v1.event)={type:"m",subject:"s"};option(x)="}";string s=1;}`,
    'an Any in an option': `syntax = "proto3"; package a; ${HEAD} message M { ${DECLARED} option (x) = { any { [type.googleapis.com/a.B] { c: "]}" } } }; string s = 1; }`,
    'a descriptor as a field of an option': `syntax = "proto3"; package a; ${HEAD} import "google/protobuf/descriptor.proto"; import "google/protobuf/type.proto"; message O { google.protobuf.FieldDescriptorProto.Type t = 1; google.protobuf.Field f = 2; } message M { ${DECLARED} string s = 1 [(o).t = TYPE_BOOL]; }`,
    'an extension of a message that no event carries': `syntax = "proto2"; package a; ${HEAD} message Rules { extensions 100 to max; } extend Rules { optional int32 r = 100; } message M { ${DECLARED} optional string s = 1 [(rules).(r) = 1]; }`,
  };
  for (const [name, text] of Object.entries(rows)) {
    t.same(problemsOf(sources(text)), [], `${name}: catalog`);
    const prepared = await prepareSchema('m', sources(text)).then(
      (one) => one.message,
      (error: Error) => error.message,
    );
    t.match(prepared, /^(a|google\.shop)\.M$/, `${name}: registry`);
  }
});

t.test(
  'extensions of what events carry are refused with file, line and cure; so is what extends nothing',
  async (t) => {
    const rows: [string, string, RegExp][] = [
      [
        'the event itself',
        'message M { extensions 100 to max; %d optional string s = 1; } extend M { optional int32 more = 100; }',
        /orders\.proto, line 4 extends a\.M with field more: .*not supported.*Declare the field in a\.M/,
      ],
      [
        'a message below it',
        'message N { extensions 100 to max; } message M { %d optional string s = 1; repeated N n = 2; } extend .a.N { optional int32 x = 100; optional int32 y = 101; }',
        /extends a\.N with fields x, y/,
      ],
      [
        'from within another message',
        'message M { extensions 100 to max; %d optional string s = 1; } message Z { extend M { optional Z z = 100; } }',
        /extends a\.M with field z/,
      ],
      [
        'a group',
        'message M { extensions 100 to max; %d optional string s = 1; } extend M { optional group G = 100 { optional int32 n = 1; } }',
        /extends a\.M with field G/,
      ],
      [
        'a name that is none',
        'message M { %d optional string s = 1; } extend Nothing { optional int32 x = 100; }',
        /line 4: an extension's target, Nothing, is no message/,
      ],
      [
        'a misspelt package',
        'message M { %d optional string s = 1; } extend google.protobuff.FieldOptions { optional int32 x = 100; }',
        /target, google\.protobuff\.FieldOptions/,
      ],
    ];
    for (const [name, text, expected] of rows) {
      const files = sources(
        `syntax = "proto2";\npackage a;\n${HEAD}\n${text.replace('%d', DECLARED)}`,
      );
      t.match(problemsOf(files).join('\n'), expected, `${name}: catalog`);
      await t.rejects(
        prepareSchema('m', files),
        { code: 'INVALID_SCHEMA', message: expected },
        `${name}: registry`,
      );
    }
  },
);

t.test('lines stay where they are, and unfinished text is left to the parser', async (t) => {
  t.equal(stripOptions(ANNOTATED).text.split('\n').length, ANNOTATED.split('\n').length);
  const line = ANNOTATED.slice(0, ANNOTATED.indexOf('rpc Get(')).split('\n').length;
  t.match(
    problemsOf(sources(ANNOTATED.replace('rpc Get(', 'rpc Get['), VENDORED)).join('\n'),
    new RegExp(`orders\\.proto: illegal token '\\[', '\\(' expected \\(line ${line}\\)`),
  );
  for (const text of [
    'option (x',
    'option (x) = {',
    'message M { string s = 1 [(x) = {',
    'extend',
    'extend google.protobuf.FieldOptions {',
    'message M { option (x) = }',
    '[',
    'option',
    'a ] }',
  ]) {
    t.equal(stripOptions(text).text, text, text);
    t.not(problemsOf(sources(`syntax = "proto3"; ${text}`)).length, 0, `${text}: a problem`);
  }
});

t.test(
  'property: any option values anywhere leave the message as it is without them',
  async (t) => {
    const word = fc.constantFrom(
      '"a"',
      "'}'",
      '"]"',
      '-1',
      'inf',
      '1e3',
      'NAME',
      '"a" "b"',
      '"/* no comment"',
      '"//"',
    );
    const { value } = fc.letrec<{ value: string }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        word,
        fc
          .array(
            tie('value').map((one) => `f: ${one}`),
            { maxLength: 3 },
          )
          .map((all) => `{ ${all.join(', ')} }`),
        fc
          .array(
            tie('value').filter((one) => one.startsWith('{')),
            { maxLength: 2 },
          )
          .map((all) => `{ g: [${all.join(', ')}] h < i: 1; > }`),
      ),
    }));
    const name = fc.constantFrom('(x)', '( a.b )', '(.c)', '(x).y', '(x).(y.z).w');
    const option = fc.tuple(name, value).map(([left, right]) => `${left} = ${right}`);
    const options = fc.array(fc.oneof(option, fc.constant('deprecated = true')), { maxLength: 4 });
    const bracket = (all: readonly string[]): string =>
      all.length > 0 ? ` [${all.join(', ')}]` : '';
    const bare = readModel(
      sources(
        `syntax = "proto3"; package a; message M { string s = 1; map<string, E> m = 2; oneof o { int32 n = 3; } } enum E { Z = 0; Y = 1; }`,
      ),
    );
    fc.assert(
      fc.property(
        fc.array(option, { maxLength: 2 }),
        fc.tuple(options, options, options, options),
        (statements, [a, b, c, d]) => {
          const lines = statements.map((one) => `option ${one};\n`).join('');
          const text = `syntax = "proto3"; package a; ${lines} message M { ${lines} string s = 1${bracket(a)}; map<string, E> m = 2${bracket(b)}; oneof o { ${lines} int32 n = 3${bracket(c)}; } } enum E { ${lines} Z = 0; Y = 1${bracket(d)}; }`;
          const { messages, enums } = readModel(sources(text));
          t.strictSame(messages['a.M'], bare.messages['a.M']);
          t.strictSame(enums['a.E'], bare.enums['a.E']);
        },
      ),
      { numRuns: 200 },
    );
  },
);
