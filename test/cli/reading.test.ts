/**
 * Commands that only look. They need no writes, whatever reason Redis has to refuse writes, and
 * they leave nothing behind.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { registerDlq } from '../../src/cli/commands/dlq.ts';
import { registerExplain } from '../../src/cli/commands/explain.ts';
import { registerFind } from '../../src/cli/commands/find.ts';
import { registerFunctions } from '../../src/cli/commands/functions.ts';
import { registerHistory } from '../../src/cli/commands/history.ts';
import { registerLag } from '../../src/cli/commands/lag.ts';
import { registerLimits } from '../../src/cli/commands/limits.ts';
import { registerLosses } from '../../src/cli/commands/losses.ts';
import { registerOutbox } from '../../src/cli/commands/outbox.ts';
import { registerPublish } from '../../src/cli/commands/publish.ts';
import { registerScheduled } from '../../src/cli/commands/scheduled.ts';
import { registerSchema } from '../../src/cli/commands/schema.ts';
import { registerTail } from '../../src/cli/commands/tail.ts';
import { registerTrace } from '../../src/cli/commands/trace.ts';
import { registerTrend } from '../../src/cli/commands/trend.ts';
import { registerView } from '../../src/cli/commands/view.ts';
import { readLag } from '../../src/lag/lag.ts';
import { noteLoss } from '../../src/lag/losses.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { inProcess, type Register } from '../../scripts/lab/cli-in-process.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { functionsDirOf, openService, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const DATA = { key: 's', number: 1, order: 'ok', filler: new Uint8Array(0) };

/**
 * Every command that only looks, with its arguments. `LETTER` stands for the id of the dead letter.
 */
const READING: readonly (readonly [Register, ...string[]])[] = [
  [registerLag, 'lag'],
  [registerLag, 'lag', '--types'],
  [registerFunctions, 'functions', 'list', '--json'],
  [registerLimits, 'limits', '--json'],
  [registerLimits, 'limits', 'test.event'],
  [registerLosses, 'losses', '--json'],
  [registerOutbox, 'outbox', '--json'],
  [registerScheduled, 'scheduled', 'list', '--json'],
  [registerDlq, 'dlq', 'list', '--json'],
  [registerDlq, 'dlq', 'groups', '--json'],
  [registerDlq, 'dlq', 'show', 'LETTER', '--payload', '--json'],
  [registerDlq, 'dlq', 'purge', '--all', '--dry-run', '--json'],
  [registerDlq, 'dlq', 'replay', '--all', '--dry-run', '--json'],
  [registerHistory, 'history', 'thing', 'a', '--json'],
  [registerExplain, 'explain', 'e1', '--json'],
  [registerExplain, 'explain', '--subject', 's', '--json'],
  [registerFind, 'find', 'type == "test.event"', '--json'],
  [registerFind, 'find', 'data.number == 1'],
  [registerTrace, 'trace', 'e1'],
  [registerTrend, 'trend'],
  [registerTrend, 'trend', 'tally@1'],
  [registerView, 'view', 'get', 'tally', 's'],
  [registerView, 'view', 'list', 'tally'],
  [registerView, 'view', 'count', 'tally'],
  [registerView, 'view', 'status', '--json'],
  [registerTail, 'tail', 'test.event', '--no-follow'],
  [registerSchema, 'schema', 'list', '--json'],
  [registerSchema, 'schema', 'show', 'test.event', '--json'],
  [registerSchema, 'schema', 'check', '--proto', PROTO_DIR, '--json'],
  [registerSchema, 'schema', 'level', '--json'],
  [registerSchema, 'schema', 'diff', 'test.event', '--proto', PROTO_DIR],
];
/** Commands that change something in the deployment. */
const WRITING: readonly (readonly [Register, ...string[]])[] = [
  [registerLimits, 'limits', 'test.event', '--max-events', '7'],
  [registerDlq, 'dlq', 'replay', '--all'],
  [registerDlq, 'dlq', 'purge', '--all', '--yes'],
  [registerScheduled, 'scheduled', 'cancel', 'later'],
  [registerFunctions, 'functions', 'remove', 'tally@1', '--discard'],
  [registerPublish, 'publish', 'test.event', '--data', '{"key":"s","order":"ok"}'],
  [registerSchema, 'schema', 'level', 'test.event', 'NONE'],
];

