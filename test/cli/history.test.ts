/** `millrace history`: its output, without a process. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import t, { type Test } from 'tap';
import { registerHistory } from '../../src/cli/commands/history.ts';
import type { CliContext } from '../../src/cli/context.ts';
import { UsageError } from '../../src/cli/exit-status.ts';
import type { Millrace } from '../../src/millrace.ts';
import { handleCommand } from '../../src/store/handle-command.ts';
import { orders } from '../../workers/_orders.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, openShop } from '../store/open-store.ts';
import { parseLines } from './run-cli.ts';
import { until, moreThan } from '../../scripts/lab/until.ts';

interface Ran {
  out: string;
  err: string;
  error: Error | null;
}

/** Returns a function that runs `millrace history` with the given arguments. */
function historyOf(millrace: Millrace): (...args: string[]) => Promise<Ran> {
  return async (...args) => {
    const ran: Ran = { out: '', err: '', error: null };
    const context: CliContext = {
      open: () => Promise.resolve(millrace.deployment),
      out: (text) => void (ran.out += `${text}\n`),
      err: (text) => void (ran.err += `${text}\n`),
    };
    const program = new Command()
      .exitOverride()
      .configureOutput({ writeErr: () => {}, writeOut: () => {} });
    registerHistory(program, context);
    await program
      .parseAsync(['node', 'millrace', 'history', ...args])
      .catch((error: Error) => (ran.error = error));
    return ran;
  };
}

/** Makes the history of order A-1: created, paid, and cancelled at a later time. */
async function makeHistory(t: Test) {
  const redis = await startRedis(t);
  const millrace = await openShop(t, redis.url, 4);
  const store = millrace.store();
  const look = redis.client();
  const items = [{ sku: 'A', description: '\u001b[31mred', quantity: 2, unitPrice: 300 }];
  await handleCommand(
    store,
    orders,
    'A-1',
    { kind: 'create', userId: 'ann', country: 'Norway', currency: 'EUR', items },
    { extensions: { actor: 'ann', why: 'needs it' }, commandId: 'c1' },
  );
  const { revision } = await handleCommand(store, orders, 'A-1', {
    kind: 'pay',
    paymentId: 'p1',
    amount: { amount: 600, currency: 'EUR' },
  });
  const [, paid] = await collect(store.read('order', 'A-1'));
  const paidMs = Number(paid?.position.split('/')[1]?.split('-')[0]);
  await until('the clock has moved on', async () =>
    moreThan(
      Number(
        await look.eval(
          "local t = redis.call('TIME'); return t[1] * 1000 + math.floor(t[2] / 1000)",
          0,
        ),
      ),
      paidMs,
    ),
  );
  await handleCommand(
    store,
    orders,
    'A-1',
    { kind: 'cancel', reason: 'late' },
    { expectedRevision: revision, extensions: { actor: 'bob' } },
  );
  return { run: historyOf(millrace), paid, paidMs };
}

