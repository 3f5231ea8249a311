import fc from 'fast-check';
import t from 'tap';
import { showError } from '../../src/payload/show-error.ts';
import { showJson } from '../../src/payload/show-json.ts';
import { maskData } from '../../src/payload/mask-data.ts';
import { plainShown } from '../../src/payload/plain-shown.ts';
import { showData, wholeValueAt, type DataShape } from '../../src/payload/show-data.ts';
import {
  PAGE_LIMITS,
  WHOLE_LIMITS,
  type Shown,
  type ValuePath,
} from '../../src/payload/shown-payload.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { createCatalog, messageType, type Catalog } from '../../src/wire/catalog.ts';
import { shapeOf, type MessageShape } from '../../src/wire/message-shape.ts';

const file = (mask: string): string => `syntax = "proto3";
package m;
import "millrace/v1/options.proto";
import "google/protobuf/any.proto";
message Inner {
  string secret = 1${mask};
  string open = 2;
  Inner more = 3;
  repeated Inner list = 4;
  map<string, Inner> by = 5;
  oneof choice { string left = 6${mask}; string right = 7; }
}
message M {
  option (millrace.v1.event) = { type: "m", subject: "s" };
  string s = 1;
  Inner inner = 2;
  Inner hidden = 3${mask};
  map<string, string> hidden_map = 4${mask};
  repeated string hidden_list = 5${mask};
  bytes hidden_bytes = 6${mask};
  google.protobuf.Any any = 7;
  repeated Inner inners = 8;
}
`;
const catalogOf = (mask: string): Catalog => createCatalog([{ name: 'm.proto', text: file(mask) }]);
const masked = catalogOf(' [(millrace.v1.masked) = true]');
const plain = catalogOf('');
const shapeIn = (catalog: Catalog): MessageShape => shapeOf(catalog.root, 'm.M') as MessageShape;
const schema: DataShape = { shape: shapeIn(masked), also: [] };

const SECRET = 'SECRET';
const secret = fc.string().map((text) => `${SECRET}${text}`);
const open = fc.string().filter((text) => !text.includes(SECRET));

interface Inner {
  readonly secret?: string;
  readonly open?: string;
  readonly more?: Inner;
  readonly list?: readonly Inner[];
  readonly by?: Readonly<Record<string, Inner>>;
  readonly left?: string;
  readonly right?: string;
}

const { inner } = fc.letrec<{ inner: Inner }>((tie) => ({
  inner: fc
    .record(
      {
        secret,
        open,
        more: fc.oneof({ maxDepth: 3 }, fc.constant({}), tie('inner')),
        list: fc.oneof({ maxDepth: 3 }, fc.constant([]), fc.array(tie('inner'), { maxLength: 3 })),
        by: fc.oneof(
          { maxDepth: 3 },
          fc.constant({}),
          fc.dictionary(open, tie('inner'), { maxKeys: 3 }),
        ),
        choice: fc.oneof(
          secret.map((left) => ({ left })),
          open.map((right) => ({ right })),
        ),
      },
      { requiredKeys: [] },
    )
    .map(({ choice, ...rest }): Inner => ({ ...rest, ...choice })),
}));

const data = fc
  .record(
    {
      inner,
      hidden: inner,
      hiddenMap: fc.dictionary(secret, secret, { maxKeys: 3 }),
      hiddenList: fc.array(secret, { maxLength: 3 }),
      hiddenBytes: secret.map((text) => Buffer.from(text)),
      inners: fc.array(inner, { maxLength: 3 }),
      any: inner,
    },
    { requiredKeys: [] },
  )
  .map(({ any, ...rest }) => ({ s: 'subject', ...rest, ...(any ? { any: packed(any) } : {}) }));

function packed(value: Inner, name = 'm.Inner'): object {
  return {
    typeUrl: `type.googleapis.com/${name}`,
    value: Buffer.from(messageType(masked, 'm', 'm.Inner').encode(value)),
  };
}

