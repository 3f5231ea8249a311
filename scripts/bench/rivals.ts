/**
 * Rivals that a user would pick instead, and upper bounds. They are measured in the same run, on
 * the same machine, with the same orders.
 */
import { startBenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import { startNatsServer } from './nats-server.ts';
import type { BenchOptions, Fsync, RivalName } from './options.ts';
import { expectedSeen, makeOrder, note, sameSeen, type Order, type Seen } from './order.ts';
import { createOrderEncoder, orderType } from './order-encoder.ts';
import { installPeers } from './peers.ts';
import type { QueueRival, RivalArgument, RivalResult } from './rival-process.ts';
import { rateResult, type ScenarioResult } from './result.ts';
import type { Case } from './scenarios.ts';
import { runStoreScenario } from './store-scenarios.ts';

/** Most events of a rival; with --quick QUICK_EVENTS. */
const MOST_EVENTS: Readonly<Record<QueueRival, number>> = {
  'bound-redis': 1_000_000,
  'ioredis-loop': 500_000,
  'node-redis-loop': 500_000,
  bullmq: 50_000,
  'bullmq-sandbox': 50_000,
  jetstream: 200_000,
};
const QUICK_EVENTS = 2000;
/** Concurrencies that are tried, with so many events; the fastest one is measured. */
const CONCURRENCIES: Readonly<Partial<Record<QueueRival, readonly number[]>>> = {
  bullmq: [50, 200, 800],
  'bullmq-sandbox': [2, 4, 8],
};
const TRY_EVENTS = 5000;
/** Rivals whose client the peers' package.json names. */
const PEERS: readonly RivalName[] = ['node-redis-loop', 'bullmq', 'bullmq-sandbox', 'jetstream'];

/** Returns the cases of a rival; none where another appendfsync has covered it. */
export function rivalCases(
  name: RivalName,
  options: BenchOptions,
  fsync: Fsync,
  say: (text: string) => void,
): Case[] {
  // appendfsync is a setting of Redis.
  const once = name === 'bound-decode' || name === 'jetstream';
  if (once && fsync !== options.fsync[0]) return [];
  if (name === 'bound-decode')
    return [() => Promise.resolve([boundDecode(Math.min(options.events, 1_000_000))])];
  if (name === 'naive-append' || name === 'watch-append')
    return [async () => [await runStoreScenario(name, options, fsync)]];
  return [() => onServer(name, options, fsync, say)];
}

/**
 * Decodes orders from memory, on one core, in one thread: no pipeline is faster than this per core.
 */
function boundDecode(events: number): ScenarioResult {
  const type = orderType();
  const encode = createOrderEncoder(type);
  const encoded: Buffer[] = [];
  const now = Date.now();
  let bytes = 0;
  for (let i = 0; i < events; i++) {
    const one = encode(makeOrder(i, now));
    bytes += one.length;
    encoded.push(one);
  }
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  const began = performance.now();
  for (const one of encoded) note(seen, (type.decode(one) as Order).number);
  const ms = performance.now() - began;
  return rateResult({
    name: 'bound-decode',
    params: { events, workers: 1, bytesPerOrder: Math.round(bytes / events) },
    eventsPerSecond: Math.round((events * 1000) / ms),
    rssMb: null,
    accounted: sameSeen(seen, expectedSeen(events)),
  });
}

/** Runs a rival on a server of its own; none: with a line where a part of it cannot be had. */
async function onServer(
  name: QueueRival,
  options: BenchOptions,
  fsync: Fsync,
  say: (text: string) => void,
): Promise<ScenarioResult[]> {
  const problem = PEERS.includes(name) ? await installPeers(say) : null;
  if (problem !== null) {
    say(`${name} is left out, because its client cannot be installed: ${problem}`);
    return [];
  }
  if (name !== 'jetstream') {
    const server = await startBenchServer(fsync);
    try {
      const socket = decodeURI(server.url.replace(/^unix:/, ''));
      return await measure({ name, server: socket, params: { appendfsync: fsync } }, options, say);
    } finally {
      await server.remove();
    }
  }
  const nats = await startNatsServer().catch((error: Error) => {
    say(`${name} is left out, because there is no nats-server here: ${error.message}`);
    return null;
  });
  if (nats === null) return [];
  try {
    const params = { server: `nats-server ${nats.version}` };
    return await measure({ name, server: nats.address, params }, options, say);
  } finally {
    await nats.remove();
  }
}

/** A rival on its running server. */
interface OnServer {
  readonly name: QueueRival;
  readonly server: string;
  /** More parameters of the results. */
  readonly params: ScenarioResult['params'];
}

async function measure(
  rival: OnServer,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<ScenarioResult[]> {
  const { quick } = options;
  const { name } = rival;
  const events = Math.min(options.events, quick ? QUICK_EVENTS : MOST_EVENTS[name]);
  const all = CONCURRENCIES[name] ?? [0];
  const [concurrency, tried] = quick
    ? [all[1] ?? all[0] ?? 0, '']
    : await bestConcurrency(rival, all, say);
  const published = await run(rival, 'publish', events, concurrency);
  const drained = await run(rival, 'drain', events, concurrency);
  const setting = all.length > 1 ? { concurrency, tried } : {};
  const result = (role: string, { ms, rssMb, ...one }: RivalResult, accounted: boolean) =>
    rateResult({
      name: `${name}-${role}`,
      params: { events, workers: 1, ...rival.params, ...(role === 'drain' ? setting : {}) },
      eventsPerSecond: Math.round((one.events * 1000) / ms),
      rssMb: Math.round(rssMb),
      accounted,
    });
  return [
    result('publish', published, published.events === events),
    result('drain', drained, sameSeen(drained.seen, expectedSeen(events))),
  ];
}

/** Returns the fastest concurrency, and the rates of all of them as a text. */
async function bestConcurrency(
  rival: OnServer,
  all: readonly number[],
  say: (text: string) => void,
): Promise<[concurrency: number, tried: string]> {
  const [only = 0] = all;
  if (all.length <= 1) return [only, ''];
  const rates: { concurrency: number; rate: number }[] = [];
  for (const concurrency of all) {
    await run(rival, 'publish', TRY_EVENTS, concurrency);
    const { events, ms } = await run(rival, 'drain', TRY_EVENTS, concurrency);
    rates.push({ concurrency, rate: Math.round((events * 1000) / ms) });
  }
  const tried = rates.map(({ concurrency, rate }) => `${concurrency}: ${rate}/s`).join(', ');
  say(`${rival.name}, concurrencies tried: ${tried}`);
  const best = [...rates].sort((a, b) => b.rate - a.rate)[0];
  return [best?.concurrency ?? only, tried];
}

async function run(
  { name, server }: OnServer,
  role: RivalArgument['role'],
  events: number,
  concurrency: number,
): Promise<RivalResult> {
  const argument: RivalArgument = { rival: name, role, server, events, concurrency };
  const child = new Child<RivalResult>('./rival-process.js', argument);
  try {
    await child.ready;
    child.go();
    return await child.result;
  } finally {
    await child.end(1000);
  }
}