/** Rights that are enough to look: the first are those of docs/operations.md. */
const READERS = [
  '%R~mr:* +@read +client|setname +time +eval_ro +evalsha_ro',
  '~mr:* +@read +client|setname +time +eval +evalsha',
  '~* &* +@all -@write',
];

interface Refusal {
  readonly name: string;
  readonly begin: (look: Redis, redis: TestRedis) => Promise<unknown>;
  readonly end: (look: Redis, redis: TestRedis) => Promise<unknown>;
  /** Message of a writing command. Default: the name. */
  readonly said?: RegExp;
}
const REFUSALS: readonly Refusal[] = [
  {
    name: 'NOREPLICAS',
    begin: (look) => look.config('SET', 'min-replicas-to-write', '1'),
    end: (look) => look.config('SET', 'min-replicas-to-write', '0'),
  },
  {
    name: 'OOM',
    begin: (look) => look.config('SET', 'maxmemory', '1'),
    end: (look) => look.config('SET', 'maxmemory', '0'),
  },
  {
    name: 'MISCONF',
    async begin(look, redis) {
      mkdirSync(join(redis.dir, 'dump.rdb'));
      await look.config('SET', 'save', '3600 1');
      await look.bgsave().catch(() => undefined);
      await until('a snapshot has failed', async () =>
        (await look.info('persistence')).includes('rdb_last_bgsave_status:err'),
      );
    },
    async end(look, redis) {
      await look.config('SET', 'save', '');
      rmdirSync(join(redis.dir, 'dump.rdb'));
    },
  },
  {
    name: 'READONLY',
    begin: (look) => look.replicaof('127.0.0.1', 1),
    end: (look) => look.replicaof('NO', 'ONE'),
    said: /READONLY|is a replica and takes no writes/,
  },
];

/**
 * Fills a deployment with one of everything that the commands look at. These are settled events, a
 * scheduled event, a history, limits, a loss, a dead letter and an entry of a foreign producer.
 * @returns the id of the dead letter
 */
async function fill(t: TestLike, url: string, look: Redis): Promise<string> {
  const service = await openService(t, url, 2);
  const { connection, keys } = service.deployment;
  const dispatcher = service.dispatcher({ functionsDir: functionsDirOf('tally') });
  await dispatcher.start();
  const publisher = service.publisher();
  await publisher.publishMany(
    ['e1', 'e2'].map((id, number) => ({ type: 'test.event', id, data: { ...DATA, number } })),
  );
  await publisher.publish(
    'test.other',
    { ...DATA, key: 'later' },
    { id: 'later', delayMs: 3_600_000 },
  );
  await service
    .store()
    .append('thing', 'a', [{ type: 'test.event', data: { ...DATA, key: 'a' } }], {
      expectedRevision: 'no-stream',
    });
  await setTypeLimits(service.deployment, 'test.event', { maxEvents: 1000 });
  await noteLoss(connection, keys, 0, {
    kind: 'entries',
    type: 'test.event',
    from: '1-0',
    to: '2-0',
    count: 3,
    message: 'gone',
  });
  await until('all is settled', async () =>
    (await readLag(service.deployment)).functions.every(
      (fn) => fn.appended > 0 && fn.lag + fn.pending === 0,
    ),
  );
  await dispatcher.stop();
  await look.xadd(
    'mr:{0}:dead:tally@1',
    '*',
    'kind',
    'event',
    'event',
    Buffer.from([10, 1, 120]),
    'type',
    'test.event',
    'partition',
    '0',
    'entry',
    '1-0',
    'id',
    'x',
    'subject',
    's',
    'reason',
    'attempts',
    'events',
    '1',
  );
  await look.hset('mr:{0}:counters', 'dead:tally@1:test.event', 1);
  // An entry of a foreign producer, which no dispatcher has adopted yet.
  await look.xadd('mr:{1}:events:test.event', '*', 'b', Buffer.from([10, 0]));
  return `tally@1/0/${((await look.xrange('mr:{0}:dead:tally@1', '-', '+'))[0] as [string, string[]])[0]}`;
}

