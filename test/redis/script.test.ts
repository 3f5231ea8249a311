import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { RedisReplyError, UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { defineScript, type RedisScript } from '../../src/redis/script.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';

const dir = mkdtempSync(join(tmpdir(), 'millrace-lua-'));
t.teardown(() => rmSync(dir, { recursive: true }));

function script(name: string, source: string, keys: number | 'variable'): RedisScript {
  const path = join(dir, name);
  writeFileSync(path, source);
  return defineScript({ url: pathToFileURL(path), keys });
}

const append = script(
  'append.lua',
  "return {'ok', redis.call('RPUSH', KEYS[1], ARGV[1]), redis.call('LINDEX', KEYS[1], -1)}",
  1,
);
const many = script('many.lua', 'return {#KEYS, #ARGV}', 'variable');
const broken = script('broken.lua', "return redis.call('LPUSH', KEYS[1])", 1);

t.test('arguments, replies, bytes, arity, errors', async (t) => {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const bytes = Buffer.from([0, 255, 254, 13, 10]);
  t.strictSame(await append.run(connection, ['l'], ['text']), ['ok', 1, 'text']);
  t.strictSame(await append.runBuffer(connection, ['l'], [bytes]), [Buffer.from('ok'), 2, bytes]);
  t.strictSame(await append.run(connection, ['l'], [7]), ['ok', 3, '7']);
  t.strictSame(await many.run(connection, ['a', 'b', 'c'], []), [3, 0]);
  t.strictSame(await many.run(connection, [], [1, 2]), [0, 2]);
  t.throws(() => append.run(connection, [], ['x']), { message: 'append.lua takes 1 keys, not 0' });
  await t.rejects(broken.run(connection, ['l'], []), RedisReplyError);
  await t.rejects(broken.run(connection, ['l'], []), {
    message: /^Redis refused broken\.lua: ERR/,
  });
  t.equal(append.name, 'append.lua');
});

t.test('a server that has forgotten the scripts', async (t) => {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url, offlineWaitMs: 10_000 });
  t.teardown(() => connection.destroy());
  const look = redis.client();
  await append.run(connection, ['l'], ['1']);
  await look.script('FLUSH');
  await append.run(connection, ['l'], ['2']);
  await look.script('FLUSH');
  t.strictSame(await append.runThen(connection, ['l'], ['3'], ['WAIT', 0, 10]), [
    ['ok', 3, '3'],
    0,
  ]);
  await redis.restart();
  await append.run(connection, ['l'], ['4']);
  await look.script('FLUSH');
  await Promise.all(Array.from({ length: 100 }, (_, i) => append.run(connection, ['all'], [i])));
  t.strictSame(await look.lrange('l', 0, -1), ['1', '2', '3', '4']);
  t.equal(await look.llen('all'), 100);
});

t.test('runThen: both replies; either may fail', async (t) => {
  const redis = await startRedis(t);
  const proxy = await startProxy(t, { socket: redis.socket });
  const connection = openConnection({ url: proxy.url });
  t.teardown(() => connection.destroy());
  t.strictSame(await append.runThen(connection, ['l'], ['a'], ['WAIT', 0, 10]), [
    ['ok', 1, 'a'],
    0,
  ]);
  await t.rejects(append.runThen(connection, ['l'], ['b'], ['NOSUCHCOMMAND']), RedisReplyError);
  await t.rejects(broken.runThen(connection, ['l'], [], ['WAIT', 0, 10]), {
    message: /refused broken\.lua/,
  });
  t.strictSame(await append.runThen(connection, ['l'], ['c'], ['CLIENT', 'ID']).then(([r]) => r), [
    'ok',
    3,
    'c',
  ]);
  const cut = proxy.dropRepliesThenCut();
  await t.rejects(append.runThen(connection, ['l'], ['d'], ['WAIT', 0, 10]), UnknownOutcomeError);
  await cut;
  t.equal(await redis.client().llen('l'), 4, 'executed once');
});

t.test('WAIT counts replicas', async (t) => {
  const master = await startRedis(t, { tcp: true, args: ['--repl-diskless-sync-delay', '0'] });
  const connection = openConnection({ url: master.url });
  t.teardown(() => connection.destroy());
  t.strictSame(await append.runThen(connection, ['l'], ['a'], ['WAIT', 1, 20]), [
    ['ok', 1, 'a'],
    0,
  ]);
  await startRedis(t, { args: ['--replicaof', '127.0.0.1', String(master.port)] });
  const [, confirmed] = await append.runThen(connection, ['l'], ['b'], ['WAIT', 1, 9_000]);
  t.equal(confirmed, 1);
});
