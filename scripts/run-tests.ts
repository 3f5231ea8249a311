/**
 * Runs the test files, each in a process of its own, some at a time: `node
 * dist/scripts/run-tests.js [file or folder ...]`.
 *
 * Tap's own `tap run` gives each test file, and each process of a test, two loaders: for mocks and
 * for coverage. Nothing here uses them, and they cost half a second of a core or more for each of
 * hundreds of processes. So this runner uses tap as a library: it spawns the files, parses their
 * TAP, counts, and limits their time.
 *
 * Prints a line for each file, and its failures below it. All TAP goes to .tap/run.tap. The exit
 * status is 1 when anything failed.
 */
import type { ChildProcess } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import { createWriteStream, mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';

const OUTPUT = '.tap/run.tap';
const ROOT = 'dist/test';
const JOBS = Number(process.env['TEST_JOBS'] ?? 3);
/**
 * The longest files, in the order of their time, start first. The last minutes of a run then have
 * short files, and no job waits for one long file.
 */
const LONGEST = [
  'chaos/bugs',
  'torture/torture',
  'guarantees/08-slow-handlers',
  'guarantees/turns',
  'guarantees/03-emits',
  'guarantees/06-poison-batch',
  'views/rebuild-histories',
  'demo',
  'cli/start',
  'packaging/packed-tarball',
  'guarantees/06-poison-dispatcher',
  'chaos/slice',
  'guarantees/03-views',
  'views/rebuild',
  'cli/init',
  'admin/health',
  'contract/cluster',
  'guarantees/06-poison-handle',
  'guarantees/03-zombie',
].map((name) => join(ROOT, `${name}.test.js`));
const TIMEOUT_MS = 300_000;
/** Bytes kept of a file's stderr: its end, shown when the file fails. */
const STDERR_BYTES = 8192;

function filesBelow(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(path, name))
    .sort();
}

interface Failed {
  readonly path: readonly string[];
  readonly name: string;
  readonly diag: Record<string, unknown>;
}

/** The part of tap's parser that this runner uses. */
interface Parser {
  on(
    event: 'assert',
    listen: (result: {
      ok: boolean;
      name: string;
      skip: unknown;
      todo: unknown;
      diag: unknown;
    }) => void,
  ): unknown;
  on(event: 'child', listen: (child: Parser & { name: string }) => void): unknown;
}

/** Collects the failed assertions, however deep. Leaves out the tests around them. */
function collect(parser: Parser, failed: Failed[], path: readonly string[] = []): void {
  parser.on('child', (child) => collect(child, failed, [...path, child.name]));
  parser.on('assert', ({ ok, name, skip, todo, diag }) => {
    const own = [...path, name];
    if (
      ok ||
      skip ||
      todo ||
      failed.some((inner) => own.every((part, i) => inner.path[i] === part))
    )
      return;
    failed.push({ path, name, diag: (diag ?? {}) as Record<string, unknown> });
  });
}

function tell({ path, name, diag }: Failed): void {
  const at = (diag['at'] ?? {}) as { fileName?: string; lineNumber?: number };
  console.log(
    `  not ok: ${[...path, name].join(' > ')}${at.fileName ? `  (${at.fileName}:${at.lineNumber})` : ''}`,
  );
  for (const field of ['diff', 'stack']) {
    if (diag[field] !== undefined && diag[field] !== null)
      console.log(`${field}: ${String(diag[field])}`.replace(/^/gm, '    '));
  }
}

async function run(file: string): Promise<void> {
  const failed: Failed[] = [];
  let stderr = '';
  let ended = '';
  let startedMs = performance.now();
  t.on('subtestStart', function listen(child) {
    if (child.name !== file) return;
    t.off('subtestStart', listen);
    collect(child.parser as unknown as Parser, failed);
    (child as unknown as EventEmitter).on('process', (proc: ChildProcess) => {
      startedMs = performance.now();
      proc.stderr?.on(
        'data',
        (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-STDERR_BYTES)),
      );
      proc.once(
        'exit',
        (code, signal) => (ended = signal === null ? `exit status ${code}` : `ended by ${signal}`),
      );
    });
  });
  // `env -u`: tap's library sets NODE_OPTIONS to load the loaders, which are left out here.
  const args = [
    '-u',
    'NODE_OPTIONS',
    `TAP_TIMEOUT=${TIMEOUT_MS / 1000}`,
    process.execPath,
    '--enable-source-maps',
    file,
  ];
  const results = await t.spawn(
    'env',
    args,
    { buffered: true, timeout: TIMEOUT_MS, stdio: 'pipe', at: null, stack: '' },
    file,
  );
  const { ok = false, pass = 0, count = 0 } = results ?? {};
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`${ok ? 'PASS' : 'FAIL'}  ${file}  ${pass} of ${count} tests  ${seconds} s`);
  if (ok) return;
  console.log(`  ${ended}`);
  failed.forEach(tell);
  // A file whose tests passed but whose process ended badly counts as failed, too.
  if (count > 0 && failed.length === 0) t.fail(`${file}: ${ended}`);
  if (stderr !== '') console.log(stderr.replace(/^/gm, '  stderr: '));
}

/** Place in the schedule: the longest first, then in the order of the folders. */
function placeOf(file: string): number {
  const at = LONGEST.indexOf(file);
  return at < 0 ? LONGEST.length : at;
}

const asked = process.argv.slice(2);
const files = (asked.length > 0 ? asked : [ROOT])
  .flatMap(filesBelow)
  .sort((a, b) => placeOf(a) - placeOf(b));
mkdirSync(dirname(OUTPUT), { recursive: true });
t.jobs = JOBS;
t.setTimeout(0);
t.setMaxListeners(files.length + 10);
t.register();
t.pipe(createWriteStream(OUTPUT));
await Promise.all(files.map(run));
t.end();
