import { spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { openConnection } from '../../src/redis/connection.ts';
import {
  connectOrStart,
  startEmbeddedServer,
  type EmbeddedOptions,
} from '../../src/redis/embedded-server.ts';
import { findServerBinary } from '../../src/redis/server-binary.ts';
import { projectDir, testServerBinary, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

// The binary is fetched once, into the project's own cache. Folders of tests link to it.
await testServerBinary();
const cache = join(projectDir, '.millrace', 'redis-server');

function folder(t: TestLike, name = 'f'): string {
  const base = mkdtempSync(join(tmpdir(), 'millrace-embedded-'));
  t.teardown(() => rmSync(base, { recursive: true, force: true, maxRetries: 5 }));
  const dir = join(base, name);
  mkdirSync(dir, { recursive: true });
  if (existsSync(cache)) symlinkSync(cache, join(dir, 'redis-server'));
  return dir;
}

async function connect(
  t: TestLike,
  options: EmbeddedOptions,
): Promise<Awaited<ReturnType<typeof connectOrStart>>> {
  const server = await connectOrStart(options);
  t.teardown(() => server.stop());
  return server;
}

async function ask(url: string, ...command: [string, ...(string | number)[]]): Promise<unknown> {
  const connection = openConnection({ url, offlineWaitMs: 10_000 });
  try {
    return await connection.command(...command);
  } finally {
    await connection.close();
  }
}

/**
 * Another process: it starts or joins the folder's server, prints the result, and does nothing
 * more.
 */
async function otherProcess(
  t: TestLike,
  dir: string,
  appendfsync = 'everysec',
): Promise<{ child: ChildProcess; url: string; owned: boolean }> {
  const code = `
    const { connectOrStart } = await import(${JSON.stringify(new URL('../../src/redis/embedded-server.js', import.meta.url).href)});
    const { url, owned } = await connectOrStart({ dir: ${JSON.stringify(dir)}, appendfsync: ${JSON.stringify(appendfsync)} });
    console.log(JSON.stringify({ url, owned }));
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => void child.kill('SIGKILL'));
  let text = '';
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  return { child, ...(JSON.parse(text) as { url: string; owned: boolean }) };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const serverPid = async (url: string): Promise<number> =>
  Number(/process_id:(\d+)/.exec(String(await ask(url, 'INFO', 'server')))?.[1]);

const needsProc = process.platform === 'linux' ? {} : { skip: 'reads /proc' };

t.test('starts, answers, keeps the data', async (t) => {
  const dir = folder(t);
  const lines: string[] = [];
  const first = await connect(t, {
    dir,
    appendfsync: 'always',
    log: (level, message) => lines.push(`${level} ${message}`),
  });
  t.ok(first.owned);
  t.equal(first.url, `unix:${realpathSync(dir)}/redis.sock`);
  t.strictSame(await ask(first.url, 'CONFIG', 'GET', 'appendfsync'), ['appendfsync', 'always']);
  t.strictSame(await ask(first.url, 'CONFIG', 'GET', 'maxmemory-policy'), [
    'maxmemory-policy',
    'noeviction',
  ]);
  t.strictSame(await ask(first.url, 'CONFIG', 'GET', 'port'), ['port', '0']);
  await ask(first.url, 'SET', 'kept', 'yes');
  t.equal(statSync(join(dir, 'data')).mode & 0o077, 0, 'nobody else reads the data');
  const pid = await serverPid(first.url);
  await first.stop();
  t.notOk(alive(pid));
  await first.stop();

  const second = await connect(t, { dir });
  t.ok(second.owned);
  t.equal(await ask(second.url, 'GET', 'kept'), 'yes');
  await second.stop();
  t.notOk(lines.some((line) => line.startsWith('error')));
});

t.test('a second one uses the running one', async (t) => {
  const dir = folder(t);
  const owner = await connect(t, { dir });
  const guest = await connect(t, { dir });
  t.notOk(guest.owned);
  t.equal(guest.url, owner.url);
  await guest.stop();
  t.equal(await ask(owner.url, 'PING'), 'PONG', 'a guest stops nothing');
  await t.rejects(startEmbeddedServer({ dir }), { name: 'FolderInUse' });
  t.equal(await ask(owner.url, 'PING'), 'PONG', 'nor does one that insists on its own');
  await owner.stop();
});

t.test('many starters at once, in one process and in several', async (t) => {
  const dir = folder(t);
  const here = Promise.all(Array.from({ length: 4 }, () => connect(t, { dir })));
  const there = Promise.all(Array.from({ length: 3 }, () => otherProcess(t, dir)));
  const all = [...(await here), ...(await there)];
  t.equal(all.filter((server) => server.owned).length, 1, 'one owns it');
  t.equal(new Set(all.map((server) => server.url)).size, 1);
  const pids = new Set(await Promise.all(all.map((server) => serverPid(server.url))));
  t.equal(pids.size, 1, 'all talk to the same server');
});

t.test('the owner is killed with -9: the server ends, the data stays', async (t) => {
  const dir = folder(t);
  const { child, url, owned } = await otherProcess(t, dir);
  t.ok(owned);
  const connection = openConnection({ url });
  t.teardown(() => connection.destroy());
  for (let i = 0; i < 1_000; i++) void connection.command('RPUSH', 'list', i);
  t.equal(await connection.command('LLEN', 'list'), 1_000);
  const pid = await serverPid(url);
  child.kill('SIGKILL');
  await until('the server is gone', () => !alive(pid));
  connection.destroy();

  const next = await connect(t, { dir });
  t.ok(next.owned);
  t.equal(await ask(next.url, 'LLEN', 'list'), 1_000);
  await next.stop();
});

t.test(
  'an owner that ends in an orderly way without stopping it does not hang, nor leave it behind',
  async (t) => {
    const dir = folder(t);
    const code = `
    const { connectOrStart } = await import(${JSON.stringify(new URL('../../src/redis/embedded-server.js', import.meta.url).href)});
    console.log((await connectOrStart({ dir: ${JSON.stringify(dir)} })).owned);
  `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const code0 = await new Promise((resolve) => child.once('exit', resolve));
    t.equal(code0, 0);
    const pid = Number(readFileSync(join(dir, 'redis.lock'), 'utf8'));
    await until('the server is gone', () => !alive(pid));
  },
);

t.test(
  'the owner and its server are both killed: stale socket and lock do not matter',
  async (t) => {
    const dir = folder(t);
    const { child, url } = await otherProcess(t, dir);
    await ask(url, 'SET', 'k', 'v');
    const pid = await serverPid(url);
    process.kill(pid, 'SIGSTOP');
    child.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    t.ok(existsSync(join(dir, 'redis.sock')));
    const next = await connect(t, { dir });
    t.ok(next.owned);
    t.equal(await ask(next.url, 'GET', 'k'), 'v');
  },
);

t.test('Ctrl-C reaches the owner only', needsProc, async (t) => {
  const dir = folder(t);
  const server = await connect(t, { dir });
  const pid = await serverPid(server.url);
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  const own = readFileSync('/proc/self/stat', 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  t.not(stat[2], own[2], 'another process group');
});

t.test('a server that dies is started again, with its data', async (t) => {
  const dir = folder(t);
  const server = await connect(t, { dir, appendfsync: 'always' });
  await ask(server.url, 'SET', 'k', 'v');
  const pid = await serverPid(server.url);
  process.kill(pid, 'SIGKILL');
  t.equal(await withPatience(() => ask(server.url, 'GET', 'k')), 'v');
  t.not(await serverPid(server.url), pid);
  await server.stop();
});

async function withPatience<T>(fn: () => Promise<T>): Promise<T> {
  return until('it answers', async () => {
    try {
      return { value: await fn() };
    } catch {
      return null;
    }
  }).then(({ value }) => value);
}

t.test('a folder too deep for a unix socket', async (t) => {
  const dir = folder(t, Array.from({ length: 4 }, () => 'x'.repeat(60)).join('/'));
  const owner = await connect(t, { dir });
  t.ok(owner.url.length < 110);
  const note = readFileSync(join(dir, 'redis.sock.path'), 'utf8').trim();
  t.equal(owner.url, `unix:${note}`);
  t.equal(statSync(join(note, '..')).mode & 0o077, 0, 'private');
  t.notOk((await connect(t, { dir })).owned);
  t.notOk((await otherProcess(t, dir)).owned);
  await owner.stop();
  rmSync(join(note, '..'), { recursive: true });
});

t.test('names with odd characters', async (t) => {
  const server = await connect(t, { dir: folder(t, 'a b%20ü#?,redis') });
  t.equal(await ask(server.url, 'PING'), 'PONG');
  await server.stop();
});

t.test('what cannot start says why', async (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, 'data', 'appendonlydir'), { recursive: true });
  writeFileSync(join(dir, 'data', 'appendonlydir', 'appendonly.aof.manifest'), 'nonsense\n');
  await t.rejects(connectOrStart({ dir }), {
    name: 'ConfigError',
    message: /ended at once with status 1.*redis\.log/,
  });
  const file = join(dir, 'file');
  writeFileSync(file, '');
  await t.rejects(connectOrStart({ dir: file }), {
    name: 'ConfigError',
    message: /cannot be used/,
  });
});

t.test('the binary', async (t) => {
  const found = await testServerBinary();
  const dir = folder(t);
  await t.test('given', async (t) => {
    const give = (serverPath: string) => findServerBinary({ serverPath, cacheDir: dir });
    await t.rejects(give('/nowhere/redis-server'), {
      name: 'ConfigError',
      message: /MILLRACE_REDIS_SERVER: .*does not exist/,
    });
    const fake = (name: string, text: string): string => {
      const path = join(dir, name);
      writeFileSync(path, `#!/bin/sh\necho '${text}'\n`);
      chmodSync(path, 0o755);
      return path;
    };
    await t.rejects(give(fake('old', 'Redis server v=6.0.16 sha=0')), {
      message: /is version 6\.0\.16, at least 7\.0/,
    });
    await t.rejects(give(fake('other', 'hello')), { message: /is no redis-server/ });
    t.match(await give(fake('valkey', 'Valkey server v=8.1.1 sha=0')), {
      flavor: 'valkey',
      version: '8.1.1',
      libraryPath: '',
    });
    await t.rejects(connectOrStart({ dir, serverPath: '/nowhere' }), ConfigError);
  });

  await t.test('a cache that does not run is replaced, by two at once', async (t) => {
    if (found.libraryPath === '' || process.env.MILLRACE_TEST_OFFLINE)
      return void t.comment('needs apt and the network');
    const cacheDir = mkdtempSync(join(tmpdir(), 'millrace-cache-'));
    t.teardown(() => rmSync(cacheDir, { recursive: true, force: true }));
    const name = readdirSync(cache).find((entry) => !entry.includes('.tmp-')) as string;
    mkdirSync(join(cacheDir, 'redis-server', name), { recursive: true });
    writeFileSync(
      join(cacheDir, 'redis-server', name, 'manifest.json'),
      '{"server":"gone","libraries":[]}',
    );
    const lines: string[] = [];
    const find = () =>
      findServerBinary({
        cacheDir,
        searchPath: false,
        log: (_level, message) => lines.push(message),
      });
    const both = await Promise.all([find(), find()]);
    t.strictSame(both[0], both[1]);
    t.match(lines[0], /downloading/);
    t.strictSame(readdirSync(join(cacheDir, 'redis-server')), [name], 'nothing is left over');
    const again = await find();
    t.equal(again.version, both[0].version);
    t.equal(lines.length, 4, 'once');
  });
});

t.test('the lock is held by the server itself', needsProc, async (t) => {
  const dir = folder(t);
  const { child, url } = await otherProcess(t, dir);
  const pid = await serverPid(url);
  // The supervisor's parent is the owner. Kill the supervisor alone, as an administrator might.
  const supervisor = Number(
    /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
  );
  process.kill(supervisor, 'SIGKILL');
  await delay(0);
  t.notOk((await connect(t, { dir })).owned, 'the orphan is used, not doubled');
  child.kill('SIGKILL');
  await until('the orphan is gone', () => !alive(pid));
});
