/**
 * `npm run demo`: an embedded Redis and a dispatcher with the shop's functions and its view. Orders
 * go through all of it as commands. The result is checked against the input and against the
 * histories.
 *
 * Exit status 0: everything adds up. 1: it does not. 2: wrong use.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { pino } from 'pino';
import { connect, type Deployment, type EventStore, type View } from '../../src/index.ts';
import { readOptions } from './options.ts';
import { inventOrders, readOrders, BadOrdersFileError } from './orders.ts';
import { note, type Progress } from './progress.ts';
import { printDeadLetters, printFunctions, printSums } from './report.ts';
import { sendOrders } from './send-orders.ts';
import {
  compareWithHistories,
  compareWithInput,
  readSummaries,
  type Summary,
} from './summaries.ts';
import { differences, sumFile, sumOrders, type Sums } from './sums.ts';
import { readAnalytics, readTotals, type Totals } from './totals.ts';

const options = readOptions();

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

try {
  process.exitCode = await main();
} catch (error) {
  if (interrupted.signal.aborted) process.exit(130); // abandoned calls fail in their own ways
  console.error(
    `demo: ${error instanceof BadOrdersFileError ? error.message : error instanceof Error ? error.message : String(error)}`,
  );
  process.exitCode = 1;
}
