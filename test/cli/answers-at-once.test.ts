/**
 * A command on a server that cannot serve it answers with the reason and the cure. It does not wait
 * for the server, whatever the fault and whatever the command.
 */
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { registerLag } from '../../src/cli/commands/lag.ts';
import { registerAlerts } from '../../src/cli/commands/alerts.ts';
import { registerDlq } from '../../src/cli/commands/dlq.ts';
import { registerScheduled } from '../../src/cli/commands/scheduled.ts';
import { registerSchema } from '../../src/cli/commands/schema.ts';
import { registerLimits } from '../../src/cli/commands/limits.ts';
import { registerPublish } from '../../src/cli/commands/publish.ts';
import { ConnectionSetupError } from '../../src/core/errors/server-errors.ts';
import { inspectServer, serverRefusals } from '../../src/redis/capability.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { withRetry } from '../../src/redis/retry.ts';
import { inProcess, type Register } from '../../scripts/lab/cli-in-process.ts';
import { openService, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { freePort, startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { createProject } from './run-cli.ts';

const COMMANDS: readonly (readonly [Register, ...string[]])[] = [
  [registerLag, 'lag'],
  [registerLimits, 'limits', 'test.event', '--max-events', '7'],
  [registerPublish, 'publish', 'test.event', '--data', '{"key":"s","order":"ok"}'],
];

/** Far below the time that commands wait for a server that may come back: 15 s and more. */
const AT_ONCE_MS = 4000;

interface Place {
  readonly name: string;
  /** Makes the server, and returns its address. */
  open(t: Test): Promise<string>;
  /** Text of the answer, with its cure. */
  readonly said: RegExp;
}

async function server(t: Test, prepare: (redis: TestRedis) => unknown): Promise<TestRedis> {
  const redis = await startRedis(t, { tcp: true });
  await openService(t, redis.url, 4);
  await prepare(redis);
  return redis;
}

const PLACES: readonly Place[] = [
  {
    name: 'nobody listens',
    open: async () => `redis://127.0.0.1:${await freePort()}`,
    said: /cannot be reached: connect ECONNREFUSED .*Check that the server runs/s,
  },
  {
    name: 'a name with several addresses, and nobody listens',
    open: async () => `redis://localhost:${await freePort()}`,
    said: /cannot be reached: .*ECONNREFUSED .*Check that the server runs/s,
  },
  {
    name: 'no socket',
    open: () => Promise.resolve('unix:/nowhere/redis.sock'),
    said: /cannot be reached: connect ENOENT .*Check that the server runs/s,
  },
  {
    name: 'the connection is closed at once',
    async open(t) {
      const closer = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => closer.listen(0, '127.0.0.1', resolve));
      t.teardown(() => closer.close());
      return `redis://127.0.0.1:${(closer.address() as AddressInfo).port}`;
    },
    said: /cannot be reached: .*Check that the server runs/s,
  },
  {
    name: 'a wrong password',
    async open(t) {
      const redis = await server(t, (one) => one.client().call('ACL', 'SETUSER', 'u', 'on', '>pw'));
      return redis.tcpUrl.replace('redis://', 'redis://u:no@');
    },
    said: /WRONGPASS[^.]*[^.]\. Check the user name and the password in REDIS_URL/s,
  },
  {
    name: 'no password',
    async open(t) {
      const redis = await server(t, () => undefined);
      await redis.client().config('SET', 'requirepass', 'pw');
      return redis.tcpUrl;
    },
    said: /NOAUTH(?!.*setname).*[^.]\. The server wants a password, and REDIS_URL has none/s,
  },
  {
    name: 'a server that loads its data',
    async open(t) {
      const loading = createServer((socket) => {
        socket.on('error', () => {});
        socket.on('data', (bytes) => {
          const calls = (bytes.toString('latin1').match(/^\*/gm) ?? []).length;
          socket.write('-LOADING Redis is loading the dataset in memory\r\n'.repeat(calls));
        });
      });
      await new Promise<void>((resolve) => loading.listen(0, '127.0.0.1', resolve));
      t.teardown(() => loading.close());
      return `redis://127.0.0.1:${(loading.address() as AddressInfo).port}`;
    },
    said: /LOADING/,
  },
];

for (const { name, open, said } of PLACES) {
  t.test(name, async (t) => {
    const url = await open(t);
    for (const [register, ...args] of COMMANDS) {
      const command = inProcess(register, { REDIS_URL: url }, PROTO_DIR)(...args);
      const ran = await inTime(command, args.join(' '));
      t.match((ran.error as Error | null)?.message, said, args.join(' '));
    }
  });
}

/** @throws Error where the command is late */
async function inTime<T>(command: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} has not answered for ${AT_ONCE_MS} ms`)),
      AT_ONCE_MS,
    );
  });
  try {
    return await Promise.race([command, late]);
  } finally {
    clearTimeout(timer);
  }
}

t.test(
  'a replica: commands that write say so, those that look say it behind their answer',
  async (t) => {
    const redis = await server(t, async (one) => one.client().replicaof('127.0.0.1', 1));
    const [lag, ...writing] = COMMANDS as readonly [(typeof COMMANDS)[number], ...typeof COMMANDS];
    for (const [register, ...args] of writing) {
      const command = inProcess(register, { REDIS_URL: redis.tcpUrl }, PROTO_DIR)(...args);
      const { error } = await inTime(command, args.join(' '));
      t.match((error as Error | null)?.message, /READONLY|is a replica/, args.join(' '));
      t.match((error as Error | null)?.message, /master/, 'with the cure');
    }
    const project = createProject(t, redis.tcpUrl);
    const { status, stderr } = await project.run(lag.slice(1) as string[]);
    t.equal(status, 0);
    t.match(
      stderr,
      /^millrace: redis:.* takes no writes now: READONLY\. Lead the address in REDIS_URL to the master$/m,
    );
  },
);

t.test('full memory: a command that writes says so, or has freed memory', async (t) => {
  const redis = await server(t, async (one) => {
    await one.client().config('SET', 'maxmemory', '1');
  });
  const dir = t.testdir({ 'events.ndjson': '{"type":"test.event","data":{"key":"s"}}\n' });
  const writing: readonly (readonly [Register, ...string[]])[] = [
    [registerPublish, 'publish', 'test.event', '--data', '{"key":"s","order":"ok"}'],
    [registerPublish, 'publish', '--file', join(dir, 'events.ndjson'), '--deadline', '1000'],
    [registerLimits, 'limits', 'test.event', '--max-events', '7'],
    [registerAlerts, 'alerts', 'silence', 'oldest-event', '--for', '1h'],
    [registerSchema, 'schema', 'level', 'test.event', 'NONE'],
    [registerDlq, 'dlq', 'replay', '--all'],
    [registerDlq, 'dlq', 'purge', '--all', '--yes'],
    [registerScheduled, 'scheduled', 'cancel', 'later'],
  ];
  for (const [register, ...args] of writing) {
    const command = inProcess(register, { REDIS_URL: redis.tcpUrl }, PROTO_DIR)(...args);
    const { error } = await inTime(command, args.join(' '));
    const refused = (error as Error | null)?.message ?? '';
    t.comment(args.join(' '), refused);
    if (register === registerPublish || refused.includes('OOM'))
      t.match(refused, /OOM.*maxmemory/s, `${args.join(' ')}: with the cure`);
  }
});

t.test('INFO tells of refusals before a command meets them', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.close());
  const codes = async () => serverRefusals(await inspectServer(connection)).map(({ code }) => code);
  t.strictSame(await codes(), []);
  await look.config('SET', 'maxmemory', '1');
  t.strictSame(await codes(), ['writes-oom']);
  await look.config('SET', 'maxmemory', '0');
  t.strictSame(await codes(), []);
});

t.test('a frozen server: the answer comes within the time for a connection', async (t) => {
  const redis = await server(t, (one) => one.pause());
  t.teardown(() => redis.resume());
  const { error } = await inProcess(registerLag, { REDIS_URL: redis.tcpUrl }, PROTO_DIR)('lag');
  t.match(
    (error as Error | null)?.message,
    /cannot be reached: the server has not answered the first commands .*Check that/s,
  );
});

t.test('TLS to a port without it: the error names TLS', async (t) => {
  const url = (await server(t, () => undefined)).tcpUrl.replace('redis://', 'rediss://');
  const { error } = await inProcess(registerLag, { REDIS_URL: url }, PROTO_DIR)('lag');
  t.match(
    (error as Error | null)?.message,
    /cannot be reached: .*REDIS_URL asks for TLS \(rediss:\/\/\)/s,
  );
});

t.test(
  'a service waits for a server that is about to come, a demotion ends no call of it',
  async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const fast = openConnection({ url: redis.tcpUrl, failFast: 'refused' });
    const patient = openConnection({ url: redis.tcpUrl });
    t.teardown(() => Promise.all([fast.close(), patient.close()]));
    await Promise.all([fast.ready(), patient.ready()]);
    await redis.client().replicaof('127.0.0.1', 1);
    const set = (connection: typeof fast) =>
      withRetry(() => connection.command('SET', 'k', 'v'), { deadlineMs: 30_000 });
    const waiting = set(patient);
    await t.rejects(set(fast), ConnectionSetupError, 'the address still leads to the replica');
    await redis.client().replicaof('NO', 'ONE');
    t.equal(await waiting, 'OK');
  },
);
