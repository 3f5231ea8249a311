/**
 * `millrace bench`: a quick measurement of this machine and this server. It works in a namespace of
 * its own, which is removed afterwards.
 */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { monotonicMs } from '../../core/clock.ts';
import type { Deployment } from '../../deployment.ts';
import { Millrace } from '../../millrace.ts';
import { removeKeys } from '../../redis/remove-keys.ts';
import { createCatalog } from '../../wire/catalog.ts';
import type { LongRunningContext } from '../context.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';

const TYPE = 'bench.event';
const PROTO = `syntax = "proto3";
package millrace.bench;
import "millrace/v1/options.proto";
message BenchEvent {
  option (millrace.v1.event) = { type: "${TYPE}", subject: "key" };
  string key = 1;
  int64 amount = 2;
  string text = 3;
}`;
const BLOCK = 4096;
const SUBJECTS = 10_000;
const STALL_MS = 60_000;
const PROGRESS_MS = 250;

interface Phase {
  readonly seconds: number;
  readonly eventsPerSecond: number;
}

export function registerBench(program: Command, context: LongRunningContext): void {
  program
    .command('bench')
    .description('publish made-up events into a temporary namespace, and drain them')
    .option('--events <n>', 'number of events', wholeNumber(1, 100_000_000), 200_000)
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
This is a quick check, not the benchmark of the repository. Payloads have about 60 bytes, and one
built-in function decodes them in WORKERS threads.
The data of the deployment is not touched, and the temporary namespace is removed at the end.
Exit status 1 unless every event was handled exactly once.

Example:
  millrace bench --events 500000`,
    )
    .action((flags: { events: number; json?: boolean }) =>
      bench(flags.events, flags.json ?? false, context),
    );
}

async function bench(events: number, json: boolean, context: LongRunningContext): Promise<void> {
  const stop = context.takeStop();
  const opened = await context.open({
    protoDir: null,
    name: 'bench',
    settleSchemas: true,
    failFast: 'first',
    environment: { MILLRACE_NAMESPACE: `bench-${randomBytes(6).toString('hex')}` },
  });
  const deployment: Deployment = {
    ...opened,
    catalog: createCatalog([{ name: 'bench.proto', text: PROTO }]),
  };
  try {
    const millrace = new Millrace(deployment);
    const publish = await publishAll(millrace, events, stop.first);
    const drain = await drainAll(millrace, events, stop.first);
    const result = {
      events,
      workers: deployment.environment.WORKERS,
      partitions: deployment.partitions,
      server: deployment.server.version,
      publish,
      drain,
    };
    if (json) context.out(JSON.stringify(result));
    else {
      context.out(`publish  ${describe(publish)}`);
      context.out(`drain    ${describe(drain)}`);
      context.out(
        `${plural(events, 'event')}, each handled once; ${plural(result.workers, 'worker thread')}, ${plural(result.partitions, 'partition')}, server ${result.server}`,
      );
    }
  } finally {
    await removeKeys(deployment.connection, `${deployment.keys.namespace}:`);
  }
}

async function publishAll(millrace: Millrace, events: number, signal: AbortSignal): Promise<Phase> {
  const publisher = millrace.publisher();
  const progress = new Progress('published', events);
  const startedMs = monotonicMs();
  let sent = 0;
  // Two blocks are under way: one is encoded while the other one travels.
  let previous: Promise<unknown> = Promise.resolve();
  try {
    while (sent < events) {
      if (signal.aborted) throw new Error('interrupted');
      const size = Math.min(BLOCK, events - sent);
      const items = Array.from({ length: size }, (_, i) => {
        const n = sent + i;
        return {
          type: TYPE,
          data: {
            key: `subject-${n % SUBJECTS}`,
            amount: n,
            text: 'the text of a small business event.',
          },
        };
      });
      const current = publisher.publishMany(items);
      current.catch(() => {});
      await previous;
      previous = current;
      sent += size;
      progress.show(sent);
    }
    await previous;
    return phaseOf(events, startedMs);
  } finally {
    progress.clear();
    // Close the publisher after an interruption too. A flush after the keys are removed would look
    // like a loss.
    await publisher.close();
  }
}

async function drainAll(millrace: Millrace, events: number, signal: AbortSignal): Promise<Phase> {
  const progress = new Progress('handled', events);
  let done = 0;
  let failed = 0;
  let lastMs = monotonicMs();
  let finished = (): void => {};
  const all = new Promise<void>((resolve) => (finished = resolve));
  const dispatcher = millrace.dispatcher({
    functionsDir: fileURLToPath(new URL('../bench-functions/', import.meta.url)),
    onTurn(turn) {
      done += turn.done;
      failed += turn.dead + turn.retried;
      lastMs = monotonicMs();
      progress.show(done);
      if (done + failed >= events) finished();
    },
  });
  let startedMs = monotonicMs();
  let phase: Phase;
  try {
    await dispatcher.start();
    // Lanes run before start() returns. Their few events until now are counted into the time.
    startedMs = Math.min(lastMs, monotonicMs());
    await Promise.race([all, stalled(() => lastMs, signal)]);
    phase = phaseOf(events, startedMs);
  } finally {
    progress.clear();
    await (signal.aborted ? dispatcher.stop(0) : dispatcher.stop());
  }
  if (done !== events || failed > 0)
    throw new Error(
      `${formatCount(events)} events were published, but ${formatCount(done)} handled and ${formatCount(failed)} failed`,
    );
  return phase;
}

function stalled(lastMs: () => number, signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const timer = setInterval(() => {
      if (monotonicMs() - lastMs() < STALL_MS && !signal.aborted) return;
      clearInterval(timer);
      reject(new Error(signal.aborted ? 'interrupted' : `no event was handled for ${STALL_MS} ms`));
    }, 100);
    timer.unref();
  });
}

function phaseOf(events: number, startedMs: number): Phase {
  const seconds = Math.max(0.001, (monotonicMs() - startedMs) / 1000);
  return { seconds: Number(seconds.toFixed(3)), eventsPerSecond: Math.round(events / seconds) };
}

function describe({ seconds, eventsPerSecond }: Phase): string {
  return `${formatCount(eventsPerSecond).padStart(11)} events/s  ${((eventsPerSecond * 60) / 1e6).toFixed(1).padStart(6)} M/min  in ${seconds.toFixed(2)} s`;
}

class Progress {
  readonly #what: string;
  readonly #total: number;
  #lastMs = 0;
  #shown = false;
  constructor(what: string, total: number) {
    this.#what = what;
    this.#total = total;
  }
  show(count: number): void {
    const now = monotonicMs();
    if (!process.stderr.isTTY || now - this.#lastMs < PROGRESS_MS) return;
    this.#lastMs = now;
    this.#shown = true;
    process.stderr.write(
      `\r\x1b[K${formatCount(count)} of ${formatCount(this.#total)} ${this.#what}`,
    );
  }
  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[K');
    this.#shown = false;
  }
}
