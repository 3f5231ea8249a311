/** functions, limits, losses, scheduled: their output and their changes, without a process each. */
import { Command, CommanderError } from 'commander';
import t, { type Test } from 'tap';
import { registerDlq } from '../../src/cli/commands/dlq.ts';
import { registerFunctions } from '../../src/cli/commands/functions.ts';
import { registerLag } from '../../src/cli/commands/lag.ts';
import { registerLimits } from '../../src/cli/commands/limits.ts';
import { registerLosses } from '../../src/cli/commands/losses.ts';
import { registerScheduled } from '../../src/cli/commands/scheduled.ts';
import type { LongRunningContext } from '../../src/cli/context.ts';
import { UsageError } from '../../src/cli/exit-status.ts';
import { adoptForeign } from '../../src/lag/adopt.ts';
import type { Millrace } from '../../src/millrace.ts';
import { FunctionHasEventsError } from '../../src/upkeep/remove-function.ts';
import { events, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, parseLines } from './run-cli.ts';

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly failed: boolean;
  readonly error: unknown;
}

function cli(millrace: Millrace): (...args: string[]) => Promise<Ran> {
  const { signal } = new AbortController();
  return async (...args) => {
    const ran = { out: '', err: '', failed: false, error: null as unknown };
    const context: LongRunningContext = {
      open: () => Promise.resolve(millrace.deployment),
      environment: () => millrace.deployment.environment,
      out: (text) => void (ran.out += `${text}\n`),
      err: (text) => void (ran.err += `${text}\n`),
      takeStop: () => ({ first: signal, second: signal, reason: null }),
      screen: () => null,
      fail: () => void (ran.failed = true),
    };
    const program = new Command()
      .exitOverride()
      .configureOutput({ writeErr: () => {}, writeOut: () => {} });
    for (const register of [
      registerDlq,
      registerFunctions,
      registerLag,
      registerLimits,
      registerLosses,
      registerScheduled,
    ])
      register(program, context);
    ran.error = await program.parseAsync(['node', 'millrace', ...args]).then(
      () => null,
      (error: unknown) => error,
    );
    return ran;
  };
}

/** Opens a service of two partitions, and the commands on its deployment. */
async function openBench(t: Test) {
  const redis = await startRedis(t);
  const millrace = await openService(t, redis.url, 2);
  const { connection, keys } = millrace.deployment;
  const bed: Bed = { redis, connection, keys, partitions: 2 };
  const run = cli(millrace);
  /** Runs a command that must not fail with an error. */
  const ok = async (...args: string[]): Promise<Ran> => {
    const ran = await run(...args);
    t.equal(ran.error, null, args.join(' '));
    return ran;
  };
  return { redis, millrace, bed, run, ok };
}

