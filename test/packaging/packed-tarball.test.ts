/**
 * The package as npm publishes it. It is checked by publint and attw, installed into an empty
 * folder, and used there.
 */
import { execFile, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { projectDir, testServerBinary } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const execute = promisify(execFile);
/** A first install fetches some 60 packages from the registry. */
const INSTALL_MS = 240_000;
const COMMAND_MS = 60_000;
t.setTimeout(400_000);

/**
 * Variables that a user's shell does not have. npm and tap give them to the processes they start
 * (tap would load itself into each). The settings of Millrace belong to them, too. Proxies,
 * certificates and the registry stay as they are.
 */
const NOT_A_USERS =
  /^(npm_(package|lifecycle)_|npm_(command|config_local_prefix)$|TAP|_TAPJS|MILLRACE_|(NODE_OPTIONS|NODE_V8_COVERAGE|INIT_CWD|REDIS_URL|WORKERS|LOG_LEVEL)$)/;
const environment: NodeJS.ProcessEnv = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !NOT_A_USERS.test(name))),
  MILLRACE_PORT: '0',
  WORKERS: '1',
};

interface Ended {
  readonly status: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Never rejects: the exit status is part of what is tested. */
async function run(
  cwd: string,
  command: string,
  args: readonly string[],
  timeout = COMMAND_MS,
): Promise<Ended> {
  try {
    return {
      status: 0,
      ...(await execute(command, args, {
        cwd,
        env: environment,
        timeout,
        maxBuffer: 64 * 1024 * 1024,
      })),
    };
  } catch (error) {
    const { code, signal, stdout, stderr } = error as {
      code?: number | string;
      signal?: string;
      stdout: string;
      stderr: string;
    };
    return { status: code ?? signal ?? null, stdout, stderr };
  }
}

interface Pack {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-packed-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 }));

// --ignore-scripts: `prepare` would build over the very files the other tests are running from.
const packed = await run(projectDir, 'npm', [
  'pack',
  '--ignore-scripts',
  '--json',
  '--pack-destination',
  folder,
]);
if (packed.status !== 0) throw new Error(`npm pack ended with ${packed.status}: ${packed.stderr}`);
const pack = (JSON.parse(packed.stdout) as Pack[])[0] as Pack;
const tarball = join(folder, basename(pack.filename));

t.test('the tarball holds what is needed at run time, and nothing of our workshop', async (t) => {
  const paths = pack.files.map((file) => file.path);
  for (const needed of [
    'package.json',
    'LICENSE',
    'CHANGELOG.md',
    'dist/src/index.js',
    'dist/src/index.d.ts',
    'dist/src/define/index.js',
    'dist/src/define/index.d.ts',
    'dist/src/testing/index.js',
    'dist/src/testing/index.d.ts',
    'dist/src/cli/main.js',
    'dist/src/wire/generated/millrace.js',
    'dist/src/wire/generated/millrace.d.ts',
    'dist/workers/thread.js',
    'proto/millrace/v1/batch.proto',
    'proto/millrace/v1/options.proto',
  ]) {
    t.ok(paths.includes(needed), needed);
  }
  const { stdout } = await execute('git', ['ls-files', 'src/*.lua'], { cwd: projectDir });
  const scripts = stdout.split('\n').filter((path) => path !== '');
  t.ok(scripts.length > 0);
  for (const script of scripts)
    t.ok(paths.includes(`dist/${script}`), `${script} beside the code that loads it`);
  t.strictSame(
    paths.filter((path) =>
      /(^|\/)(test|scripts|\.millrace|\.tap)\/|\.test\.|\.map$|tsbuildinfo/.test(path),
    ),
    [],
    'no tests, tools, maps or data',
  );
});

t.test('publint finds nothing wrong with it', async (t) => {
  const bytes = readFileSync(tarball);
  const archive = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: archive }, strict: true });
  t.strictSame(
    messages.map((message) => formatMessage(message, pkg, { color: false })),
    [],
  );
});

t.test('the types of all doors resolve for those who import it as ESM', async (t) => {
  const attw = await run(folder, process.execPath, [
    join(projectDir, 'node_modules/@arethetypeswrong/cli/dist/index.js'),
    '--profile',
    'esm-only',
    '--no-color',
    '--no-emoji',
    tarball,
  ]);
  t.equal(attw.status, 0, 'attw', { output: `${attw.stdout}${attw.stderr}` });
  for (const door of ['"millrace"', '"millrace/define"', '"millrace/testing"'])
    t.match(attw.stdout, door);
});

const PROTO = `syntax = "proto3";
package parcels.v1;
import "millrace/v1/options.proto";
message ParcelSent {
  option (millrace.v1.event) = { type: "parcel.sent", subject: "parcel_id" };
  string parcel_id = 1;
  int32 weight_grams = 2;
}
`;

/**
 * Typed by hand, so that compiling it proves that the package's types reach a user; appends what it
 * got to a file.
 */
const FUNCTION = `import { appendFileSync } from 'node:fs';
import { defineFunction, NonRetryableError, type FunctionEvent } from 'millrace/define';

function line(event: FunctionEvent): string {
  if (event.type !== 'parcel.sent') throw new NonRetryableError('not asked for: ' + event.type);
  return JSON.stringify({ id: event.id, subject: event.subject, data: event.data }) + '\\n';
}

export default defineFunction({
  name: 'record',
  on: ['parcel.sent'],
  handle(event) {
    appendFileSync('recorded.ndjson', line(event));
  },
});
`;

interface Lag {
  readonly functions: readonly {
    readonly name: string;
    readonly appended: number;
    readonly done: number;
    readonly dead: number;
    readonly pending: number;
    readonly lag: number;
    readonly conserved: boolean;
  }[];
}

