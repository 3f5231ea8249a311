/** An append-only file that was cut inside a transaction, and two starts in a row. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { repairAppendOnlyFile } from '../../src/redis/append-only-file.ts';
import { startEmbeddedServer, type EmbeddedServer } from '../../src/redis/embedded-server.ts';
import { projectDir, testServerBinary, type TestLike } from '../../scripts/lab/redis-server.ts';

const HALVES = `redis.call('SET', 'first', ARGV[1]) redis.call('SET', 'second', ARGV[1]) redis.call('RPUSH', 'both', ARGV[1]) return 1`;

function testFolder(t: TestLike): string {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-torn-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true, maxRetries: 10 }));
  return dir;
}

/** Starts the server as other tests do: its libraries may lie beside it. */
async function folderWithServer(t: TestLike): Promise<string> {
  await testServerBinary();
  const dir = testFolder(t);
  const unpacked = join(projectDir, '.millrace/redis-server');
  if (existsSync(unpacked)) symlinkSync(unpacked, join(dir, 'redis-server'));
  return dir;
}

async function start(
  t: TestLike,
  dir: string,
): Promise<{ server: EmbeddedServer; client: Redis; logged: string[] }> {
  const logged: string[] = [];
  const server = await startEmbeddedServer({ dir, log: (_, message) => void logged.push(message) });
  t.teardown(() => server.stop());
  const client = new Redis({ path: server.socket, retryStrategy: () => null });
  client.on('error', () => {});
  t.teardown(() => client.disconnect());
  return { server, client, logged };
}

const fileOf = (dir: string): string => {
  const folder = join(dir, 'data/appendonlydir');
  return join(folder, readdirSync(folder).find((name) => name.endsWith('.incr.aof')) as string);
};
const lastMulti = (file: string): number => readFileSync(file).lastIndexOf('*1\r\n$5\r\nMULTI');

t.test(
  'cut inside a script, started, written on, started again: nothing of the script comes back',
  async (t) => {
    const dir = await folderWithServer(t);
    const one = await start(t, dir);
    await one.client.eval(HALVES, 0, 'whole');
    await one.client.eval(HALVES, 0, 'torn');
    await one.server.stop();
    const file = fileOf(dir);
    const bytes = readFileSync(file);
    // Cut in the middle of the transaction's second command: the first command is whole.
    truncateSync(file, bytes.indexOf('second', lastMulti(file)) + 3);
    const two = await start(t, dir);
    t.match(two.logged.join('\n'), /torn/);
    t.equal(await two.client.get('first'), 'whole');
    await two.client.eval(HALVES, 0, 'later');
    await two.client.set('first', 'last');
    await two.server.stop();
    const three = await start(t, dir);
    t.strictSame(
      [
        await three.client.get('first'),
        await three.client.get('second'),
        await three.client.lrange('both', 0, -1),
      ],
      ['last', 'later', ['whole', 'later']],
    );
    t.notMatch(three.logged.join('\n'), /torn/);
  },
);

t.test(
  'wherever the file is cut, what is left is whole transactions, and the longest such beginning',
  async (t) => {
    const dir = testFolder(t);
    const folder = join(dir, 'appendonlydir');
    mkdirSync(folder);
    writeFileSync(
      join(folder, 'appendonly.aof.manifest'),
      'file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n',
    );
    const command = (...words: string[]): string =>
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
    const pieces = [
      command('SELECT', '0'),
      '#TS:1700000000\r\n',
      command('SET', 'a', 'MULTI\r\n*1\r\n$4\r\nEXEC\r\n'),
      command('MULTI') +
        command('SET', 'b', 'x'.repeat(300)) +
        command('RPUSH', 'c', '') +
        command('EXEC'),
      command('set', 'd', 'é\u0000'),
      command('multi') + command('DEL', 'a') + command('exec'),
    ];
    const whole = Buffer.from(pieces.join(''));
    const sound = pieces.reduce<number[]>(
      (ends, piece) => [...ends, (ends.at(-1) as number) + Buffer.byteLength(piece)],
      [0],
    );
    const file = join(folder, 'appendonly.aof.1.incr.aof');
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(file, whole.subarray(0, cut));
      const repair = repairAppendOnlyFile(dir);
      const expected = sound.filter((end) => end <= cut).at(-1) as number;
      if (statSync(file).size !== expected || (repair === null) !== (expected === cut))
        t.fail(`cut at ${cut}: ${statSync(file).size}, expected ${expected}`);
    }
    for (const other of [
      'no append-only file',
      `${command('SET', 'a', 'b')}garbage`,
      command('MULTI') + command('SET', 'a', 'b') + command('MULTI') + command('EXEC'),
    ]) {
      writeFileSync(file, other);
      t.equal(repairAppendOnlyFile(dir), null, 'what is not torn is left alone');
      t.equal(statSync(file).size, Buffer.byteLength(other));
    }
    t.equal(repairAppendOnlyFile(join(dir, 'nowhere')), null);
  },
);
