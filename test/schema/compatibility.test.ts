/**
 * The verdicts: every row of the table, every change of a scalar type, and the real buf as an
 * oracle.
 */
import fc from 'fast-check';
import t from 'tap';
import { canRead, compare, Judgement, MOST_FINDINGS } from '../../src/schema/compatibility.ts';
import type { Comparison, Finding } from '../../src/schema/finding.ts';
import { fingerprint } from '../../src/schema/fingerprint.ts';
import { LEVELS, type Level, type ParsedSchema } from '../../src/schema/model.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { bufBans } from './buf.ts';
import { ROWS, textOf, type Row } from './rows.ts';
import { SCALARS, textsOf, versionPair } from './versions.ts';

const model = (text: string): ParsedSchema => readModel([{ name: 'a.proto', text }]);
const oldOf = (row: Row): ParsedSchema => model(textOf(row.old, row.syntax?.[0]));
const freshOf = (row: Row): ParsedSchema => model(textOf(row.fresh, row.syntax?.[1]));
const ROOT = ['a.M'];
const judge = (
  level: Level,
  now: ParsedSchema,
  ...older: ParsedSchema[]
): { compatible: boolean } & Comparison => {
  const judgement = new Judgement(level, now, ROOT);
  for (const one of older) judgement.compareWith(one, ROOT);
  return judgement.verdict();
};

t.test('every row of the table', async (t) => {
  for (const row of ROWS) {
    const { findings, warnings } = compare(freshOf(row), ROOT, oldOf(row), ROOT);
    const told = findings.map((finding) => `${finding.rule} ${finding.breaks}`).join(', ');
    t.equal(
      !findings.some((finding) => finding.breaks !== 'forward'),
      row.backward,
      `${row.change}: backward (${told})`,
    );
    t.equal(
      !findings.some((finding) => finding.breaks !== 'backward'),
      row.forward,
      `${row.change}: forward (${told})`,
    );
    for (const rule of row.rules)
      t.ok(
        findings.some((finding) => finding.rule === rule),
        `${row.change}: ${rule}`,
      );
    t.strictSame(
      warnings.map((warning) => warning.rule),
      row.warnings ?? [],
      `${row.change}: warnings`,
    );
    for (const finding of [...findings, ...warnings])
      t.ok(
        finding.path.startsWith('a.') && finding.what.length > 10 && finding.cure.length > 10,
        `${finding.rule} says where, what and how to mend it`,
      );
  }
});

t.test('package changed, message renamed, message gone', async (t) => {
  const before = model(textOf('message M { string id = 1; } message N { int32 a = 1; }'));
  t.match(
    compare(model(textOf('message M { string id = 1; }', 'proto3', 'b')), ['b.M'], before, ROOT)
      .findings,
    [{ rule: 'MESSAGE_RENAMED', breaks: 'both', writer: 'a.M', reader: 'b.M' }],
  );
  t.match(
    compare(model(textOf('message M { string id = 1; }')), ROOT, before, ['a.M', 'a.N']).findings,
    [{ rule: 'MESSAGE_REMOVED', path: 'a.N' }],
  );
});

t.test('the levels: which direction counts, all findings at once, each once', async (t) => {
  const before = model(
    textOf('message M { string id = 1; int32 wide = 2; bytes narrow = 3; string gone = 4; }'),
  );
  const now = model(textOf('message M { string id = 1; int64 wide = 2; string narrow = 3; }'));
  const rules = (findings: readonly Finding[]): string =>
    findings
      .map((finding) => finding.rule)
      .sort()
      .join(' ');
  const expected: Record<string, string> = {
    NONE: '',
    BACKWARD: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_NARROWED',
    FORWARD: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_WIDENED',
    FULL: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_NARROWED FIELD_TYPE_WIDENED',
  };
  for (const level of LEVELS) {
    const verdict = judge(level, now, before, before);
    t.equal(rules(verdict.findings), expected[level.replace('_TRANSITIVE', '')], level);
    t.equal(verdict.compatible, level === 'NONE');
  }
  t.equal(
    rules(canRead(now, ROOT, before, ROOT)),
    'FIELD_TYPE_NARROWED',
    "a reservation that is missing is in nobody's way today",
  );
  t.match(
    judge(
      'FULL',
      model(textOf('message M { string id = 1; int32 broad = 2; }')),
      model(textOf('message M { string id = 1; int32 wide = 2; }')),
    ),
    {
      compatible: true,
      findings: [],
      warnings: [{ rule: 'FIELD_RENAMED', path: 'a.M.wide', reader: 'broad' }],
    },
  );
});

