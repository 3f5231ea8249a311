import fc from 'fast-check';
import t from 'tap';
import { fingerprint, identity, idsOf } from '../../src/schema/fingerprint.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { BY, openRegistry } from '../registry/open-registry.ts';

interface Message {
  readonly name: string;
  readonly fields: readonly string[];
  readonly nested: readonly Message[];
  readonly options: readonly string[];
}

const FIELDS = [
  'string s = 1;',
  'int32 n = 2;',
  'repeated int64 r = 3;',
  'map<string, int32> m = 4;',
  'bool b = 5 [deprecated = true];',
  'reserved 9;',
  'oneof o { int32 x = 6; string y = 7; }',
];
/** @param depth depth of the messages within it */
const messageOf = (depth: number): fc.Arbitrary<Message> =>
  fc.record({
    name: fc.constantFrom('A', 'B', 'C', 'D'),
    fields: fc.uniqueArray(fc.constantFrom(...FIELDS), { maxLength: 4 }),
    nested:
      depth === 0
        ? fc.constant([])
        : fc.uniqueArray(messageOf(depth - 1), { maxLength: 3, selector: (one) => one.name }),
    options: fc.uniqueArray(fc.constantFrom('option deprecated = true;', 'option (a.x) = "1";'), {
      maxLength: 1,
    }),
  });
const message = messageOf(2);
const file = fc.uniqueArray(message, { minLength: 1, maxLength: 3, selector: (one) => one.name });

/** Prints the messages, with fields in this order, and `gap` between the words. */
function print(messages: readonly Message[], reverse = false, gap = ' '): string {
  const of = (one: Message): string => {
    const fields = reverse ? [...one.fields].reverse() : one.fields;
    const parts = reverse
      ? [...one.nested.map(of), ...fields, ...one.options]
      : [...one.options, ...fields, ...one.nested.map(of)];
    return `message ${one.name} { ${parts.join('\n')} }`;
  };
  return `syntax = "proto3"; package a;\n${messages.map(of).join('\n')}`.replaceAll(' ', gap);
}

const identityOf = (
  text: string,
  more: Readonly<Record<string, string>> = {},
  roots?: readonly string[],
): string => {
  const model = readModel(
    Object.entries({ 'a.proto': text, ...more }).map(([name, its]) => ({ name, text: its })),
  );
  return identity(model, fingerprint(model, roots ?? model.roots), []);
};

/** The content of a schema, whatever its form. */
const canonical = (messages: readonly Message[]): unknown =>
  messages.map((one) => [one.name, [...one.fields].sort(), canonical(one.nested), one.options]);

t.test(
  'property: two schemas have one identity exactly if they differ in comments, spaces and the order of fields',
  async (t) => {
    fc.assert(
      fc.property(
        file,
        file,
        fc.constantFrom(' ', '\n', '  \t', ' /* message X {} */ ', ' // "\n'),
        (a, b, gap) => {
          const base = identityOf(print(a));
          t.equal(identityOf(print(a, true, gap)), base);
          t.equal(
            identityOf(print(b)) === base,
            JSON.stringify(canonical(a)) === JSON.stringify(canonical(b)),
            `${print(a)}\n---\n${print(b)}`,
          );
        },
      ),
      { numRuns: 300 },
    );
  },
);

t.test('property: an index names the same message in all schemas of one identity', async (t) => {
  const paths = (messages: readonly Message[], at = ''): string[] =>
    messages.flatMap((one, i) => [`${at}${i}:${one.name}`, ...paths(one.nested, `${at}${i}.`)]);
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(file, (messages) => {
      const key = identityOf(print(messages));
      const indexes = paths(messages).join(' ');
      t.equal(seen.get(key) ?? indexes, indexes);
      seen.set(key, indexes);
    }),
    { numRuns: 500 },
  );
});

const BASE = `syntax = "proto3"; package a;
message M { string s = 1; N n = 2; message P { int32 a = 1; } message Q { int32 a = 1; } enum E { Z = 0; Y = 1; } }
message N { int32 a = 1; }
message Unused { int32 a = 1; }
enum F { ZERO = 0; ONE = 1; }`;

