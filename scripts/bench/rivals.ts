/**
 * Rivals that a user would pick instead, and an upper bound. They are measured in the same run, on
 * the same machine, with the same orders.
 */
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { startBenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import type { BenchOptions, RivalName } from './options.ts';
import {
  expectedSeen,
  makeOrder,
  note,
  ORDER_TYPE,
  sameSeen,
  type Order,
  type Seen,
} from './order.ts';
import type { RivalArgument, RivalResult } from './rival-process.ts';
import type { ScenarioResult } from './result.ts';
import { PROTO_DIR } from './settings.ts';
import { runStoreScenario } from './store-scenarios.ts';

export async function runRival(
  name: RivalName,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<ScenarioResult[]> {
  if (name === 'bound-decode') return [boundDecode(Math.min(options.events, 1_000_000))];
  if (name === 'naive-append' || name === 'watch-append')
    return [await runStoreScenario(name, options, options.fsync[0])];
  if (name === 'bullmq') {
    const bullmq: string = 'bullmq';
    try {
      await import(bullmq);
    } catch {
      say('bullmq is not installed, skipped: npm i --no-save bullmq');
      return [];
    }
    return rival('bullmq', Math.min(options.events, 50_000), options);
  }
  return rival('ioredis-loop', Math.min(options.events, 500_000), options);
}

/**
 * Decodes orders from memory, on one core, in one thread: no pipeline is faster than this per core.
 */
function boundDecode(events: number): ScenarioResult {
  const type = createCatalog(loadProtoFolder(PROTO_DIR)).get(ORDER_TYPE);
  const encoded: Uint8Array[] = [];
  const now = Date.now();
  let bytes = 0;
  for (let i = 0; i < events; i++) {
    const one = type.encode(makeOrder(i, now));
    bytes += one.length;
    encoded.push(one);
  }
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  const began = performance.now();
  for (const one of encoded) note(seen, (type.decode(one) as Order).number);
  const ms = performance.now() - began;
  return {
    name: 'bound-decode',
    params: { events, workers: 1, bytesPerOrder: Math.round(bytes / events) },
    eventsPerSecond: Math.round((events * 1000) / ms),
    p50Ms: null,
    p99Ms: null,
    p999Ms: null,
    maxMs: null,
    rssMb: null,
    accounted: sameSeen(seen, expectedSeen(events)),
  };
}

async function rival(
  name: 'ioredis-loop' | 'bullmq',
  events: number,
  options: BenchOptions,
): Promise<ScenarioResult[]> {
  const server = await startBenchServer(options.fsync[0]);
  const run = async (role: RivalArgument['role']): Promise<RivalResult> => {
    const child = new Child<RivalResult>(
      './rival-process.js',
      { rival: name, role, url: server.url, events } satisfies RivalArgument,
      null,
    );
    try {
      await child.ready;
      child.go();
      return await child.result;
    } finally {
      await child.end(1000);
    }
  };
  try {
    const published = await run('publish');
    const drained = await run('drain');
    const result = (
      what: string,
      { events: count, ms, rssMb }: RivalResult,
      accounted: boolean,
    ): ScenarioResult => ({
      name: `${name}-${what}`,
      params: { events, workers: 1 },
      eventsPerSecond: Math.round((count * 1000) / ms),
      p50Ms: null,
      p99Ms: null,
      p999Ms: null,
      maxMs: null,
      rssMb: Math.round(rssMb),
      accounted,
    });
    return [
      result('publish', published, published.events === events),
      result('drain', drained, sameSeen(drained.seen, expectedSeen(events))),
    ];
  } finally {
    await server.remove();
  }
}