t.test('schemas as large as they may be', async (t) => {
  const many = (count: number, line: (n: number) => string): string =>
    Array.from({ length: count }, (_, i) => line(i + 1)).join(' ');
  const scalar = (
    name: string,
    number: number,
  ): ParsedSchema['messages'][string]['fields'][number] => ({
    number,
    name,
    type: 'int32',
    kind: 'scalar',
    repeated: false,
    mapKey: null,
    oneof: null,
    presence: false,
    required: false,
    default: null,
    jsonName: null,
  });
  const wide = (oneof: string | null, of = 20_000): ParsedSchema => ({
    enums: {},
    events: {},
    roots: ROOT,
    messages: {
      'a.M': {
        syntax: 'proto3',
        fields: Array.from({ length: of }, (_, i) => ({ ...scalar(`f${i}`, i + 1), oneof })),
        reserved: { ranges: [], names: [] },
      },
    },
  });
  t.strictSame(compare(wide('o'), ROOT, wide(null), ROOT).findings.length, 20_000, 'into a oneof');
  t.strictSame(
    compare(wide('o'), ROOT, wide('p'), ROOT).findings.length,
    20_000,
    'a oneof renamed',
  );
  t.match(
    judge('FULL', wide(null, 1), wide(null)),
    { compatible: false, findings: { length: MOST_FINDINGS } },
    'findings are bounded',
  );
  const reserved = (first: number): ParsedSchema => {
    const { messages, ...rest } = wide(null, 0);
    return {
      ...rest,
      messages: {
        'a.M': {
          ...(messages['a.M'] as ParsedSchema['messages'][string]),
          reserved: {
            ranges: Array.from(
              { length: 20_000 },
              (_, i) => [first + 2 * i, first + 2 * i] as const,
            ),
            names: [],
          },
        },
      },
    };
  };
  t.equal(compare(reserved(1), ROOT, reserved(1), ROOT).findings.length, 0);
  t.equal(compare(reserved(2), ROOT, reserved(1), ROOT).findings.length, 20_000);
  const chain = (last: string): ParsedSchema =>
    model(
      textOf(
        `message M { N1 n = 1; } ${many(1_900, (n) => `message N${n} { ${n < 1_900 ? `N${n + 1} n = 1;` : `${last} n = 1;`} }`)}`,
      ),
    );
  t.match(compare(chain('string'), ROOT, chain('int32'), ROOT).findings, [
    { rule: 'FIELD_TYPE_CHANGED', path: 'a.N1900.n' },
  ]);
  t.match(
    compare(
      model(textOf('message M { string a = 1; }')),
      ROOT,
      model(textOf('message M { string a = 1; } message N { M m = 1; }')),
      ['a.M', 'isPrototypeOf'],
    ).findings,
    [{ rule: 'MESSAGE_REMOVED', path: 'isPrototypeOf' }],
  );
});

t.test('fingerprints: blind to comments, order and file names, not to anything else', async (t) => {
  const text = textOf('message M { string id = 1; N n = 2; } message N { int32 a = 1; }');
  const of = (source: string, name = 'a.proto'): string =>
    fingerprint(readModel([{ name, text: source }]), ROOT);
  const base = of(text);
  t.equal(of(`// hello\n${text.replaceAll(' ', '  ')}`), base);
  t.equal(
    of(textOf('message N { int32 a = 1; } message M { N n = 2; string id = 1; }')),
    base,
    'order in the file',
  );
  t.equal(of(text, 'other/name.proto'), base);
  t.equal(
    of(
      textOf(
        'message M { string id = 1; N n = 2; } message N { int32 a = 1; } message Unused { int32 a = 1; }',
      ),
    ),
    base,
    'what nobody leads to',
  );
  for (const [from, to] of [
    ['int32 a', 'int64 a'],
    ['int32 a', 'int32 b'],
    ['a = 1', 'a = 2'],
    ['N n = 2', 'repeated N n = 2'],
    ['string id = 1;', 'string id = 1; reserved 9;'],
  ] as const) {
    t.not(of(text.replace(from, to)), base, `${from} -> ${to}`);
  }
});