t.test('history', async (t) => {
  const { run, paid, paidMs } = await makeHistory(t);

  await t.test('the events, for people and as JSON', async (t) => {
    const all = await run('order', 'A-1');
    t.match(
      all.out,
      /^1 {2}\d{4}-\S+ {2}order\.created {2}by millrace {2}actor=ann {2}why=needs it {2}commandid=c1 {2}\(\S+ at \S+\)\n {3}\{"orderId":"A-1"/,
    );
    t.match(all.out, /\n3 .*order\.cancelled.*actor=bob/);
    t.notMatch(all.out, /\u001b/);
    const json = parseLines(
      (await run('order', 'A-1', '--json', '--backwards', '--limit', '2')).out,
    );
    t.match(json, [
      {
        specversion: '1.0',
        type: 'order.cancelled',
        subject: 'A-1',
        actor: 'bob',
        revision: 3,
        data: { reason: 'late' },
      },
      { type: 'payment.captured', revision: 2, position: paid?.position },
    ]);
    t.equal(json.length, 2);
  });

  await t.test('the events as they were, at a revision or a time', async (t) => {
    const at = async (when: string, ...more: string[]) =>
      parseLines((await run('order', 'A-1', '--json', '--at', when, ...more)).out).map(
        (line) => line['revision'],
      );
    t.strictSame(await at('2'), [1, 2]);
    t.strictSame(await at('2', '--backwards'), [2, 1]);
    t.strictSame(await at(new Date(paidMs).toISOString()), [1, 2]);
    t.strictSame(await at('2999-01-01'), [1, 2, 3]);
    t.match(await run('order', 'A-1', '--at', '2001-01-01'), {
      out: '',
      err: /no event then/,
      error: null,
    });
  });

  const file = join(projectDir, 'workers/_orders.ts');
  await t.test('the state, folded by the aggregate of a file', async (t) => {
    t.match(
      JSON.parse((await run('order', 'A-1', '--aggregate', file, '--json', '--at', '2')).out),
      {
        category: 'order',
        id: 'A-1',
        revision: 2,
        state: { status: 'paid', paymentId: 'p1' },
      },
    );
    t.match(
      (await run('order', 'A-1', '--aggregate', file)).out,
      /^order A-1 at revision 3 \(3 events\)\n\{\n {2}"status": "cancelled"/,
    );
  });

  await t.test('the changes of the state, event by event', async (t) => {
    const text = await run('order', 'A-1', '--aggregate', file, '--changes');
    t.equal(text.error, null);
    t.match(
      text.out,
      /^1 .*order\.created[\s\S]*~ status: "none" → "created"[\s\S]*\n2 [\s\S]*~ paymentId: null → "p1"[\s\S]*\n3 [\s\S]*~ status: "paid" → "cancelled"/,
    );
    const json = parseLines(
      (await run('order', 'A-1', '--aggregate', file, '--changes', '--json', '--limit', '1')).out,
    );
    t.match(json, [
      {
        revision: 3,
        type: 'order.cancelled',
        changes: [{ path: ['status'], kind: 'changed', before: 'paid', after: 'cancelled' }],
        more: false,
      },
    ]);
    for (const [message, ...args] of [
      [/add --aggregate/, '--changes'],
      [/do not go together/, '--changes', '--aggregate', file, '--at', '2'],
      [/a state has none/, '--masked', '--aggregate', file],
    ] as const) {
      const { error, out } = await run('order', 'A-1', ...args);
      t.type(error, UsageError);
      t.match(error?.message, message);
      t.equal(out, '');
    }
  });

  await t.test('what cannot be printed is said, and nothing is printed', async (t) => {
    const wrong = async (message: RegExp, usage: boolean, ...args: string[]): Promise<void> => {
      const { error, out } = await run(...args);
      t.match(error?.message, message);
      t.equal(error instanceof UsageError, usage);
      t.equal(out, '');
    };
    await wrong(/there is no history order Z/, false, 'order', 'Z');
    await wrong(
      /neither a revision .* nor an RFC 3339 time/,
      true,
      'order',
      'A-1',
      '--at',
      'yesterday',
    );
    await wrong(
      /for events, not for the state/,
      true,
      'order',
      'A-1',
      '--aggregate',
      file,
      '--backwards',
    );
    await wrong(/no such file/, true, 'order', 'A-1', '--aggregate', 'nowhere.ts');
    await wrong(
      /aggregates of "order", none of "basket"/,
      true,
      'basket',
      'A-1',
      '--aggregate',
      file,
    );
    const dir = testDir(t);
    writeFileSync(join(dir, 'none.mjs'), 'export const x = 1;');
    await wrong(
      /no aggregate or decider/,
      true,
      'order',
      'A-1',
      '--aggregate',
      join(dir, 'none.mjs'),
    );
    writeFileSync(join(dir, 'bad.ts'), 'export const = 1;');
    await wrong(
      /does not compile: line 1/,
      false,
      'order',
      'A-1',
      '--aggregate',
      join(dir, 'bad.ts'),
    );
  });
});
