import { createServer } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { ClosedError } from '../../src/core/errors/append-errors.ts';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { MillraceError } from '../../src/core/errors/millrace-error.ts';
import { RedisReplyError, UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { ConnectionOptions, RedisConnection } from '../../src/redis/contract.ts';
import { parseRedisUrl, parseRedisUrls } from '../../src/redis/redis-url.ts';
import { withRetry } from '../../src/redis/retry.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import { until } from '../../scripts/lab/until.ts';

function open(t: TestLike, options: ConnectionOptions): RedisConnection {
  const connection = openConnection(options);
  t.teardown(() => connection.destroy());
  return connection;
}

function event(connection: RedisConnection, name: 'up' | 'down'): Promise<void> {
  return new Promise((resolve) => {
    const listener = (): void => {
      connection.off(name, listener);
      resolve();
    };
    connection.on(name, listener);
  });
}

async function timed<T>(
  promise: Promise<T>,
): Promise<{ ms: number; error: unknown; value: T | undefined }> {
  const start = performance.now();
  const [result] = await Promise.allSettled([promise]);
  const ms = performance.now() - start;
  return result.status === 'fulfilled'
    ? { ms, error: undefined, value: result.value }
    : { ms, error: result.reason, value: undefined };
}

t.test('urls', async (t) => {
  t.match(parseRedisUrl('redis://localhost'), { host: 'localhost', port: 6379, db: 0, tls: false });
  t.match(parseRedisUrl('rediss://me:p%40ss@h.example:7000/3'), {
    host: 'h.example',
    port: 7000,
    db: 3,
    tls: true,
    username: 'me',
    password: 'p@ss',
    display: 'rediss://me:***@h.example:7000/3',
  });
  t.match(parseRedisUrl('redis://[::1]:6380'), { host: '::1', port: 6380 });
  t.match(parseRedisUrl('unix:/run/a%20b.sock?db=2'), { path: '/run/a b.sock', db: 2 });
  t.match(parseRedisUrl('unix:///run/redis.sock'), { path: '/run/redis.sock', db: 0 });
  t.equal(
    parseRedisUrls('redis://:a,b@h1:1, redis://h2:2').length,
    2,
    'a comma in a password does not separate',
  );
  t.equal(parseRedisUrls(['redis://h1:1', 'redis://h2:2']).length, 2);

  const problems: [string | string[], RegExp][] = [
    ['', /REDIS_URL is empty/],
    ['localhost:6379', /did you mean redis:\/\/localhost:6379\?/],
    ['http://localhost', /scheme "http:"/],
    ['redis://h:99999', /is not a url/],
    ['redis://:secret@h:99999', /:\*\*\*@h/],
    ['redis://h/x', /database number/],
    ['redis://h?family=6', /"family" is not known/],
    ['unix:relative.sock', /absolute path/],
    [`unix:/${'x'.repeat(120)}`, /at most 107 bytes/],
    ['unix:/a?db=x', /db must be a number/],
    ['redis://h1,unix:/a', /cannot have the unix socket/],
    ['redis://h1/2,redis://h2', /only database 0/],
    ['redis://h1,rediss://h2', /either all nodes/],
  ];
  for (const [url, message] of problems) {
    t.throws(() => parseRedisUrls(url), { name: 'ConfigError', message }, `${String(url)}`);
  }
  t.throws(() => parseRedisUrls('redis://h/x,foo://b'), ConfigError);
  try {
    parseRedisUrls('redis://h/x, redis://b/y');
  } catch (error) {
    t.equal((error as ConfigError).problems.length, 2, 'every problem is named');
  }
  try {
    parseRedisUrl('redis://:secret@h:99999');
  } catch (error) {
    t.notMatch((error as Error).message, /secret/);
  }
});

t.test('commands, replies, refusals', async (t) => {
  const redis = await startRedis(t);
  const lines: string[] = [];
  const connection = open(t, {
    url: redis.url,
    name: 'a test',
    log: (_level, message) => lines.push(message),
  });
  t.equal(connection.status, 'connecting');
  t.equal(await connection.command('PING'), 'PONG', 'waits for the connection');
  t.equal(connection.status, 'up');
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  await connection.command('SET', 'k', bytes);
  t.strictSame(await connection.commandBuffer('GET', 'k'), bytes);
  t.strictSame(await connection.commandOnMasters('GET', 'none'), [
    { node: connection.target, reply: null },
  ]);
  t.match(await connection.command('CLIENT', 'GETNAME'), 'a-test');

  const { error } = await timed(connection.command('LPUSH', 'k', 'payload'));
  t.type(error, RedisReplyError);
  t.match(error, { reply: 'WRONGTYPE', command: 'LPUSH', retryable: false, outcomeUnknown: false });
  t.notMatch(
    JSON.stringify((error as Error).cause),
    /payload/,
    'the arguments do not ride along into the logs',
  );

  const unix2 = open(t, { url: `${redis.url}?db=3` });
  t.equal(await unix2.command('GET', 'k'), null, 'another database');

  await connection.close();
  t.equal(connection.status, 'closed');
  await t.rejects(connection.command('PING'), ClosedError);
  await connection.close();
});

t.test('close lets what is under way finish', async (t) => {
  const redis = await startRedis(t);
  const connection = open(t, { url: redis.url });
  await connection.ready();
  const replies = Array.from({ length: 500 }, () => connection.command('INCR', 'n'));
  await connection.close();
  t.equal((await Promise.all(replies)).at(-1), 500);
  const other = open(t, { url: redis.url });
  const waiting = other.command('PING');
  other.destroy();
  await t.rejects(waiting, ClosedError, 'what was never sent is told so');
});

t.test('executed but the reply is lost: unknown outcome, executed exactly once', async (t) => {
  const redis = await startRedis(t);
  const proxy = await startProxy(t, { socket: redis.socket });
  const look = redis.client();
  const connection = open(t, { url: proxy.url });
  await connection.ready();

  const cut = proxy.dropRepliesThenCut();
  const down = event(connection, 'down');
  const up = event(connection, 'up');
  const { error } = await timed(connection.command('INCR', 'counter'));
  t.type(error, UnknownOutcomeError);
  t.match(error, { retryable: true, outcomeUnknown: true, command: 'INCR' });
  await Promise.all([cut, down, up]);
  t.equal(await connection.command('PING'), 'PONG');
  t.equal(await look.get('counter'), '1');

  await t.test('many at once', async (t) => {
    const lost = proxy.dropRepliesThenCut();
    const results = await Promise.allSettled(
      Array.from({ length: 200 }, (_, i) => connection.command('INCR', `each:${i}`)),
    );
    await lost;
    t.ok(results.every((r) => r.status === 'rejected' && r.reason instanceof UnknownOutcomeError));
    await connection.ready();
    await connection.command('PING');
    const counts = await look.mget(Array.from({ length: 200 }, (_, i) => `each:${i}`));
    t.ok(
      counts.every((n) => n === null || n === '1'),
      'none twice',
    );
  });

  await t.test('an idempotent call is made again by withRetry', async (t) => {
    void proxy.dropRepliesThenCut();
    const attempts: number[] = [];
    const reply = await withRetry(
      (attempt) => {
        attempts.push(attempt);
        return connection.command('SET', 'idempotent', 'x');
      },
      { deadlineMs: 10_000 },
    );
    t.equal(reply, 'OK');
    t.strictSame(attempts, [1, 2]);
  });
});

t.test('a half-open connection does not hang beyond the timeout', async (t) => {
  const redis = await startRedis(t);
  const proxy = await startProxy(t, { socket: redis.socket });
  const connection = open(t, { url: proxy.url, replyTimeoutMs: 300, offlineWaitMs: 200 });
  const blocking = open(t, {
    url: proxy.url,
    blocking: true,
    maxBlockMs: 200,
    replyTimeoutMs: 300,
    offlineWaitMs: 200,
  });
  await Promise.all([connection.ready(), blocking.ready()]);

  t.equal(
    await blocking.command('XREAD', 'BLOCK', 200, 'STREAMS', 's', '$'),
    null,
    'blocking within the limit is no timeout',
  );

  proxy.halfOpen(true);
  const downs = Promise.all([event(connection, 'down'), event(blocking, 'down')]);
  const [write, read] = await Promise.all([
    timed(connection.command('INCR', 'n')),
    timed(blocking.command('XREAD', 'BLOCK', 200, 'STREAMS', 's', '$')),
  ]);
  t.type(write.error, UnknownOutcomeError);
  t.type(
    read.error,
    UnknownOutcomeError,
    'a blocking read rejects, it does not pretend that the stream is empty',
  );
  t.ok(write.ms < 3_000, `${write.ms} ms`);
  t.ok(read.ms < 3_000, `${read.ms} ms`);
  await downs;
  const again = await timed(connection.command('PING'));
  t.type(again.error, UnknownOutcomeError, 'and the next one neither');
  t.ok(again.ms < 3_000, `${again.ms} ms`);

  proxy.cutNow();
  proxy.halfOpen(false);
  await Promise.all([connection.ready(), blocking.ready()]);
  t.equal(await connection.command('PING'), 'PONG');
  t.equal(await blocking.command('PING'), 'PONG');
});

t.test('a server that stands still (SIGSTOP)', async (t) => {
  const redis = await startRedis(t);
  const connection = open(t, { url: redis.url, replyTimeoutMs: 300, offlineWaitMs: 200 });
  await connection.ready();
  redis.pause();
  const results = await Promise.all(
    Array.from({ length: 50 }, () => timed(connection.command('INCR', 'n'))),
  );
  t.ok(results.every((r) => r.error instanceof UnknownOutcomeError && r.ms < 3_000));
  redis.resume();
  t.equal(await withRetry(() => connection.command('PING'), { deadlineMs: 10_000 }), 'PONG');
});

t.test('a listener that never speaks, and nobody there at all', async (t) => {
  const server = createServer(() => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  const mute = open(t, {
    url: `redis://127.0.0.1:${address.port}`,
    replyTimeoutMs: 200,
    offlineWaitMs: 300,
  });
  const first = await timed(mute.command('SET', 'a', 'b'));
  t.type(first.error, UnknownOutcomeError);
  t.ok(first.ms < 3_000);
  mute.destroy();
  server.close();

  const nobody = open(t, { url: `redis://127.0.0.1:${address.port}`, offlineWaitMs: 300 });
  const second = await timed(nobody.command('SET', 'a', 'b'));
  t.type(second.error, UnknownOutcomeError);
  t.match((second.error as Error).cause, { message: /not sent: no connection to/ });
  t.ok(second.ms < 3_000);
  await t.rejects(nobody.ready(100), UnknownOutcomeError);
});

t.test('a command that waited in vain is not sent later', async (t) => {
  const redis = await startRedis(t);
  const proxy = await startProxy(t, { socket: redis.socket });
  const connection = open(t, { url: proxy.url, offlineWaitMs: 100 });
  await connection.ready();
  const down = event(connection, 'down');
  proxy.refuse(true);
  proxy.cutNow();
  await down;
  await t.rejects(connection.command('INCR', 'n'), UnknownOutcomeError);
  proxy.refuse(false);
  await connection.ready();
  t.equal(await connection.command('GET', 'n'), null);
});

t.test('restart: reconnects, and goes on', async (t) => {
  const redis = await startRedis(t);
  const connection = open(t, { url: redis.url, offlineWaitMs: 10_000 });
  const second = connection.duplicate({ name: 'second' });
  t.teardown(() => second.destroy());
  await connection.command('SET', 'k', 'v');
  await second.ready();
  for (const how of ['restart', 'kill'] as const) {
    const down = event(connection, 'down');
    if (how === 'kill') await redis.kill();
    const back = redis.restart();
    await down;
    const waiting = connection.command('GET', 'k');
    await back;
    t.equal(await waiting, 'v', `${how}: a command issued meanwhile waits`);
  }
  await second.ready();
  t.equal(await second.command('GET', 'k'), 'v');
});

t.test('a wrong password is told, and nothing is sent', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  await redis.client().config('SET', 'requirepass', 'right');
  const lines: string[] = [];
  const wrong = open(t, {
    url: `redis://:wrong@127.0.0.1:${redis.port}`,
    offlineWaitMs: 300,
    log: (_level, _message, fields) => lines.push(JSON.stringify(fields)),
  });
  const { error } = await timed(wrong.command('PING'));
  t.match(((error as Error).cause as Error).cause, { message: /WRONGPASS/ });
  t.ok(lines.some((line) => line.includes('WRONGPASS')));
  t.notMatch(lines.join(), /:wrong@/);
  const right = open(t, { url: `redis://:right@127.0.0.1:${redis.port}` });
  t.equal(await right.command('PING'), 'PONG');
});

t.test('withRetry', async (t) => {
  class Later extends MillraceError {
    readonly code = 'LATER';
    override readonly retryable = true;
  }
  let calls = 0;
  const fails = (): Promise<never> => {
    calls++;
    return Promise.reject(new Later('later'));
  };
  const seen: number[] = [];
  await t.rejects(
    withRetry(fails, {
      deadlineMs: 200,
      minDelayMs: 10,
      maxDelayMs: 20,
      onRetry: (_e, attempt) => seen.push(attempt),
    }),
    Later,
  );
  t.ok(calls > 1);
  t.equal(seen.length, calls - 1);

  calls = 0;
  const abort = new AbortController();
  const running = withRetry(fails, {
    signal: abort.signal,
    minDelayMs: 60_000,
    maxDelayMs: 60_000,
    onRetry: () => abort.abort(new Error('enough')),
  });
  await t.rejects(running, { message: 'enough' });
  t.equal(calls, 1);

  calls = 0;
  await t.rejects(
    withRetry(() => {
      calls++;
      return Promise.reject(new RedisReplyError('X', 'WRONGTYPE no'));
    }),
    RedisReplyError,
  );
  await t.rejects(
    withRetry(() => {
      calls++;
      return Promise.reject(new TypeError('bug'));
    }),
    TypeError,
  );
  t.equal(calls, 2, 'neither a refusal nor a bug is retried');
  t.equal(
    await withRetry((attempt) => (attempt < 3 ? fails() : Promise.resolve(attempt)), {
      minDelayMs: 1,
    }),
    3,
  );
});

t.test(
  'connections cut at random moments: every command settles, none is executed twice',
  async (t) => {
    const redis = await startRedis(t);
    const proxy = await startProxy(t, { socket: redis.socket });
    const connection = open(t, { url: proxy.url, offlineWaitMs: 5_000 });
    await connection.ready();
    const done = { ok: 0, unknown: 0 };
    for (let round = 0; round < 20; round++) {
      const commands = Array.from({ length: 100 }, () =>
        connection.command('INCR', 'total').then(
          () => done.ok++,
          (error: unknown) => {
            if (error instanceof UnknownOutcomeError) done.unknown++;
            else throw error;
          },
        ),
      );
      setTimeout(() => proxy.cutNow(), Math.random() * 3);
      await Promise.all(commands);
    }
    t.equal(done.ok + done.unknown, 2_000);
    const total = Number(await until('connected', () => redis.client().get('total')));
    t.ok(
      total >= done.ok && total <= 2_000,
      `${total} executed, ${done.ok} confirmed, ${done.unknown} unknown`,
    );
  },
);