/**
 * Puts the binary of the other tests where the embedded server looks for it. This saves a second
 * download.
 */
async function shareServerBinary(home: string): Promise<void> {
  await testServerBinary();
  const cache = join(projectDir, '.millrace/redis-server');
  if (existsSync(cache)) cpSync(cache, join(home, '.millrace/redis-server'), { recursive: true });
}

/** Starts the service in a folder, without npx: the signal is for the process itself. */
function startMillrace(t: Test, home: string) {
  const started = spawn(join(home, 'node_modules/.bin/millrace'), ['start'], {
    cwd: home,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | string | null>((resolve) => {
    started.once('error', (error) => resolve(error.message));
    started.once('exit', (code, signal) => resolve(code ?? signal));
  });
  let output = '';
  for (const stream of [started.stdout, started.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  t.teardown(async () => {
    started.kill('SIGKILL');
    await ended;
  });
  const whileRunning = <T>(what: string, check: () => T | Promise<T>): Promise<NonNullable<T>> =>
    Promise.race([
      until(what, check, COMMAND_MS),
      ended.then((status) => {
        throw new Error(`millrace start ended with ${status} before ${what}:\n${output}`);
      }),
    ]);
  return { child: started, ended, whileRunning, output: () => output };
}

t.test('installed into an empty folder', async (t) => {
  const home = join(folder, 'parcels');
  mkdirSync(home);
  const millrace = (...args: string[]): Promise<Ended> =>
    run(home, 'npx', ['--no', '--', 'millrace', ...args]);

  await t.test('npm installs it', async (t) => {
    const install = await run(
      home,
      'npm',
      [
        'install',
        '--no-save',
        '--no-package-lock',
        '--prefer-offline',
        '--no-audit',
        '--no-fund',
        tarball,
      ],
      INSTALL_MS,
    );
    t.equal(install.status, 0, 'npm install', { output: install.stderr });
    const version = await millrace('--version');
    t.equal(
      version.stdout.trim(),
      (JSON.parse(readFileSync(join(projectDir, 'package.json'), 'utf8')) as { version: string })
        .version,
    );
  });

  await t.test('all doors open', async (t) => {
    const look = `
      const service = await import('millrace'), define = await import('millrace/define'), testing = await import('millrace/testing');
      console.log([typeof service.connect, typeof define.defineFunction, typeof testing.specify, service.MillraceError === define.MillraceError].join(' '));`;
    const looked = await run(home, process.execPath, ['--input-type=module', '-e', look]);
    t.equal(looked.stdout.trim(), 'function function function true', looked.stderr);
  });

  await t.test('init makes a project and overwrites nothing', async (t) => {
    const init = await millrace('init', '.');
    t.equal(init.status, 0, 'init', { output: init.stderr });
    for (const made of ['package.json', 'proto', 'workers'])
      t.ok(existsSync(join(home, made)), made);
    const manifest = readFileSync(join(home, 'package.json'), 'utf8');
    const again = await millrace('init', '.');
    t.equal(again.status, 1, 'a second time it refuses');
    t.match(again.stderr, /package\.json.*nothing was written/);
    t.equal(readFileSync(join(home, 'package.json'), 'utf8'), manifest);
  });

  await t.test('a function in TypeScript compiles against the types of the package', async (t) => {
    mkdirSync(join(home, 'proto/parcels/v1'), { recursive: true });
    writeFileSync(join(home, 'proto/parcels/v1/parcels.proto'), PROTO);
    writeFileSync(join(home, 'workers/record.ts'), FUNCTION);
    // The compiler and Node's types are the project's: what is asked here is whether ours are
    // found.
    const tsc = await run(home, process.execPath, [
      join(projectDir, 'node_modules/typescript/bin/tsc'),
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--typeRoots',
      join(projectDir, 'node_modules/@types'),
      '--types',
      'node',
      'workers/record.ts',
    ]);
    t.equal(tsc.status, 0, 'tsc', { output: tsc.stdout });
  });

  await t.test('what is published is handled, accounted for, and stopped in order', async (t) => {
    await shareServerBinary(home);
    const published = await millrace(
      'publish',
      'parcel.sent',
      '--data',
      '{"parcelId":"p-1","weightGrams":250}',
      '--json',
    );
    t.equal(published.status, 0, 'publish', { output: published.stderr });
    const { id } = JSON.parse(published.stdout) as { id: string };

    const { child, ended, whileRunning, output } = startMillrace(t, home);
    const record = join(home, 'recorded.ndjson');
    const recorded = await whileRunning('the function has written', () =>
      existsSync(record) ? readFileSync(record, 'utf8') : null,
    );
    t.strictSame(JSON.parse(recorded), {
      id,
      subject: 'p-1',
      data: { parcelId: 'p-1', weightGrams: 250 },
    });

    // The commit follows the function.
    const row = await whileRunning('lag says that it is done', async () => {
      const lag = await millrace('lag', '--json');
      if (lag.status !== 0) throw new Error(`millrace lag ended with ${lag.status}: ${lag.stderr}`);
      return (JSON.parse(lag.stdout) as Lag).functions.find(
        (f) => f.name === 'record' && f.done === 1,
      );
    });
    t.match(row, { appended: 1, done: 1, dead: 0, pending: 0, lag: 0, conserved: true });

    child.kill('SIGTERM');
    t.equal(await ended, 0, 'SIGTERM: drained, status 0', { output: output() });
    t.equal(readFileSync(record, 'utf8'), recorded, 'handled once');
  });
});