const encode = (value: object): Buffer => Buffer.from(masked.get('m').encode(value));
/** SECRET as text, and as base64 of bytes that begin with it. */
const LEAK = /SECRET|U0VDUkVU/;

function noLeak(value: unknown, where: string): void {
  const text = JSON.stringify(value);
  if (LEAK.test(text)) throw new Error(`${where}: ${text}`);
}

/** Returns the ways to all values of a tree. */
function pathsOf(shown: Shown, path: ValuePath = []): ValuePath[] {
  switch (shown.kind) {
    case 'message':
      return [path, ...shown.fields.flatMap(({ name, value }) => pathsOf(value, [...path, name]))];
    case 'list':
      return [path, ...shown.items.flatMap((item, i) => pathsOf(item, [...path, i]))];
    case 'map':
      return [path, ...shown.entries.flatMap(({ value }, i) => pathsOf(value, [...path, i]))];
    default:
      return [path];
  }
}

t.test('masked values are in no output, whatever the nesting', async (t) => {
  let leaks = 0;
  fc.assert(
    fc.property(data, (value) => {
      const bytes = encode(value);
      const full = showData(schema, bytes, 'full', WHOLE_LIMITS);
      if (LEAK.test(JSON.stringify(full))) leaks++;
      for (const limits of [PAGE_LIMITS, WHOLE_LIMITS, { ...PAGE_LIMITS, nodes: 7, bytes: 1 }]) {
        const shown = showData(schema, bytes, 'masked', limits);
        noLeak(shown, 'shown');
        noLeak(plainShown(shown), 'plain');
      }
      noLeak(showData(schema, bytes, 'none'), 'none');
      for (const path of pathsOf(full))
        noLeak(wholeValueAt(schema, bytes, path, 'masked'), `whole ${path.join('.')}`);
      const later: DataShape = { shape: shapeIn(plain), also: [shapeIn(masked)] };
      noLeak(showData(later, bytes, 'masked'), 'masked by a later version');
      const { data: hidden } = maskData(shapeIn(masked), masked.get('m').decode(bytes));
      noLeak(hidden, 'data of a program');
      const { data: old } = maskData(later.shape, plain.get('m').decode(bytes), later.also);
      noLeak(old, 'data masked by a later version');
    }),
    { numRuns: 100 },
  );
  t.ok(leaks > 30, `${leaks} payloads had a secret to leak`);
});

t.test('nothing tells whether a masked field is set', async (t) => {
  const strip = ({ secret: _secret, left: _left, more, list, by, ...rest }: Inner): Inner => ({
    ...rest,
    ...(more ? { more: strip(more) } : {}),
    ...(list ? { list: list.map(strip) } : {}),
    ...(by
      ? { by: Object.fromEntries(Object.entries(by).map(([key, one]) => [key, strip(one)])) }
      : {}),
  });
  fc.assert(
    fc.property(inner, inner, fc.array(secret), (one, hidden, hiddenList) => {
      const limits = { ...PAGE_LIMITS, depth: 2 };
      const shown = showData(
        schema,
        encode({ s: 's', inner: one, hidden, hiddenList }),
        'masked',
        limits,
      );
      const bare = showData(schema, encode({ s: 's', inner: strip(one) }), 'masked', limits);
      t.strictSame(shown, bare);
    }),
    { numRuns: 100 },
  );
});

t.test('masked is a kind of node: no content looks like it', async (t) => {
  const bytes = encode({ s: 's', inner: { secret: 'x', open: '{"kind":"masked"}' } });
  const shown = showData(schema, bytes, 'masked');
  t.match(shown, {
    fields: [
      {},
      { value: { fields: [{ name: 'secret', value: { kind: 'masked', why: 'field' } }] } },
    ],
  });
  t.match(plainShown(shown).masked, ['inner.secret', 'inner.left', 'hidden', 'hiddenMap']);
});

