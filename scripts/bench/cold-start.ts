/** Cold starts: from the spawn of `millrace start` to the first event in a handler. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connect, type Millrace } from '../../src/millrace.ts';
import type { Bench } from './fresh-server.ts';
import { medianOf } from './median.ts';
import { makeOrder, ORDER_TYPE } from './order.ts';
import type { ScenarioResult } from './result.ts';
import { round } from './round.ts';
import { benchEnvironment, PROTO_DIR } from './settings.ts';

const STARTS = 5;
const LONGEST_MS = 60_000;
const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const FUNCTIONS = fileURLToPath(new URL('./functions/first-event', import.meta.url));

/** Starts the dispatcher several times, each time for one event that waits already. */
export async function coldStart(bench: Bench): Promise<ScenarioResult> {
  const starts = bench.options.quick ? 1 : STARTS;
  const { workers, partitions } = bench.options;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-starts-'));
  const environment = benchEnvironment(bench.server.url, workers, partitions);
  const millrace = await connect({ environment, protoDir: PROTO_DIR, name: 'bench' });
  const times: number[] = [];
  try {
    for (let number = 0; number < starts; number++)
      times.push(
        await timeOfStart(millrace, environment, { number, file: join(dir, `${number}`) }),
      );
  } finally {
    await millrace.close();
    await rm(dir, { recursive: true, force: true });
  }
  const all = times.reduce((sum, one) => sum + one, 0);
  return {
    name: 'cold-start',
    params: {
      events: starts,
      appendfsync: bench.fsync,
      partitions,
      workers,
      firstMs: round(times[0] ?? 0),
    },
    eventsPerSecond: round((starts * 1000) / all, 2),
    p50Ms: round(medianOf(times)),
    p99Ms: null,
    p999Ms: null,
    maxMs: round(Math.max(...times)),
    rssMb: null,
    accounted: true,
  };
}

/**
 * @param event its number, and the file that its handler writes
 * @returns the time from the spawn to the handler, ms
 * @throws Error if the process ends before, or handles another event
 */
async function timeOfStart(
  millrace: Millrace,
  environment: ReturnType<typeof benchEnvironment>,
  { number, file }: { readonly number: number; readonly file: string },
): Promise<number> {
  const order = { ...makeOrder(number, Date.now()), note: file };
  await millrace.publisher().publish(ORDER_TYPE as never, order as never);
  const settings = Object.entries({ ...environment, MILLRACE_PORT: 0 });
  const spawnedMs = Date.now();
  const child = spawn(process.execPath, [CLI, 'start', FUNCTIONS, '--proto', PROTO_DIR], {
    env: { ...process.env, ...Object.fromEntries(settings.map(([k, v]) => [k, String(v)])) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const ended = once(child, 'exit');
  try {
    while (!existsSync(file)) {
      if (child.exitCode !== null)
        throw new Error(`millrace start ended with ${child.exitCode}: ${said}`);
      if (Date.now() - spawnedMs > LONGEST_MS)
        throw new Error(`no event was handled within ${LONGEST_MS} ms of the start`);
      await wait(5);
    }
    const handled = JSON.parse(readFileSync(file, 'utf8')) as { number: number; handledMs: number };
    if (handled.number !== number)
      throw new Error(`event ${handled.number} was handled in place of ${number}`);
    return handled.handledMs - spawnedMs;
  } finally {
    child.kill('SIGTERM');
    await ended;
  }
}
