/** The demo as a newcomer runs it, in a process of its own, and the sums that it is judged by. */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import {
  BadOrdersFileError,
  inventOrders,
  pence,
  readOrders,
  type Order,
} from '../scripts/demo/orders.ts';
import { sendOrders } from '../scripts/demo/send-orders.ts';
import { compareWithHistories, compareWithInput, type Summary } from '../scripts/demo/summaries.ts';
import { differences, sumFile, sumOrders } from '../scripts/demo/sums.ts';
import type { ViewRow } from '../src/index.ts';
import { collect, openStore } from './store/open-store.ts';
import {
  projectDir,
  startRedis,
  testServerBinary,
  type TestLike,
} from '../scripts/lab/redis-server.ts';

const MAIN = join(projectDir, 'dist/scripts/demo/main.js');
const HEADER = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country';

/** A CSV file with byte-order mark and CRLF, as the real file has them. */
const csv = (...rows: readonly string[]): string => `\uFEFF${[HEADER, ...rows].join('\r\n')}\r\n`;

/**
 * Two lines of one order, a free order, an order with a negative price, a quoted comma and quote,
 * no customer, two cancellations.
 */
const SMALL = csv(
  '1001,A1,"LANTERN, ""WHITE""",6,1/12/2010,2.55,17850,United Kingdom',
  '1001,B2,,3,1/12/2010,0.1,17850,United Kingdom',
  '1002,A1,"LANTERN, ""WHITE""",10,1/12/2010,1.15,,Norway',
  '1003,X9,sample,1,2/12/2010,0,,France',
  '1004,ADJ,Adjust bad debt,1,2/12/2010,-11062.06,,United Kingdom',
  '1005,C3,lost in the warehouse,-20,2/12/2010,0,,United Kingdom',
  'C1006,A1,"LANTERN, ""WHITE""",-2,3/12/2010,2.55,17850,United Kingdom',
  'C1007,A1,"LANTERN, ""WHITE""",-10,3/12/2010,1.15,,Norway',
);
// By hand: 6*255 + 3*10 - 1106206 + 0 - 2*255 = -1105156.
const SMALL_SUMS = [
  [
    'United Kingdom',
    { orders: 3, cancellations: 1, items: 6 + 3 + 1 - 20 - 2, revenue: -1_105_156 },
  ],
  ['Norway', { orders: 1, cancellations: 1, items: 0, revenue: 0 }],
  ['France', { orders: 1, cancellations: 0, items: 1, revenue: 0 }],
] as const;

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Creates a folder for a test. Its path has a space, as a newcomer's path may have. */
async function demoFolder(t: TestLike): Promise<string> {
  await testServerBinary();
  const dir = mkdtempSync(join(tmpdir(), 'millrace demo-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true, maxRetries: 10 }));
  for (const name of ['workers', 'proto', 'node_modules'])
    symlinkSync(join(projectDir, name), join(dir, name));
  // Functions are bundled into .millrace. They find `millrace/define` as in the project, by the
  // project's own name.
  symlinkSync(join(projectDir, 'package.json'), join(dir, 'package.json'));
  symlinkSync(join(projectDir, 'dist'), join(dir, 'dist'));
  const unpacked = join(projectDir, '.millrace/redis-server');
  mkdirSync(join(dir, '.millrace'));
  if (existsSync(unpacked)) symlinkSync(unpacked, join(dir, '.millrace/redis-server'));
  return dir;
}

function start(dir: string, args: readonly string[], main = MAIN) {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(MILLRACE_|REDIS_URL|WORKERS|LOG_LEVEL|NODE_OPTIONS|TAP)/.test(name),
    ),
  );
  const child = spawn(process.execPath, [main, ...args], {
    cwd: dir,
    env: { ...clean, WORKERS: '2', MILLRACE_PARTITIONS: '4' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (chunk: string) => (text[name] += chunk));
  const ended = new Promise<Result>((resolve) =>
    child.once('close', (status) => resolve({ status, ...text })),
  );
  return { child, ended };
}

/** Cells of the table row that starts with `name`. */
function row(stdout: string, name: string): string[] {
  const line = stdout.split('\n').find((l) => l.split('│')[1]?.trim() === name);
  return (line ?? '')
    .split('│')
    .slice(2, -1)
    .map((cell) => cell.trim());
}

t.test(
  'a second version rolls out, a wrong one is refused, nothing is retried or dead',
  async (t) => {
    const { status, stdout, stderr } = await start(
      await demoFolder(t),
      ['--seconds', '0.3'],
      join(projectDir, 'dist/scripts/demo/rollout.js'),
    ).ended;
    t.equal(status, 0, stderr);
    t.match(
      stdout,
      /FIELD_REMOVED_UNRESERVED shop\.v1\.Item\.description: .*Add: reserved 2; reserved "description";/,
    );
    t.match(stdout, /retried: 0, dead-lettered: 0\n/);
    for (const fn of ['new-audit', 'old-audit', 'shipping'])
      t.strictSame(row(stdout, fn).slice(1), ['0', '0', '0', 'yes'], fn);
  },
);

t.test('made-up orders go through all functions and add up', async (t) => {
  const dir = await demoFolder(t);
  const { status, stdout, stderr } = await start(dir, ['--count', '1000']).ended;
  t.equal(status, 0, stderr);
  t.match(stdout, /1000 commands in .* 20 of them sent twice, and answered as the first time/);
  t.match(
    stdout,
    /Equal: orders, cancellations, items and revenue of all 5 countries match the input/,
  );
  t.match(stdout, /Equal: all 950 rows of the view order-summary/);
  t.match(
    stdout,
    /Equal: row by row they are the fold over all 950 histories, with 1000 events in them/,
  );
  for (const fn of ['analytics', 'inventory', 'notification', 'order-summary@1']) {
    const [done, retried, dead, lag] = row(stdout, fn).map(Number);
    t.equal((done ?? 0) + (dead ?? 0), 1000, `${fn}: each order is done or dead`);
    t.equal(lag, 0, `${fn}: nothing is left`);
    if (fn === 'notification') {
      t.ok((retried ?? 0) > 0, 'retries can be seen');
      t.ok((dead ?? 0) > 0, 'a dead letter can be seen');
    } else t.strictSame([retried, dead], [0, 0], `${fn}: its neighbour's failures are not its own`);
  }
  t.match(
    stdout,
    /notification: order\.created .*non-retryable: no such mailbox/,
    'a dead letter is shown with its reason',
  );
  for (const [country, sums] of sumOrders(inventOrders(1000))) {
    t.strictSame(
      row(stdout, country),
      [sums.orders, sums.cancellations, sums.items, sums.revenue, 'the same'].map(String),
      country,
    );
  }
  t.strictSame(readdirSync(join(dir, '.millrace/demo')), [], 'its server and data are gone');
});

t.test('orders of a file: what the shop counted is a straight sum over the rows', async (t) => {
  const dir = await demoFolder(t);
  const file = join(dir, 'orders.csv');
  writeFileSync(file, SMALL);
  const { status, stdout, stderr } = await start(dir, ['--orders', file]).ended;
  t.equal(status, 0, stderr);
  t.match(stdout, /^7 commands in/m);
  t.match(stdout, /all 3 countries match a straight sum over the file/);
  t.match(stdout, /the fold over all 7 histories/, 'a return has a history of its own');
  for (const [country, s] of SMALL_SUMS) {
    t.strictSame(
      row(stdout, country),
      [s.orders, s.cancellations, s.items, s.revenue, 'the same'].map(String),
      country,
    );
  }
});

t.test('the demo does not accept a sum that differs', async (t) => {
  const dir = await demoFolder(t);
  const file = join(dir, 'orders.csv');
  // The rows are one invoice, and so one order of one country. A sum over the rows finds a second
  // country.
  writeFileSync(
    file,
    csv('2001,A1,lantern,1,1/12/2010,1.00,,Norway', '2001,B2,lamp,1,1/12/2010,2.00,,Sweden'),
  );
  const { status, stdout, stderr } = await start(dir, ['--orders', file]).ended;
  t.equal(status, 1);
  t.match(stderr, /NOT EQUAL:[^]*Sweden: revenue is 0, should be 200/);
  t.notMatch(stdout, /Equal:/);
});

t.test('a bad file is refused, and the line is named', async (t) => {
  const dir = await demoFolder(t);
  for (const [name, text, message] of [
    [
      'quantity',
      csv('1,A,a,1,1/12/2010,1.00,,UK', '2,A,a,x,1/12/2010,1.00,,UK'),
      /line 3: Quantity "x" is no whole number/,
    ],
    [
      'price',
      csv('1,A,a,1,1/12/2010,1.005,,UK'),
      /line 2: UnitPrice "1\.005" is no amount of whole pence/,
    ],
    ['columns', csv('1,A,a,1,1/12/2010,1.00,,UK', '2,A,a'), /line 3/],
    ['header', 'a,b\r\n1,2\r\n', /line 1 lacks the column InvoiceNo, /],
    ['not there', null, /ENOENT/],
  ] as const) {
    const file = join(dir, `${name}.csv`);
    if (text !== null) writeFileSync(file, text);
    const { status, stdout, stderr } = await start(dir, ['--orders', file]).ended;
    t.equal(status, 1, name);
    t.match(stderr, message);
    t.notMatch(stderr, /^ +at /m, 'no stack');
    t.notMatch(stdout, /Equal:/);
  }
});

t.test('wrong use exits 2 and starts nothing', async (t) => {
  const dir = await demoFolder(t);
  for (const [args, message] of [
    [['--what'], /unknown option '--what'/],
    [['--count', '0'], /--count/],
    [['--count', 'many'], /--count/],
    [['--count', '5', '--orders', 'x.csv'], /cannot be used with/],
    [['extra'], /too many arguments/],
  ] as const) {
    const { status, stdout, stderr } = await start(dir, args).ended;
    t.equal(status, 2, args.join(' '));
    t.match(stderr, message);
    t.match(stderr, /Usage: demo/);
    t.equal(stdout, '');
  }
  t.notOk(existsSync(join(dir, '.millrace/demo')));
});

t.test('Ctrl-C ends it, and its server', async (t) => {
  const dir = await demoFolder(t);
  const { child, ended } = start(dir, ['--count', '2000000']);
  const up = new Promise<void>((resolve) =>
    child.stdout.on('data', (text: string) => text.includes('Millrace demo:') && resolve()),
  );
  await Promise.race([up, ended]);
  child.kill('SIGINT');
  t.equal((await ended).status, 130);
  t.strictSame(readdirSync(join(dir, '.millrace/demo')), [], 'its server and data are gone');
});

t.test(
  'the comparison notices one event too few, one too many, and one in the wrong place',
  (t) => {
    const orders = [...inventOrders(60)];
    const expected = sumOrders(orders);
    t.strictSame(differences(expected, sumOrders(orders)), []);
    const [one] = orders as [Order];
    const { country, total } = one.data;
    const revenue = expected.get(country)?.revenue ?? 0;
    t.match(
      differences(expected, sumOrders(orders.slice(1))).join('\n'),
      `${country}: revenue is ${revenue - total.amount}, should be ${revenue}`,
    );
    t.ok(differences(expected, sumOrders([...orders, one])).length > 0);
    const moved = [{ ...one, data: { ...one.data, country: 'Nowhere' } }, ...orders.slice(1)];
    const seen = differences(expected, sumOrders(moved));
    t.ok(seen.some((line) => line.startsWith('Nowhere: orders is 1, should be 0')));
    t.ok(seen.some((line) => line.startsWith(`${country}: orders`)));
    const kind = [{ ...one, type: 'order.cancelled' as const }, ...orders.slice(1)];
    t.equal(differences(expected, sumOrders(kind)).length, 2, 'an order counted as a cancellation');
    t.end();
  },
);

t.test(
  'commands sent again change nothing, and a row that differs from its history is noticed',
  async (t) => {
    const redis = await startRedis(t);
    const store = await openStore(t, redis.url);
    const { signal } = new AbortController();
    const onSent = (): void => undefined;
    const first = await sendOrders(store, inventOrders(100), { signal, onSent });
    t.match(first, { commands: 100, again: 2 });
    const second = await sendOrders(store, inventOrders(100), { signal, onSent });
    t.strictSame([...second.last], [...first.last]);

    const rows = new Map<string, ViewRow<Summary>>();
    for (const [id, summary] of first.summaries) {
      const events = await collect(store.read('order', id));
      t.equal(events.length, summary.status === 'cancelled' ? 2 : 1);
      rows.set(id, {
        id,
        row: { ...summary, createdAt: events[0]?.time.getTime() ?? NaN },
        revision: events.length,
        position: '',
      });
    }
    const compared = async (
      change: (rows: Map<string, ViewRow<Summary>>) => unknown,
    ): Promise<string[]> => {
      const changed = new Map(rows);
      change(changed);
      return [
        ...compareWithInput(changed, first.summaries),
        ...(await compareWithHistories(changed, store, signal)),
      ];
    };
    const one = rows.get('order-3') as ViewRow<Summary>;
    t.strictSame(await compared(() => undefined), []);
    t.match(
      await compared((some) => some.set('order-3', { ...one, row: { ...one.row, total: 1 } })),
      [/^order-3 is .*"total":1,?.*the input says/, /^order-3 is .*its history says/],
    );
    t.match(
      await compared((some) => some.set('order-3', { ...one, row: { ...one.row, createdAt: 1 } })),
      [/"createdAt":1}, its history says/],
    );
    t.match(await compared((some) => some.set('order-3', { ...one, revision: 2 })), [
      /order-3 has 2 events folded, its history has 1/,
    ]);
    t.match(await compared((some) => some.delete('order-3')), [
      /94 orders, the input 95/,
      /order-3 is undefined/,
      /94 orders, there are 95 histories/,
    ]);
  },
);

t.test('pounds become pence exactly, or not at all', (t) => {
  for (const [text, value] of [
    ['0', 0],
    ['2.55', 255],
    ['0.1', 10],
    ['1.1', 110],
    ['4.35', 435],
    ['0.29', 29],
    ['-11062.06', -1_106_206],
    ['8142.75', 814_275],
    ['1.500', 150],
    [' 3 ', 300],
  ] as const)
    t.equal(pence(text), value, text);
  for (const text of ['', '1.005', '1,5', '1e3', '.5', '1.', 'NaN', '--1', '0x10', '12345678901'])
    t.equal(pence(text), null, text);
  t.end();
});

t.test('a file is read invoice by invoice, and two ways of summing it agree', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-orders-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'orders.csv');
  writeFileSync(file, SMALL);
  const orders: Order[] = [];
  for await (const order of readOrders(file)) orders.push(order);
  t.strictSame(
    orders.map((o) => [o.type, o.data.orderId, o.data.items.length, o.data.total.amount]),
    [
      ['order.created', '1001', 2, 1560],
      ['order.created', '1002', 1, 1150],
      ['order.created', '1003', 1, 0],
      ['order.created', '1004', 1, -1_106_206],
      ['order.created', '1005', 1, 0],
      ['order.cancelled', 'C1006', 1, -510],
      ['order.cancelled', 'C1007', 1, -1150],
    ],
  );
  t.equal(orders[0]?.data.items[0]?.description, 'LANTERN, "WHITE"');
  t.equal(orders[1]?.data.userId, '');
  const bySums = [...(await sumFile(file))].sort();
  t.strictSame(bySums, [...SMALL_SUMS].sort());
  t.strictSame(bySums, [...sumOrders(orders)].sort());

  writeFileSync(
    file,
    csv('1,A,a,1,1/12/2010,1.00,,UK', '2,A,a,1,1/12/2010,1.00,,UK', '1,A,a,1,1/12/2010,1.00,,UK'),
  );
  await t.rejects(
    async () => {
      for await (const _ of readOrders(file)); // to its end
    },
    { name: 'BadOrdersFileError', message: /line 4: invoice 1 appears a second time/ },
  );
  writeFileSync(file, csv());
  await t.rejects(readOrders(file).next(), BadOrdersFileError, 'a file without orders');
});
