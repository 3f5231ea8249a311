/**
 * The dispatcher process: runs one of the benchmark's functions until so many events are settled.
 */
import { readFileSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';
import type { Environment } from '../../src/config.ts';
import { connect } from '../../src/millrace.ts';
import { childMain, cpuSeconds, sharedNowMs } from './child.ts';
import { SEEN_CHANNEL } from './functions/bench-function.ts';
import { Histogram } from './histogram.ts';
import type { Seen } from './order.ts';
import { benchEnvironment, PROTO_DIR } from './settings.ts';

export interface ConsumerArgument {
  readonly url: string;
  /** Folder of the functions. */
  readonly functionsDir: string;
  readonly workers: number;
  /** Other settings than the defaults. */
  readonly settings: Partial<Environment>;
  readonly partitions: number;
  /** To be settled, of all functions together. */
  readonly events: number;
  /** The ages of so many first events are left out. */
  readonly warmUp: number;
  /** Give up when nothing was settled for so long. */
  readonly stallMs: number;
}

export interface ConsumerResult {
  readonly processStartMs: number;
  readonly readyMs: number;
  readonly firstCommitMs: number;
  readonly lastCommitMs: number;
  /** Events of the first commit: what was done before firstCommitMs. */
  readonly firstCommitEvents: number;
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  readonly turns: number;
  readonly entries: number;
  /** Events in `ages`. */
  readonly measured: number;
  /** Age at commit in ms, count, … */
  readonly ages: readonly number[];
  readonly seen: Seen;
  readonly rssMb: number;
  readonly cpuSeconds: number;
  readonly threadDeaths: number;
}

await childMain<ConsumerArgument, ConsumerResult>(async (argument, ready) => {
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  const channel = new BroadcastChannel(SEEN_CHANNEL);
  channel.onmessage = (message: unknown) => {
    const { count, sum, mixed } = (message as { data: Seen }).data;
    seen.count += count;
    seen.sum += sum;
    seen.mixed += mixed;
  };

  const ages = new Histogram();
  let firstCommitMs = 0;
  let lastCommitMs = 0;
  let firstCommitEvents = 0;
  let done = 0;
  let retried = 0;
  let dead = 0;
  let turns = 0;
  let entries = 0;
  let measured = 0;
  let settled: () => void = () => {};
  const allSettled = new Promise<void>((resolve) => (settled = resolve));

  const millrace = await connect({
    environment: {
      ...benchEnvironment(argument.url, argument.workers, argument.partitions),
      ...argument.settings,
    },
    protoDir: PROTO_DIR,
    name: 'bench-dispatcher',
  });
  const dispatcher = millrace.dispatcher({
    functionsDir: argument.functionsDir,
    onTurn(turn) {
      lastCommitMs = sharedNowMs();
      if (turns++ === 0) {
        firstCommitMs = lastCommitMs;
        firstCommitEvents = turn.done;
      }
      if (done >= argument.warmUp) {
        ages.addPairs(turn.ages);
        measured += turn.done;
      }
      done += turn.done;
      retried += turn.retried;
      dead += turn.dead;
      entries += turn.entries;
      if (done + dead >= argument.events) settled();
    },
  });
  await dispatcher.start();
  const readyMs = sharedNowMs();
  await ready();
  const cpuBefore = cpuSeconds();

  let before = -1;
  const watch = setInterval(() => {
    if (done + dead === before) settled();
    before = done + dead;
  }, argument.stallMs);
  await allSettled;
  clearInterval(watch);
  const used = cpuSeconds() - cpuBefore;
  const rssMb = peakRssMb();
  await millrace.close();
  await new Promise((resolve) => setTimeout(resolve, 20)); // the threads' last words
  channel.close();
  return {
    processStartMs: performance.timeOrigin,
    readyMs,
    firstCommitMs,
    lastCommitMs,
    firstCommitEvents,
    done,
    retried,
    dead,
    turns,
    entries,
    measured,
    ages: ages.toPairs(),
    seen,
    rssMb,
    cpuSeconds: used,
    threadDeaths: dispatcher.threadDeaths,
  };
});

/**
 * Peak of the whole process, threads included. Not resourceUsage(): a fork inherits its parent's
 * maximum there.
 */
function peakRssMb(): number {
  try {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]) / 1024;
  } catch {
    // not Linux
  }
  return process.resourceUsage().maxRSS / 1024;
}
