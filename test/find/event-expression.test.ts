import t from 'tap';
import { CEL_FORMS, EventExpression, type JudgedEvent } from '../../src/find/event-expression.ts';
import { FindExpressionError } from '../../src/find/find-errors.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { exactType } from '../../src/wire/exact-type.ts';

const catalog = createCatalog([
  {
    name: 'all.proto',
    text: `syntax = "proto3"; package a;
    import "millrace/v1/options.proto"; import "google/protobuf/timestamp.proto";
    import "google/protobuf/duration.proto"; import "google/protobuf/wrappers.proto";
    import "google/protobuf/struct.proto";
    enum Status { NEW = 0; LATE = 1; }
    message Line { string sku = 1; int32 quantity = 2; Line inner = 3; }
    message All {
      option (millrace.v1.event) = { type: "all", subject: "the_id" };
      string the_id = 1; int64 big = 2; uint64 huge = 3; int32 small = 4; double ratio = 5;
      bool flag = 6; bytes raw = 7; Status status = 8; repeated Line lines = 9;
      map<string, int64> stock = 10; map<int32, string> names = 11; Line line = 12;
      optional string note = 13; google.protobuf.Timestamp at = 14;
      google.protobuf.Duration took = 15; google.protobuf.Int64Value boxed = 16;
      google.protobuf.Struct free = 17; oneof one { string a = 18; int32 b = 19; }
      string type = 20;
    }`,
  },
]);
const type = exactType(catalog, 'a.All', CEL_FORMS);

/** Data in the shape of the exact reader. */
const data = (more: Record<string, unknown> = {}): ReadonlyMap<string, unknown> =>
  type.typed({
    theId: 'A-1',
    big: 9_007_199_254_740_993n,
    huge: 18_446_744_073_709_551_615n,
    small: -3,
    ratio: 0.5,
    flag: true,
    raw: Buffer.from([1, 255]),
    status: 1,
    lines: [
      { sku: 'x', quantity: 2, inner: null },
      { sku: 'y', quantity: 5, inner: { sku: 'z', quantity: 1, inner: null } },
    ],
    stock: { x: 7 },
    names: { 3: 'three' },
    line: null,
    note: null,
    at: { seconds: 1_795_450_694, nanos: 309_000_001 },
    took: { seconds: 90, nanos: 0 },
    boxed: { value: 12 },
    free: { fields: { plan: { stringValue: 'gold' }, n: { numberValue: 2 } } },
    a: null,
    b: 4,
    type: 'inner',
    ...more,
  });

const event = (more: Partial<JudgedEvent> = {}): JudgedEvent => ({
  header: {
    id: 'e1',
    subject: 'A-1',
    source: 'shop',
    timeMs: Date.parse('2026-11-29T01:02:03.004Z'),
    position: 17,
    extensions: { correlationid: 'o-17' },
  },
  type: 'all',
  partition: 3,
  entryId: '1795450694309-0',
  data: data(),
  ...more,
});

const judge = (text: string, one = event()): boolean | string =>
  new EventExpression(text).judge(one);

t.test('expressions that are true', async (t) => {
  for (const text of [
    'id == "e1" && type == "all" && subject.startsWith("A-")',
    'type in ["all", "other"]',
    'source == "shop" || false',
    'partition == 3 && position == "3/1795450694309-0/17"',
    'time == timestamp("2026-11-29T01:02:03.004Z")',
    'time > timestamp("2026-11-29T00:00:00Z") && time - timestamp("2026-11-29T01:00:00Z") < duration("5m")',
    'appended.getFullYear() == 2026',
    'extensions.correlationid == "o-17" && has(extensions.correlationid)',
    '"correlationid" in extensions && !has(extensions.other)',
    // 64-bit integers, exact
    'data.big == 9007199254740993',
    'data.big != 9007199254740992',
    'data.big + 1 == 9007199254740994',
    'data.huge == 18446744073709551615u',
    'data.huge > 5',
    'data.small == -3 && data.small * 2 == -6 && data.small < 0.5',
    'data.ratio == 0.5 && data.ratio < 1',
    'data.flag && !(!data.flag)',
    String.raw`data.raw == b"\x01\xff" && size(data.raw) == 2`,
    'data.status == "LATE"',
    'data.lines.exists(l, l.sku == "y" && l.quantity > 4)',
    'data.lines.all(l, l.quantity > 0) && size(data.lines) == 2',
    'data.lines.filter(l, has(l.inner)).size() == 1',
    'data.lines[1].inner.sku == "z"',
    'data.stock["x"] == 7 && "x" in data.stock && data.names[3] == "three"',
    '!has(data.note) && !has(data.line) && !has(data.a) && has(data.b)',
    'data.at == timestamp("2026-11-23T16:18:14.309Z")',
    'data.took == duration("90s")',
    'data.boxed == 12',
    'data.free.plan == "gold" && data.free.n == 2.0',
    // the attribute, the function and the field of one name
    'type(data.big) == int && data.type == "inner" && type == "all"',
    `"type" != type // type == 'x'`,
    String.raw`r"\d\" type" != type && '''type''' != type`,
    'has(data.note) || data.status == "LATE"',
    'data.missing == 1 || true',
  ])
    t.equal(judge(text), true, text);
});