t.test('table: what makes another schema', async (t) => {
  const rows: Record<string, [string, string]> = {
    'nested messages that nobody refers to, swapped': [
      'message P { int32 a = 1; } message Q { int32 a = 1; }',
      'message Q { int32 a = 1; } message P { int32 a = 1; }',
    ],
    'one of them gone': [' message Q { int32 a = 1; }', ''],
    'one of them renamed': ['message Q', 'message R'],
    'a field in one of them': ['message Q { int32 a', 'message Q { int64 a'],
    'a message at the top that nobody refers to, renamed': ['message Unused', 'message Other'],
    'its field': ['message Unused { int32 a = 1; }', 'message Unused { int32 a = 2; }'],
    'messages at the top, swapped': [
      'message N { int32 a = 1; }\nmessage Unused { int32 a = 1; }',
      'message Unused { int32 a = 1; }\nmessage N { int32 a = 1; }',
    ],
    'one more message': ['enum F', 'message Last {} enum F'],
    'an enum that nobody refers to': ['ONE = 1', 'ONE = 2'],
    'a nested enum that nobody refers to': ['Y = 1', 'YES = 1'],
    'values of an enum, of which the first is the default': [
      'enum E { Z = 0; Y = 1; }',
      'enum E { Y = 1; Z = 0; }',
    ],
    'a service': ['enum F', 'service S { rpc Get(M) returns (N); } enum F'],
    'an option': ['string s = 1;', 'string s = 1 [deprecated = true];'],
    'a custom option': ['string s = 1;', 'string s = 1 [(x) = "pii"];'],
    "a custom option's value": ['string s = 1;', 'string s = 1 [(x) = { a: "{" }];'],
    'an option of the file': ['package a;', 'package a; option java_package = "b";'],
    'the package': ['package a;', 'package b;'],
    'a reservation in what nobody refers to': ['message Unused {', 'message Unused { reserved 7;'],
    'the syntax': ['"proto3"', '"proto2"'],
  };
  for (const [name, [from, to]] of Object.entries(rows)) {
    const text = BASE.replace(from, to).replaceAll(
      /(?<="proto2"[\s\S]*)(string|int32|N) (?=\w+ = )/g,
      'optional $1 ',
    );
    t.not(text, BASE);
    t.not(identityOf(text), identityOf(BASE), name);
    // An event's schema is its message, with the message's file.
    t.not(
      identityOf(text, {}, [name === 'the package' ? 'b.M' : 'a.M']),
      identityOf(BASE, {}, ['a.M']),
      `${name}, of an event`,
    );
  }
  const importing = 'syntax = "proto3"; package b; import "x.proto"; message T { a.M m = 1; }';
  t.not(
    identityOf(importing, { 'x.proto': BASE }),
    identityOf(importing, { 'x.proto': BASE.replace('N n = 2', 'N n = 3') }),
    'what it imports',
  );
  t.equal(
    identityOf(importing, { 'x.proto': BASE }),
    identityOf(importing, { 'x.proto': `// note\n${BASE.replaceAll(' ', '  ')}` }),
    'comments in what it imports',
  );
});

t.test('ids are positive 32-bit integers, spread, and at least 2^24', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const ids = idsOf(Buffer.from(bytes).toString('hex'));
      t.equal(ids.length, 8);
      t.ok(ids.every((id) => Number.isInteger(id) && id >= 2 ** 24 && id < 2 ** 31));
    }),
  );
});

t.test('in the registry each of them has an id and a text of its own', async (t) => {
  const { registry } = await openRegistry(t);
  await registry.setLevel(null, 'NONE');
  const texts = [
    BASE,
    BASE.replace('message P', 'message R'),
    BASE.replace(/(message P \{.*?\}) (message Q \{.*?\})/, '$2 $1'),
    BASE.replace('Unused', 'Used'),
  ];
  const ids = [];
  for (const text of texts)
    ids.push(
      (await registry.register({ subject: 'x-value', files: [{ name: 'x.proto', text }] }, BY)).id,
    );
  t.equal(new Set(ids).size, texts.length);
  for (const [i, id] of ids.entries())
    t.equal((await registry.schema(id)).files[0]?.text, texts[i]);
  const spaced = await registry.register(
    {
      subject: 'x-value',
      files: [{ name: 'x.proto', text: `/* a */${BASE.replaceAll('{', '{\n')}` }],
    },
    BY,
  );
  t.same([spaced.id, spaced.isNew], [ids[0], false]);
});