t.test(
  'commands that look work while Redis refuses writes; those that write say why, at once',
  async (t) => {
    const redis = await startRedis(t, { tcp: true });
    const look = redis.client();
    const letter = await fill(t, redis.url, look);

    const run = async (
      url: string,
      [register, ...args]: readonly [Register, ...string[]],
    ): ReturnType<ReturnType<typeof inProcess>> =>
      inProcess(
        register,
        { REDIS_URL: url },
        PROTO_DIR,
      )(...args.map((arg) => (arg === 'LETTER' ? letter : arg)));
    const stable = (text: string): string =>
      text
        .replace(/"(oldestMs|ageMs|sinceMs|behindMs|nowMs)":[\d.]+/g, '"$1":0')
        .replace(/ +\d[\d.]* (ms|s|min|h)\b/g, ' - s')
        // The width of a column follows its longest duration.
        .replace(/ +/g, ' ');
    const before = await dump(look);
    const expected = new Map<string, string>();
    for (const command of READING) {
      const { out, error } = await run(redis.url, command);
      t.equal(error, null, command.slice(1).join(' '));
      expected.set(command.slice(1).join(' '), stable(out));
    }
    t.match(expected.get('lag --types'), /test\.event/);

    for (const { name, begin, end, said } of REFUSALS) {
      await t.test(name, async (t) => {
        await begin(look, redis);
        try {
          for (const command of READING) {
            const { out, error } = await run(redis.url, command);
            t.equal(error, null, command.slice(1).join(' '));
            t.equal(
              stable(out),
              expected.get(command.slice(1).join(' ')),
              command.slice(1).join(' '),
            );
          }
          // Under OOM Redis still allows commands that free memory.
          for (const command of name === 'OOM' ? [] : WRITING) {
            const { error } = await run(redis.url, command);
            t.match(
              (error as Error | null)?.message,
              said ?? new RegExp(name),
              command.slice(1).join(' '),
            );
          }
        } finally {
          await end(look, redis);
        }
      });
    }
    for (const rights of READERS) {
      await t.test(`a user that may only read: ${rights}`, async (t) => {
        await look.call('ACL', 'SETUSER', 'looker', 'reset', 'on', '>pw', ...rights.split(' '));
        const url = redis.tcpUrl.replace('redis://', 'redis://looker:pw@');
        for (const command of READING) {
          const { out, error } = await run(url, command);
          t.equal(error, null, command.slice(1).join(' '));
          t.equal(
            stable(out),
            expected.get(command.slice(1).join(' ')),
            command.slice(1).join(' '),
          );
        }
        for (const command of WRITING) {
          const { error } = await run(url, command);
          t.match(
            (error as Error | null)?.message,
            /NOPERM|can't run this command/,
            command.slice(1).join(' '),
          );
        }
      });
    }
    t.strictSame(await dump(look), before, 'nothing has changed by all that');
  },
);

t.test(
  'commands that look leave an empty namespace empty, and say that nothing is there',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    for (const [register, ...args] of READING) {
      if (args[0] === 'schema') continue;
      await inProcess(register, { REDIS_URL: redis.url }, PROTO_DIR)(...args);
      t.strictSame(await look.keys('*'), [], args.join(' '));
    }
    const service = await openService(t, redis.url, 3);
    t.equal(service.deployment.partitions, 3, 'the first one that publishes or consumes decides');
  },
);
