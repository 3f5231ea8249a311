import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { canRead, compare, judge, type Finding } from '../../src/schema/compatibility.ts';
import { fingerprint } from '../../src/schema/fingerprint.ts';
import { LEVELS, type ParsedSchema } from '../../src/schema/model.ts';
import { readModel } from '../../src/schema/read-model.ts';
import { projectDir } from '../support/redis-server.ts';
import { ROWS, textOf, type Row } from './rows.ts';

const model = (text: string): ParsedSchema => readModel([{ name: 'a.proto', text }]);
const oldOf = (row: Row): ParsedSchema => model(textOf(row.old, row.syntax?.[0]));
const freshOf = (row: Row): ParsedSchema => model(textOf(row.fresh, row.syntax?.[1]));
const ROOT = ['a.M'];

t.test('every row of the table', async (t) => {
  for (const row of ROWS) {
    const { findings } = compare(freshOf(row), ROOT, oldOf(row), ROOT);
    const told = findings.map((finding) => `${finding.rule} ${finding.breaks}`).join(', ');
    t.equal(!findings.some((finding) => finding.breaks !== 'forward'), row.backward, `${row.change}: backward (${told})`);
    t.equal(!findings.some((finding) => finding.breaks !== 'backward'), row.forward, `${row.change}: forward (${told})`);
    for (const rule of row.rules) t.ok(findings.some((finding) => finding.rule === rule), `${row.change}: ${rule}`);
    for (const finding of findings) t.ok(finding.path.startsWith('a.') && finding.what.length > 10 && finding.cure.length > 10, `${finding.rule} says where, what and how to mend it`);
  }
});

t.test('package changed, message renamed, message gone', async (t) => {
  const before = model(textOf('message M { string id = 1; } message N { int32 a = 1; }'));
  t.match(compare(model(textOf('message M { string id = 1; }', 'proto3', 'b')), ['b.M'], before, ROOT).findings, [{ rule: 'MESSAGE_RENAMED', breaks: 'both', writer: 'a.M', reader: 'b.M' }]);
  t.match(compare(model(textOf('message M { string id = 1; }')), ROOT, before, ['a.M', 'a.N']).findings, [{ rule: 'MESSAGE_REMOVED', path: 'a.N' }]);
});

t.test('the levels: which direction counts, all findings at once, each once', async (t) => {
  const before = model(textOf('message M { string id = 1; int32 wide = 2; bytes narrow = 3; string gone = 4; }'));
  const now = model(textOf('message M { string id = 1; int64 wide = 2; string narrow = 3; }'));
  const older = [{ schema: before, roots: ROOT }, { schema: before, roots: ROOT }];
  const rules = (findings: readonly Finding[]): string => findings.map((finding) => finding.rule).sort().join(' ');
  const expected: Record<string, string> = {
    NONE: '', BACKWARD: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_NARROWED', FORWARD: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_WIDENED',
    FULL: 'FIELD_REMOVED_UNRESERVED FIELD_TYPE_NARROWED FIELD_TYPE_WIDENED',
  };
  for (const level of LEVELS) {
    const verdict = judge(level, now, ROOT, older);
    t.equal(rules(verdict.findings), expected[level.replace('_TRANSITIVE', '')], level);
    t.equal(verdict.compatible, level === 'NONE');
  }
  t.equal(rules(canRead(now, ROOT, before, ROOT)), 'FIELD_TYPE_NARROWED', 'a reservation that is missing is in nobody\'s way today');
  t.match(judge('FULL', model(textOf('message M { string id = 1; int32 broad = 2; }')), ROOT, [{ schema: model(textOf('message M { string id = 1; int32 wide = 2; }')), roots: ROOT }]), {
    compatible: true, findings: [], warnings: [{ rule: 'FIELD_RENAMED', path: 'a.M.wide', reader: 'broad' }],
  });
});

t.test('fingerprints: blind to comments, order and file names, not to anything else', async (t) => {
  const text = textOf('message M { string id = 1; N n = 2; } message N { int32 a = 1; }');
  const of = (source: string, name = 'a.proto'): string => fingerprint(readModel([{ name, text: source }]), ROOT);
  const base = of(text);
  t.equal(of(`// hello\n${text.replaceAll(' ', '  ')}`), base);
  t.equal(of(textOf('message N { int32 a = 1; } message M { N n = 2; string id = 1; }')), base, 'order in the file');
  t.equal(of(text, 'other/name.proto'), base);
  t.equal(of(textOf('message M { string id = 1; N n = 2; } message N { int32 a = 1; } message Unused { int32 a = 1; }')), base, 'what nobody leads to');
  for (const [from, to] of [['int32 a', 'int64 a'], ['int32 a', 'int32 b'], ['a = 1', 'a = 2'], ['N n = 2', 'repeated N n = 2'], ['string id = 1;', 'string id = 1; reserved 9;']] as const) {
    t.not(of(text.replace(from, to)), base, `${from} -> ${to}`);
  }
});

t.test('never laxer than the WIRE rules of the real buf', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-buf-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  // The binary itself: the script in .bin starts a Node for each run.
  const own = join(projectDir, `node_modules/@bufbuild/buf-${process.platform}-${process.arch}/bin/buf`);
  const buf = existsSync(own) ? own : join(projectDir, 'node_modules/.bin/buf');
  const config = JSON.stringify({ version: 'v2', breaking: { use: ['WIRE'] } });
  const bans = async (row: Row, i: number): Promise<readonly string[]> => {
    for (const [side, body, syntax] of [['old', row.old, row.syntax?.[0]], ['new', row.fresh, row.syntax?.[1]]] as const) {
      mkdirSync(join(dir, `${i}`, side), { recursive: true });
      writeFileSync(join(dir, `${i}`, side, 'a.proto'), textOf(body, syntax));
    }
    try {
      await promisify(execFile)(buf, ['breaking', join(dir, `${i}`, 'new'), '--against', join(dir, `${i}`, 'old'), '--config', config, '--error-format', 'json'], { timeout: 60_000, env: { ...process.env, HOME: dir } });
      return [];
    } catch (error) {
      const { stdout, code } = error as { stdout?: string; code?: number };
      if (code !== 100) throw error;
      return (stdout ?? '').trim().split('\n').map((line) => (JSON.parse(line) as { type: string }).type);
    }
  };
  let banned = 0;
  for (const [i, row] of ROWS.entries()) {
    const rules = await bans(row, i);
    if (rules.length === 0) continue;
    banned++;
    t.notOk(row.backward && row.forward, `${row.change}: buf bans it (${rules.join(', ')})`);
  }
  t.ok(banned >= 20, `buf bans ${banned} of ${ROWS.length} rows`);
  t.comment(`buf bans ${banned} of ${ROWS.length} rows, Millrace ${ROWS.filter((row) => !row.backward || !row.forward).length}`);
});
