/** The dispatcher process. Runs the benchmark's functions until a number of events is settled. */
import { readFileSync } from 'node:fs';
import { BroadcastChannel } from 'node:worker_threads';
import type { Environment } from '../../src/config.ts';
import type { TurnDone } from '../../src/index.ts';
import { Dispatcher } from '../../src/dispatcher.ts';
import { connect } from '../../src/millrace.ts';
import { childMain, cpuSeconds, sharedNowMs } from './child.ts';
import { SEEN_CHANNEL } from './functions/bench-function.ts';
import { Histogram } from './histogram.ts';
import type { Seen } from './order.ts';
import { benchEnvironment, PROTO_DIR } from './settings.ts';

/** Interval of the scrapes, ms. */
const SCRAPE_MS = 1000;

export interface ConsumerArgument {
  readonly url: string;
  /** Folder of the functions. */
  readonly functionsDir: string;
  readonly workers: number;
  /** Settings that differ from the defaults. */
  readonly settings: Partial<Environment>;
  readonly partitions: number;
  /** Whether the dispatcher counts metrics, and is scraped each second. */
  readonly metrics: boolean;
  /** Number of events to settle, of all functions together. */
  readonly events: number;
  /** Number of first events whose ages are left out. */
  readonly warmUp: number;
  /** Time without a settled event after which the process gives up, ms. */
  readonly stallMs: number;
}

export interface ConsumerResult {
  readonly processStartMs: number;
  readonly readyMs: number;
  readonly firstCommitMs: number;
  readonly lastCommitMs: number;
  /** Number of events of the first commit, done before firstCommitMs. */
  readonly firstCommitEvents: number;
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  readonly turns: number;
  readonly entries: number;
  /** Number of events in `ages`. */
  readonly measured: number;
  /** Pairs of age at commit, ms, and count. */
  readonly ages: readonly number[];
  readonly seen: Seen;
  readonly rssMb: number;
  readonly cpuSeconds: number;
  readonly threadDeaths: number;
}

/** The sum of the turns of all lanes. */
class Tally {
  firstCommitMs = 0;
  lastCommitMs = 0;
  firstCommitEvents = 0;
  done = 0;
  retried = 0;
  dead = 0;
  turns = 0;
  entries = 0;
  measured = 0;
  readonly ages = new Histogram();
  readonly #argument: ConsumerArgument;
  readonly #allSettled: Promise<void>;
  #settled: () => void = () => {};

  constructor(argument: ConsumerArgument) {
    this.#argument = argument;
    this.#allSettled = new Promise((resolve) => (this.#settled = resolve));
  }

  add(turn: TurnDone): void {
    this.lastCommitMs = sharedNowMs();
    if (this.turns++ === 0) {
      this.firstCommitMs = this.lastCommitMs;
      this.firstCommitEvents = turn.done;
    }
    if (this.done >= this.#argument.warmUp) {
      this.ages.addPairs(turn.ages);
      this.measured += turn.done;
    }
    this.done += turn.done;
    this.retried += turn.retried;
    this.dead += turn.dead;
    this.entries += turn.entries;
    if (this.done + this.dead >= this.#argument.events) this.#settled();
  }

  /** Waits until all events are settled. Gives up on a stall. */
  async untilSettled(): Promise<void> {
    let before = -1;
    const watch = setInterval(() => {
      if (this.done + this.dead === before) this.#settled();
      before = this.done + this.dead;
    }, this.#argument.stallMs);
    await this.#allSettled;
    clearInterval(watch);
  }
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

  const millrace = await connect({
    environment: {
      ...benchEnvironment(argument.url, argument.workers, argument.partitions),
      ...argument.settings,
    },
    protoDir: PROTO_DIR,
    name: 'bench-dispatcher',
  });
  const tally = new Tally(argument);
  const { functionsDir } = argument;
  const onTurn = (turn: TurnDone): void => tally.add(turn);
  const dispatcher = argument.metrics
    ? millrace.dispatcher({ functionsDir, onTurn })
    : new Dispatcher({ deployment: millrace.deployment, functionsDir, onTurn });
  await dispatcher.start();
  const scrapes = argument.metrics
    ? setInterval(() => void millrace.metrics(), SCRAPE_MS)
    : undefined;
  const readyMs = sharedNowMs();
  await ready();
  const cpuBefore = cpuSeconds();
  await tally.untilSettled();
  const used = cpuSeconds() - cpuBefore;
  const rssMb = peakRssMb();
  clearInterval(scrapes);
  await dispatcher.stop();
  await millrace.close();
  await new Promise((resolve) => setTimeout(resolve, 20)); // the threads' last words
  channel.close();
  return {
    processStartMs: performance.timeOrigin,
    readyMs,
    firstCommitMs: tally.firstCommitMs,
    lastCommitMs: tally.lastCommitMs,
    firstCommitEvents: tally.firstCommitEvents,
    done: tally.done,
    retried: tally.retried,
    dead: tally.dead,
    turns: tally.turns,
    entries: tally.entries,
    measured: tally.measured,
    ages: tally.ages.toPairs(),
    seen,
    rssMb,
    cpuSeconds: used,
    threadDeaths: dispatcher.threadDeaths,
  };
});

/**
 * Returns the peak memory of the whole process, threads included, MB. resourceUsage() would not do:
 * a fork inherits its parent's maximum.
 */
function peakRssMb(): number {
  try {
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (peak) return Number(peak[1]) / 1024;
  } catch {
    // This is not Linux.
  }
  return process.resourceUsage().maxRSS / 1024;
}