t.test('functions, limits, losses, scheduled', async (t) => {
  const { redis, millrace, bed, run, ok } = await openBench(t);
  const { connection, keys } = bed;

  await t.test('an empty deployment: each says so, and --json prints nothing', async (t) => {
    for (const [args, said] of [
      [['functions', 'list'], /no function is registered/],
      [['limits'], /no type has limits/],
      [['losses'], /nothing is known to be lost/],
      [['scheduled', 'list'], /no event waits for its time/],
    ] as const) {
      const { out, err, failed } = await ok(...args);
      t.match({ out, failed }, { out: '', failed: false }, args.join(' '));
      t.match(err, said);
      t.equal((await ok(...args, '--json')).out, args[0] === 'limits' ? '{}\n' : '');
    }
  });

  const before = await dump(redis.client());
  await t.test('wrong use is an error, and changes nothing', async (t) => {
    for (const args of [
      ['limits', 'test.event', '--max-age', '10'],
      ['limits', 'test.event', '--max-age', '5ms'],
      ['limits', 'test.event', '--max-events', '-1'],
      ['limits', 'test.event', '--max-backlog', '0'],
      ['limits', '--max-events', '5'],
      ['limits', '--unset'],
      ['limits', 'test.event', '--unset', '--max-events', '5'],
      ['limits', 'No Name', '--max-events', '5'],
      ['limits', 'a:b'],
      ['functions'],
      ['functions', 'remove'],
      ['scheduled', 'cancel'],
      ['scheduled', 'list', '--limit', '0'],
      ['losses', 'x'],
    ]) {
      const { error } = await run(...args);
      t.ok(
        error instanceof UsageError || error instanceof CommanderError,
        `${args.join(' ')}: ${String(error)}`,
      );
    }
    t.strictSame(await dump(redis.client()), before, 'wrong use changes nothing');
  });

  await t.test('names that nobody knows are errors, never empty answers', async (t) => {
    await redis
      .client()
      .hset(keys.counters(0), 'types:known', 'test.event', 'ordering:known', 'key');
    const set = await dump(redis.client());
    for (const [args, code] of [
      [['dlq', 'replay', 'knwon/0/1-1'], 'UNKNOWN_FUNCTION'],
      [['dlq', 'purge', 'knwon/0/1-1', '--yes'], 'UNKNOWN_FUNCTION'],
      [['dlq', 'show', 'known/0/1-1'], 'DEAD_LETTER_NOT_FOUND'],
      [['dlq', 'replay', '--function', 'knwon'], 'UNKNOWN_FUNCTION'],
      [['dlq', 'list', '--function', 'knwon'], 'UNKNOWN_FUNCTION'],
      [['lag', '--function', 'knwon'], 'UNKNOWN_FUNCTION'],
      [['dlq', 'list', '--type', 'test.evnet'], 'UNKNOWN_EVENT_TYPE'],
      [['dlq', 'replay', '--type', 'test.evnet'], 'UNKNOWN_EVENT_TYPE'],
      [['dlq', 'purge', '--type', 'test.evnet', '--yes'], 'UNKNOWN_EVENT_TYPE'],
    ] as const) {
      const { error, out } = await run(...args);
      t.match(error, { code }, args.join(' '));
      t.equal(out, '');
      if (code.startsWith('UNKNOWN'))
        t.match(error, { message: /did you mean "(known|test\.event)"\?/ }, args.join(' '));
    }
    for (const args of [
      ['dlq', 'replay', 'known/0/1-1'],
      ['dlq', 'purge', 'known/0/1-1', '--yes'],
      ['dlq', 'replay', 'known/0/1-1', '--json'],
    ]) {
      const { failed, err } = await run(...args);
      t.ok(failed, `${args.join(' ')}: a letter that is not there fails`);
      t.match(err, /1 named letter is not there/);
    }
    t.strictSame(await dump(redis.client()), set, 'nothing has changed');
    await redis.client().hdel(keys.counters(0), 'types:known', 'ordering:known');
  });

  await t.test('limits of a misspelt type are refused, with the type that was meant', async (t) => {
    for (const args of [['--max-age', '7d'], ['--unset'], []]) {
      const { error } = await run('limits', 'test.evnet', ...args);
      t.match(
        error,
        { code: 'UNKNOWN_EVENT_TYPE', message: /did you mean "test\.event"\?/ },
        args.join(' '),
      );
    }
    t.strictSame(await dump(redis.client()), before, 'nothing was set');
  });

  await t.test('limits: set one by one, shown, taken away', async (t) => {
    await ok('limits', 'test.event', '--max-age', '7d', '--max-backlog', '1000');
    t.strictSame(
      JSON.parse((await ok('limits', 'test.event', '--max-events', '50000', '--json')).out),
      { 'test.event': { maxAgeMs: 604_800_000, maxBacklog: 1000, maxEvents: 50_000 } },
      'those not named stay',
    );
    await ok('limits', 'test.other', '--max-age', '90s');
    t.match(
      (await ok('limits')).out,
      /^test\.event +7 d +50,000 +1,000\ntest\.other +90\.0 s +- +-$/m,
    );
    t.strictSame(JSON.parse((await ok('limits', 'test.event', '--unset', '--json')).out), {});
    t.match((await ok('limits', '--json')).out, /^\{"test\.other":\{"maxAgeMs":90000\}\}$/m);
  });

  await t.test('functions: what each holds; removal refused, discarded, gone', async (t) => {
    const lane = await startLane(bed, specOf('old', ['test.event']), 0);
    await startLane(bed, specOf('kept', ['test.event', 'test.other']), 0);
    await publish(bed, 0, { 'test.event': [{ id: 'bad\u001b[31m', subject: 'x' }, ...events(2)] });
    await lane.drain(({ subject }) => (subject === 'x' ? 'dead' : 'done'));
    t.strictSame(parseLines((await ok('functions', 'list', '--json')).out), [
      {
        name: 'kept',
        types: ['test.event', 'test.other'],
        lag: 3,
        parked: 0,
        dead: 0,
        purged: 0,
        pending: 0,
      },
      { name: 'old', types: ['test.event'], lag: 0, parked: 0, dead: 1, purged: 0, pending: 0 },
    ]);
    t.match((await ok('functions', 'list')).out, /^old +test\.event +0 +0 +1 +0 +0$/m);
    t.match((await run('functions', 'remove', 'old')).error, { code: 'FUNCTION_IN_USE' });
    await connection.command('DEL', keys.lease(0, 'old'));
    t.type((await run('functions', 'remove', 'old')).error, FunctionHasEventsError);
    t.strictSame(JSON.parse((await ok('functions', 'remove', 'old', '--discard', '--json')).out), {
      function: 'old',
      parkedUnits: 0,
      deadLetters: 1,
      pendingEntries: 0,
    });
    t.match((await run('functions', 'remove', 'old')).error, { code: 'UNKNOWN_FUNCTION' });
  });

  await t.test('losses: where, what and how much', async (t) => {
    const ids = [
      await publish(bed, 1, { 'test.event': events(1) }),
      await publish(bed, 1, { 'test.event': events(1) }),
      await publish(bed, 1, { 'test.event': events(1) }),
    ];
    await connection.command('XDEL', keys.events(1, 'test.event'), ids[1] as string);
    await adoptForeign(connection, keys, 1, 'test.event');
    t.match(parseLines((await ok('losses', '--json')).out), [
      {
        id: /^1\/\d+-\d+$/,
        at: /^\d{4}-/,
        partition: 1,
        kind: 'entries',
        type: 'test.event',
        from: ids[0],
        to: ids[2],
        count: 1,
      },
    ]);
    t.match(
      (await ok('losses')).out,
      new RegExp(`^\\d{4}-\\S+ +entries +test\\.event +1 +1 +${ids[0]} +${ids[2]}$`, 'm'),
    );
  });

  await t.test('scheduled: soonest first, printable, cancelled once', async (t) => {
    const data = { key: 'k\u001b[2J', number: 1, order: 'ok', filler: new Uint8Array(0) };
    await millrace.publisher().publishMany([
      { type: 'test.event', id: 'later', data, delayMs: 7_200_000 },
      { type: 'test.event', id: 'sooner', data, deliverAt: Date.now() + 3_600_000 },
    ]);
    t.match(parseLines((await ok('scheduled', 'list', '--json')).out), [
      { id: 'sooner', type: 'test.event', subject: data.key, due: /^\d{4}-/ },
      { id: 'later' },
    ]);
    t.equal(parseLines((await ok('scheduled', 'list', '--json', '--limit', '1')).out).length, 1);
    const { out } = await ok('scheduled', 'list');
    t.match(out, /sooner +test\.event +k +/);
    t.notMatch(out, /\u001b/);
    const first = await ok('scheduled', 'cancel', 'later', 'nobody', '--json');
    t.match(first, {
      failed: true,
      out: '{"id":"later","cancelled":true}\n{"id":"nobody","cancelled":false}\n',
      err: /not scheduled, cancelled before, or appended already: nobody/,
    });
    t.match(await ok('scheduled', 'cancel', 'sooner'), {
      failed: false,
      out: '1 event cancelled\n',
    });
  });

  await t.test('limits as a process of its own', async (t) => {
    const project = createProject(t, redis.url);
    const { status, stdout } = await project.run(['limits', '--json'], {
      env: { MILLRACE_PARTITIONS: '2' },
    });
    t.match(
      { status, stdout },
      { status: 0, stdout: '{"test.other":{"maxAgeMs":90000}}\n' },
      'as a process',
    );
  });
});
