import { createServer } from 'node:net';
import { pino } from 'pino';
import t from 'tap';
import { connect } from '../../src/index.ts';
import { ConnectionSetupError, UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { packageVersion } from '../../src/core/package-info.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { withRetry } from '../../src/redis/retry.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

function open(t: TestLike, url: string, name = 'setup'): RedisConnection {
  const connection = openConnection({ url, name, offlineWaitMs: 200 });
  t.teardown(() => connection.destroy());
  return connection;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

t.test('a refused step refuses the connection, and is named', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const admin = redis.client();
  await admin.call('ACL', 'SETUSER', 'nameless', 'on', '>pw', '~*', '&*', '+@all', '-client');
  await admin.call('ACL', 'SETUSER', 'still', 'on', '>pw', '~*', '&*', '+@all', '-select');
  const at = `127.0.0.1:${redis.port}`;
  const table: readonly [string, string, RegExp][] = [
    [`redis://${at}/99`, 'SELECT 99', /DB index is out of range.*database 99/],
    [`redis://${at}/16`, 'SELECT 16', /out of range/],
    [`unix:${redis.socket}?db=77`, 'SELECT 77', /out of range/],
    [`redis://:wrong@${at}`, 'AUTH', /AUTH/],
    [`redis://nobody:wrong@${at}`, 'AUTH', /WRONGPASS/],
    [`redis://still:pw@${at}/1`, 'SELECT 1', /NOPERM/],
    [`redis://nameless:pw@${at}`, 'CLIENT SETNAME', /NOPERM.*client\|setname/],
  ];
  for (const [url, step, message] of table) {
    const connection = open(t, url);
    const error = await failure(connection.ready(20_000));
    t.type(error, ConnectionSetupError, `${url}: at once: ${String(error)}`);
    t.match(error, { step, message, retryable: false }, url);
    const sent = await failure(connection.command('SET', 'k', 'v'));
    t.type(sent, UnknownOutcomeError, `${url}: nothing is sent`);
    connection.destroy();
  }
  t.equal(await admin.dbsize(), 0, 'nothing is in database 0');
});

/** Finds the refused step among the causes. */
function rootOf(error: unknown): unknown {
  for (let at = error; at instanceof Error; at = at.cause)
    if (at instanceof ConnectionSetupError) return at;
  return error;
}

t.test('on every reconnect, too', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  const admin = redis.client();
  await admin.call('ACL', 'SETUSER', 'u', 'on', '>pw', '~*', '&*', '+@all');
  const connection = open(t, `redis://u:pw@127.0.0.1:${redis.port}/3`);
  await connection.command('SET', 'k', 'before');
  const steps: readonly [string, string[], string[]][] = [
    ['SELECT 3', ['-select'], ['+select']],
    ['AUTH', ['<pw', '>other'], ['<other', '>pw']],
    ['CLIENT SETNAME', ['-client'], ['+client']],
  ];
  for (const [step, away, back] of steps) {
    await admin.call('ACL', 'SETUSER', 'u', ...away);
    const down = new Promise<void>((resolve) => connection.on('down', resolve));
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await down;
    const error = await until(`${step} is refused`, async () => {
      const found = rootOf(await failure(connection.command('SET', 'k', step)));
      return found instanceof ConnectionSetupError ? found : null;
    });
    t.equal(error.step, step);
    await admin.call('ACL', 'SETUSER', 'u', ...back);
    t.equal(
      await withRetry(() => connection.command('GET', 'k'), { deadlineMs: 15_000 }),
      'before',
      'and when it is granted again it goes on, in its database',
    );
  }
  t.equal(await admin.dbsize(), 0, 'nothing is in database 0');
});

t.test('connect() says it, too', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  for (const url of [`redis://127.0.0.1:${redis.port}/99`, `unix:${redis.socket}?db=99`]) {
    const error = await failure(
      connect({
        environment: { REDIS_URL: url },
        protoDir: null,
        logger: pino({ level: 'silent' }),
      }),
    );
    t.match(error, { code: 'CONNECTION_SETUP', step: 'SELECT 99' });
  }
  t.equal(await redis.client().dbsize(), 0);
});

t.test('what could not be connected says that nothing was executed', async (t) => {
  const redis = await startRedis(t, { tcp: true });
  await redis.kill();
  const error = await failure(open(t, redis.tcpUrl).ready(100));
  t.match(error, {
    code: 'UNKNOWN_OUTCOME',
    outcomeUnknown: false,
    message: /connect was not sent to Redis: .*Nothing was executed/,
  });
});

t.test('a connection has a name and a library, where the server knows of that', async (t) => {
  const told: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      // One command for each array.
      for (const command of bytes
        .toString('latin1')
        .split(/^\*\d+\r\n/m)
        .slice(1)) {
        const words = command.split('\r\n').filter((_, i) => i % 2 === 1);
        told.push(words.join(' '));
        socket.write(
          words[0]?.toUpperCase() === 'CLIENT' ? "-ERR unknown command 'CLIENT'\r\n" : '+PONG\r\n',
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const connection = open(t, `redis://127.0.0.1:${port}`, 'a name');
  t.equal(await connection.command('PING'), 'PONG', 'a proxy without CLIENT serves all the same');
  const sent = told.map((line) => line.replace(/^client/i, 'CLIENT'));
  t.ok(sent.includes('CLIENT SETNAME a-name'), sent.join(', '));
  t.ok(sent.includes('CLIENT SETINFO LIB-NAME millrace'));
  t.ok(sent.includes(`CLIENT SETINFO LIB-VER ${packageVersion()}`));
});

t.test('connect() cut off in the middle of looking at the server', async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      if (text.includes('INFO')) {
        server.close();
        socket.resetAndDestroy();
      } else socket.write('+OK\r\n'.repeat((text.match(/^\*/gm) ?? []).length));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `redis://127.0.0.1:${(server.address() as { port: number }).port}`;
  const error = await failure(
    connect({ environment: { REDIS_URL: url }, protoDir: null, logger: pino({ level: 'silent' }) }),
  );
  t.match(error, { code: 'SERVER_UNREACHABLE', outcomeUnknown: false });
  t.notMatch((error as Error).message, /may or may not/);
});