t.test('an Any of an unknown message is masked as a whole', async (t) => {
  const bytes = encode({ s: 's', any: packed({ secret: 'SECRET' }, 'm.Stranger') });
  noLeak(showData(schema, bytes, 'masked'), 'shown');
  noLeak(wholeValueAt(schema, bytes, ['any', 'value'], 'masked'), 'whole');
  t.match(JSON.stringify(showData(schema, bytes, 'full')), /"kind":"bytes"/);
});

t.test('a mask that would not take effect is refused', async (t) => {
  const head = 'syntax = "proto3"; package a; import "millrace/v1/options.proto";';
  const declared = 'option (millrace.v1.event) = { type: "m", subject: "s" };';
  const rows: Record<string, RegExp> = {
    [`message M { ${declared} string s = 1; string x = 2 [(millrace.v1.mask) = true]; }`]:
      /a\.proto, line 1: Millrace has no option \(millrace\.v1\.mask\)/,
    [`message M { ${declared} string s = 1; string x = 2 [(millrace . v1.masked) = true]; }`]:
      /no option \(millrace\)/,
    [`message M { ${declared} option (millrace.v1.masked) = true; string s = 1; }`]:
      /message a\.M has the option \(millrace\.v1\.masked\), which is for fields/,
    [`message M { ${declared} string s = 1; oneof o { option (millrace.v1.masked) = true; string x = 2; } }`]:
      /oneof a\.M\.o has the option/,
    [`message M { ${declared} string s = 1; string x = 2 [(millrace.v1.masked) = "yes"]; }`]:
      /must be true or false, it is "yes"/,
    [`message M { ${declared} string s = 1 [(millrace.v1.masked) = true]; }`]:
      /its subject "s" is masked/,
  };
  for (const [text, problem] of Object.entries(rows)) {
    try {
      createCatalog([{ name: 'a.proto', text: `${head} ${text}` }]);
      t.fail(`taken: ${text}`);
    } catch (error) {
      t.type(error, ConfigError);
      t.match((error as ConfigError).problems.join('\n'), problem, text);
    }
  }
  const fine = `${head} message M { ${declared} string s = 1; string x = 2 [(.millrace.v1.masked) = true, deprecated = true]; string y = 3 [(millrace.v1.masked) = false]; map<string, string> z = 4 [(millrace.v1.masked) = true]; }`;
  const { root } = createCatalog([{ name: 'a.proto', text: fine }]);
  const fields = [...(shapeOf(root, 'a.M') as MessageShape).fields.values()];
  t.same(
    fields.filter((field) => field.masked).map((field) => field.name),
    ['x', 'z'],
  );
});

t.test('errors: names and places in the code, no message', async (t) => {
  const error = {
    name: 'CardError',
    message: 'no card 4111',
    cause: 'Error: 4111',
    stack: [
      'CardError: no card 4111',
      '    at 4111 Main Street',
      '    at charge (file:///app/workers/pay.js:7:11)',
      '    at async Object.handle (/app/workers/pay.js:12:3)',
      '    at node:internal/process:95:5',
    ].join('\n'),
  };
  t.strictSame(showError(error, 'masked'), {
    name: 'CardError',
    message: null,
    cause: null,
    stack: error.stack.split('\n').slice(2),
    masked: true,
  });
  t.strictSame(showError(error, 'none').stack, []);
  t.equal(showError({ ...error, name: 'card 4111' }, 'masked').name, null);
  t.match(showError(error, 'full'), { message: 'no card 4111', masked: false });
});

t.test('rows and states have no schema: only readers who see everything see them', async (t) => {
  const row = { email: 'SECRET', n: 2 ** 60, list: [1, null, true] };
  t.strictSame(showJson(row, 'masked'), { kind: 'masked', why: 'schema' });
  t.strictSame(showJson(row, 'none'), { kind: 'masked', why: 'access' });
  t.match(showJson(row, 'full'), {
    kind: 'message',
    fields: [{ name: 'email', value: { kind: 'text', text: 'SECRET' } }],
  });
});
