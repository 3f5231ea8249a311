/**
 * `npm run demo`: an embedded Redis and a dispatcher with the shop's functions and its view. Orders
 * go through all of it as commands. The result is checked against the input and against the
 * histories.
 *
 * Exit status 0: everything adds up. 1: it does not. 2: wrong use.
 */
import { counterFields } from '../../src/redis/counters.ts';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createHistogram } from 'node:perf_hooks';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import { pino } from 'pino';
import {
  connect,
  type Deployment,
  type EventStore,
  type TurnDone,
  type View,
} from '../../src/index.ts';
import { inventOrders, readOrders, BadOrdersFileError } from './orders.ts';
import { sendOrders } from './send-orders.ts';
import {
  compareWithHistories,
  compareWithInput,
  readSummaries,
  type Summary,
} from './summaries.ts';
import { differences, sumFile, sumOrders, type Sums } from './sums.ts';

const whole = (text: string): number => {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 10_000_000)
    throw new InvalidArgumentError('a whole number from 1 to 10,000,000');
  return n;
};

const program = new Command('demo')
  .description('Sends orders through the shop and checks the result.')
  .option(
    '--orders <file>',
    'real orders: a CSV with InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country',
  )
  .addOption(
    new Option('--count <n>', 'number of orders to make up')
      .argParser(whole)
      .default(50_000)
      .conflicts('orders'),
  )
  .option(
    '--deadline <s>',
    'give up when not everything is settled after so many seconds',
    whole,
    300,
  )
  .showHelpAfterError()
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .parse();
const options = program.opts<{ orders?: string; count: number; deadline: number }>();

/**
 * Ctrl-C gives up the run, stops the server and removes its data. A second one ends the demo at
 * once.
 */
const interrupted = new AbortController();
process.on('SIGINT', () => {
  if (interrupted.signal.aborted) process.exit(130);
  interrupted.abort();
});

/**
 * Creates a folder for this run only, so that two demos at once do not meet. The server's binary is
 * in the project's own cache.
 */
function createFolder(): string {
  const cache = resolve('.millrace/redis-server');
  mkdirSync(cache, { recursive: true });
  mkdirSync('.millrace/demo', { recursive: true });
  const dir = mkdtempSync(resolve('.millrace/demo/run-'));
  symlinkSync(cache, join(dir, 'redis-server'));
  return dir;
}

interface Progress {
  done: number;
  retried: number;
  dead: number;
  firstMs: number;
  lastMs: number;
  readonly latency: ReturnType<typeof createHistogram>;
}

async function main(): Promise<number> {
  const expected = options.orders
    ? await sumFile(options.orders)
    : sumOrders(inventOrders(options.count));
  const dir = createFolder();
  try {
    const millrace = await connect({
      environment: { REDIS_URL: undefined, MILLRACE_DIR: dir },
      logger: pino({ level: process.env['LOG_LEVEL'] ?? 'fatal' }),
      name: 'demo',
    });
    try {
      return await run(millrace, expected);
    } finally {
      await millrace.close();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** An early end of the demo, with its exit status. */
class Ended extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`ended with status ${status}`);
    this.status = status;
  }
}

async function run(millrace: Connected, expected: Sums): Promise<number> {
  try {
    const { deployment } = millrace;
    const progress = new Map<string, Progress>();
    const functions = await start(millrace, progress);
    const store = millrace.store({ source: 'demo' });
    const sent = await send(store, expected);
    const view = millrace.view<Summary>('order-summary');
    const totals = await settle(deployment, functions, view, sent);
    printFunctions(functions, totals, progress, sent.commands);
    await printDeadLetters(deployment, functions);
    return await check(deployment, { functions, totals, expected, store, view, sent });
  } catch (error) {
    if (error instanceof Ended) return error.status;
    throw error;
  }
}

type Connected = Awaited<ReturnType<typeof connect>>;
type Sent = Awaited<ReturnType<typeof sendOrders>>;

/**
 * Starts the dispatcher.
 * @returns names of the functions
 */
async function start(millrace: Connected, progress: Map<string, Progress>): Promise<string[]> {
  const { deployment } = millrace;
  const dispatcher = millrace.dispatcher({
    functionsDir: 'workers',
    // The process of an order waits for payments, which nobody makes here.
    skipFiles: ['thread.ts', 'order-process.ts'],
    onTurn: (turn) => note(progress, turn),
  });
  interrupted.signal.addEventListener('abort', () => void dispatcher.stop(0), { once: true });
  await dispatcher.start();
  const functions = dispatcher.functions.map((f) => f.spec.name);
  console.log(
    `Millrace demo: redis ${deployment.server.version} (embedded), ${deployment.environment.WORKERS} worker threads, functions ${functions.join(', ')}`,
  );
  return functions;
}