t.test('expressions that are false', async (t) => {
  for (const text of [
    'type == "other"',
    'data.status == "NEW"',
    'data.status == 1',
    'data.big == 9007199254740992.0 && data.big == 9007199254740994',
    'data.flag == "true"',
    'false && data.missing == 1',
  ])
    t.equal(judge(text), false, text);
});

t.test('events that cannot be judged, with the reason', async (t) => {
  t.match(judge('data.missing == 1'), /No such key: missing/);
  t.match(judge('data.line.sku == "x"'), /No such key: line/);
  t.match(judge('extensions.other == "x"'), /No such key: other/);
  t.match(judge('data.small / 0 == 1'), /division by zero/);
  t.match(judge('data.lines[7].sku == "x"'), /index out of bounds/);
  t.match(judge('data.theId'), /neither true nor false/);
  t.match(
    judge(
      'time > timestamp("2026-11-29T00:00:00Z")',
      event({ header: { ...event().header, timeMs: 0 } }),
    ),
    /the event has no time/,
  );
});

t.test('the payload is decoded only where the expression uses it', async (t) => {
  for (const [text, uses] of [
    ['type == "data"', false],
    ['extensions.data == "x" // data', false],
    ['data.small > 1', true],
    ['has(data.note)', true],
    ['size(data) > 3', true],
  ] as const)
    t.equal(new EventExpression(text).usesData, uses, text);
});

t.test('expressions whose time has to be limited', async (t) => {
  for (const [text, quick] of [
    ['type == "a+b" && data.small > 1', true],
    ['data.matches == 1 // .matches(', true],
    ['subject.contains("x")', true],
    ['subject.matches("x")', false],
    ['subject.matches // (\n("x")', false],
    ['subject. // .\n matches("x")', false],
    ['data.lines.exists(l, l.quantity > 1)', false],
    ['size(data.lines + data.lines) > 1', false],
  ] as const)
    t.equal(new EventExpression(text).isQuick, quick, text);
});

t.test('wrong expressions are refused with place, cure and example', async (t) => {
  const refusal = (text: string): FindExpressionError => {
    try {
      new EventExpression(text);
    } catch (error) {
      if (error instanceof FindExpressionError) return error;
      throw error;
    }
    throw new Error(`${text} was taken`);
  };
  t.match(refusal('subject == '), { code: 'FIND_EXPRESSION', place: { line: 1 } });
  t.match(refusal('subject == "a" &&\n  sbject == "b"'), {
    place: { line: 2, column: 3 },
    message:
      /Unknown variable: sbject at line 2, column 3.*did you mean "subject".*data\.sbject.*Example: /s,
  });
  t.match(refusal('type + 1 == 2').message, /no such overload: string \+ int/);
  t.match(refusal('subject').message, /it gives string, not true or false/);
  t.match(refusal('subject = "x"'), { place: { line: 1, column: 9 } });
  t.match(refusal('  ').message, /it is empty/);
  t.match(refusal(`subject == "${'x'.repeat(5000)}"`).message, /the limit is 4096/);
  t.match(refusal('"open').message, /Unterminated string/);
  t.match(refusal('cel.bind(x, [1], x == [1])'), {
    place: { line: 1, column: 4 },
    message: /cel\.bind\(\) is not allowed/,
  });
  t.match(refusal('cel // .\n.bind // (\n(x, [1], x == [1])'), {
    place: { line: 2, column: 1 },
    message: /cel\.bind\(\) is not allowed/,
  });
  t.match(refusal('nosuch(id)').message, /no matching overload/);
});