t.test('every scalar type to every other one', async (t) => {
  const wider = new Set(['int32 int64', 'uint32 uint64', 'sint32 sint64', 'string bytes']);
  const verdicts = { same: 0, backward: 0, forward: 0, neither: 0 };
  for (const from of SCALARS) {
    for (const to of SCALARS) {
      const { findings } = compare(
        model(textOf(`message M { ${to} f = 1; }`)),
        ROOT,
        model(textOf(`message M { ${from} f = 1; }`)),
        ROOT,
      );
      const [expected, breaks] =
        from === to
          ? (['same', undefined] as const)
          : wider.has(`${from} ${to}`)
            ? (['backward', 'forward'] as const)
            : wider.has(`${to} ${from}`)
              ? (['forward', 'backward'] as const)
              : (['neither', 'both'] as const);
      verdicts[expected]++;
      t.strictSame(
        findings.map((finding) => finding.breaks),
        breaks === undefined ? [] : [breaks],
        `${from} to ${to}`,
      );
    }
  }
  t.strictSame(verdicts, { same: 15, backward: 4, forward: 4, neither: 202 });
});

t.test('never laxer than the WIRE rules of the real buf', async (t) => {
  const rows = await bufBans(
    ROWS.map((row) => ({
      old: (pack) => textOf(row.old, row.syntax?.[0], pack),
      fresh: (pack) => textOf(row.fresh, row.syntax?.[1], pack),
    })),
  );
  let banned = 0;
  for (const [i, row] of ROWS.entries()) {
    const rules = rows[i] ?? [];
    if (rules.length === 0) continue;
    banned++;
    t.notOk(row.backward && row.forward, `${row.change}: buf bans it (${rules.join(', ')})`);
  }
  t.ok(banned >= 40, `buf bans ${banned} of ${ROWS.length} rows`);
  t.comment(
    `${ROWS.length} rows: buf bans ${banned}, Millrace ${ROWS.filter((row) => !row.backward || !row.forward).length}`,
  );

  const scalars = SCALARS.flatMap((from) =>
    SCALARS.filter((to) => to !== from).map((to) => [from, to] as const),
  );
  const types = await bufBans(
    scalars.map(([from, to]) => ({
      old: (pack) => textOf(`message M { ${from} f = 1; }`, 'proto3', pack),
      fresh: (pack) => textOf(`message M { ${to} f = 1; }`, 'proto3', pack),
    })),
  );
  t.ok(
    types.filter((rules) => rules.length > 0).length > 150,
    `and ${types.filter((rules) => rules.length > 0).length} of ${scalars.length} changes of a scalar type, of which Millrace lets none pass both ways (above)`,
  );

  // buf checks everything in a file, so a message leads to everything.
  const all = 'message All { M m = 1; N n = 2; E e = 3; }';
  const pairs = fc.sample(versionPair, 300);
  const bans = await bufBans(
    pairs.map((pair) => ({
      old: (pack) => textsOf(pair, pack, all).old,
      fresh: (pack) => textsOf(pair, pack, all).fresh,
    })),
  );
  const laxer: string[] = [];
  let refused = 0;
  let stricter = 0;
  for (const [i, pair] of pairs.entries()) {
    const texts = textsOf(pair, 'a', all);
    const { findings } = compare(model(texts.fresh), ['a.All'], model(texts.old), ['a.All']);
    const rules = bans[i] ?? [];
    if (rules.length > 0) refused++;
    if (rules.length > 0 && findings.length === 0)
      laxer.push(`${rules.join(', ')}: ${texts.old} became ${texts.fresh}`);
    if (rules.length === 0 && findings.length > 0) stricter++;
  }
  t.strictSame(laxer, [], 'of generated pairs, none that buf bans is compatible');
  t.ok(refused > 50, `${refused} of ${pairs.length} generated pairs are banned by buf`);
  t.comment(`${pairs.length} generated pairs: buf bans ${refused}, Millrace also ${stricter} more`);
});