/**
 * Sends the orders.
 * @throws Ended
 */
async function send(store: EventStore, expected: Sums): Promise<Sent> {
  const orders = options.orders ? readOrders(options.orders) : inventOrders(options.count);
  const total = [...expected.values()].reduce((sum, c) => sum + c.orders + c.cancellations, 0);
  const bar = process.stderr.isTTY
    ? new SingleBar(
        {
          format: 'ordering {bar} {value}/{total} commands',
          clearOnComplete: false,
          stream: process.stderr,
        },
        Presets.shades_classic,
      )
    : null;
  bar?.start(total, 0);
  const startedMs = performance.now();
  const { signal } = interrupted;
  const sent = await sendOrders(store, orders, {
    signal,
    onSent: (commands) => bar?.update(commands),
  });
  bar?.stop();
  if (signal.aborted) throw new Ended(130);
  const { commands } = sent;
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    `${commands} commands in ${seconds.toFixed(2)} s, ${Math.round(commands / seconds)} a second; ${sent.again} of them sent twice, and answered as the first time`,
  );
  return sent;
}

/**
 * Waits for the view, and until every function is done with every event.
 * @throws Ended
 */
async function settle(
  deployment: Deployment,
  functions: readonly string[],
  view: View<Summary>,
  sent: Sent,
): Promise<Map<string, Totals>> {
  const { signal } = interrupted;
  const sentMs = performance.now();
  const deadline = sentMs + options.deadline * 1000;
  for (const position of sent.last.values())
    await view.waitFor(position, { timeoutMs: options.deadline * 1000, signal });
  console.log(
    `the view order-summary has all of them ${Math.round(performance.now() - sentMs)} ms after the last answer`,
  );
  let totals = await readTotals(deployment, functions);
  while ([...totals.values()].some((t) => t.lag > 0 || t.parked > 0)) {
    if (interrupted.signal.aborted) throw new Ended(130);
    if (performance.now() > deadline) {
      console.error(
        `not settled after ${options.deadline} s: ${JSON.stringify(Object.fromEntries(totals))}`,
      );
      throw new Ended(1);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    totals = await readTotals(deployment, functions);
  }
  return totals;
}

interface Outcome {
  readonly functions: readonly string[];
  readonly totals: ReadonlyMap<string, Totals>;
  readonly expected: Sums;
  readonly store: EventStore;
  readonly view: View<Summary>;
  readonly sent: Sent;
}

/**
 * Compares the outcome with the input and with the histories.
 * @returns the exit status
 */
async function check(
  deployment: Deployment,
  { functions, totals, expected, store, view, sent }: Outcome,
): Promise<number> {
  const { signal } = interrupted;
  const { commands } = sent;
  const actual = await readAnalytics(deployment);
  printSums(expected, actual);
  const wrong = differences(expected, actual);
  for (const fn of functions) {
    const t = totals.get(fn) as Totals;
    if (t.done + t.dead !== commands)
      wrong.push(
        `${fn}: ${t.done} done + ${t.dead} dead are not the ${commands} events of the commands`,
      );
  }
  const ofView: string[] = [];
  const rows = await readSummaries(view, ofView);
  ofView.push(
    ...compareWithInput(rows, sent.summaries),
    ...(await compareWithHistories(rows, store, signal)),
  );
  if (signal.aborted) return 130;
  wrong.push(...ofView.map((line) => `order-summary: ${line}`));
  if (wrong.length > 0) {
    console.error(`\nNOT EQUAL:\n  ${wrong.join('\n  ')}`);
    return 1;
  }
  console.log(
    `\nEqual: orders, cancellations, items and revenue of all ${expected.size} countries match ${options.orders ? 'a straight sum over the file' : 'the input'}.`,
  );
  console.log(
    `Equal: all ${rows.size} rows of the view order-summary, listed by status, newest first, are the fold over the input.`,
  );
  console.log(
    `Equal: row by row they are the fold over all ${rows.size} histories, with ${commands} events in them.`,
  );
  return 0;
}

function note(progress: Map<string, Progress>, turn: TurnDone): void {
  let p = progress.get(turn.fn);
  if (!p) {
    p = {
      done: 0,
      retried: 0,
      dead: 0,
      firstMs: performance.now(),
      lastMs: 0,
      latency: createHistogram(),
    };
    progress.set(turn.fn, p);
  }
  p.done += turn.done;
  p.retried += turn.retried;
  p.dead += turn.dead;
  p.lastMs = performance.now();
  for (let i = 0; i < turn.ages.length; i += 2) {
    const ms = Math.max(1, Math.round(turn.ages[i] as number));
    for (let n = turn.ages[i + 1] as number; n > 0; n--) p.latency.record(ms);
  }
}

interface Totals {
  done: number;
  dead: number;
  parked: number;
  lag: number;
}

/** Reads the totals from the counters of every partition. */
async function readTotals(
  deployment: Deployment,
  functions: readonly string[],
): Promise<Map<string, Totals>> {
  const out = new Map<string, Totals>(
    functions.map((fn) => [fn, { done: 0, dead: 0, parked: 0, lag: 0 }]),
  );
  for (let partition = 0; partition < deployment.partitions; partition++) {
    const flat = (await deployment.connection.command(
      'HGETALL',
      deployment.keys.counters(partition),
    )) as string[];
    const counters = new Map<string, number>();
    for (let i = 0; i < flat.length; i += 2) counters.set(flat[i] as string, Number(flat[i + 1]));
    for (const [fn, totals] of out) {
      for (const type of ['order.created', 'order.cancelled']) {
        const [done = 0, dead = 0, parked = 0, appended = 0] = [
          counterFields.done(fn, type),
          counterFields.dead(fn, type),
          counterFields.parked(fn, type),
          counterFields.appended(type),
        ].map((field) => counters.get(field));
        totals.done += done;
        totals.dead += dead;
        totals.parked += parked;
        totals.lag += appended - done - dead - parked;
      }
    }
  }
  return out;
}

function printFunctions(
  functions: readonly string[],
  totals: Map<string, Totals>,
  progress: Map<string, Progress>,
  events: number,
): void {
  const table = new Table({
    head: ['function', 'done', 'retried', 'dead', 'lag', 'events/s', 'p50 ms', 'p99 ms'],
    style: { head: [], border: [] },
  });
  for (const fn of functions) {
    const t = totals.get(fn) as Totals;
    const p = progress.get(fn);
    const seconds = p ? Math.max(0.001, (p.lastMs - p.firstMs) / 1000) : 1;
    table.push([
      fn,
      t.done,
      p?.retried ?? 0,
      t.dead,
      t.lag,
      Math.round(events / seconds),
      p?.latency.percentile(50) ?? 0,
      p?.latency.percentile(99) ?? 0,
    ]);
  }
  console.log(table.toString());
}

async function printDeadLetters(
  deployment: Deployment,
  functions: readonly string[],
): Promise<void> {
  const shown: string[] = [];
  let count = 0;
  for (const fn of functions) {
    for (let partition = 0; partition < deployment.partitions; partition++) {
      const entries = (await deployment.connection.command(
        'XRANGE',
        deployment.keys.dead(partition, fn),
        '-',
        '+',
        'COUNT',
        1000,
      )) as [string, string[]][];
      for (const [, fields] of entries) {
        count++;
        const field = (name: string) => fields[fields.indexOf(name) + 1] ?? '';
        if (shown.length < 5)
          shown.push(
            `  ${fn}: ${field('type')} ${field('subject')}: ${field('reason')}: ${field('message')}`,
          );
      }
    }
  }
  if (count > 0) console.log(`dead letters: ${count}, for example\n${shown.join('\n')}`);
}

async function readAnalytics({ connection }: Deployment): Promise<Sums> {
  const sums: Sums = new Map();
  for (const key of ['orders', 'cancellations', 'items', 'revenue'] as const) {
    const flat = (await connection.command('HGETALL', `shop:analytics:${key}`)) as string[];
    for (let i = 0; i < flat.length; i += 2) {
      const country = flat[i] as string;
      const found = sums.get(country) ?? { orders: 0, cancellations: 0, items: 0, revenue: 0 };
      found[key] = Number(flat[i + 1]);
      sums.set(country, found);
    }
  }
  return sums;
}

function printSums(expected: Sums, actual: Sums): void {
  const table = new Table({
    head: ['country', 'orders', 'cancelled', 'items', 'revenue (pence)', 'input says'],
    style: { head: [], border: [] },
  });
  for (const [country, e] of [...expected].sort(([, a], [, b]) => b.revenue - a.revenue)) {
    const a = actual.get(country) ?? { orders: 0, cancellations: 0, items: 0, revenue: 0 };
    const same = differences(new Map([[country, e]]), new Map([[country, a]])).length === 0;
    table.push([
      country,
      a.orders,
      a.cancellations,
      a.items,
      a.revenue,
      same ? 'the same' : `${e.orders} / ${e.cancellations} / ${e.items} / ${e.revenue}`,
    ]);
  }
  console.log(table.toString());
}

try {
  process.exitCode = await main();
} catch (error) {
  if (interrupted.signal.aborted) process.exit(130); // abandoned calls fail in their own ways
  console.error(
    `demo: ${error instanceof BadOrdersFileError ? error.message : error instanceof Error ? error.message : String(error)}`,
  );
  process.exitCode = 1;
}
