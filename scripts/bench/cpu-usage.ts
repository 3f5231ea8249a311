/** CPU time of the server, of the machine and of the processes under test. */
import { machineCpuSeconds } from './bench-server.ts';
import type { ConsumerResult } from './consumer.ts';
import type { Bench } from './fresh-server.ts';
import type { ScenarioResult } from './result.ts';
import { round } from './round.ts';

/** CPU time until now. */
interface CpuNow {
  readonly redis: number | null;
  readonly machine: ReturnType<typeof machineCpuSeconds>;
}

export function cpuNow(bench: Bench): CpuNow {
  return { redis: bench.server.cpuSeconds(), machine: machineCpuSeconds() };
}

/**
 * Returns the busy cores from `before` until now, `ms` long. `othersCpu` (this process and all
 * others of the machine) and `stealCpu` (the host) say how far the figures can be trusted.
 */
export function usage(
  bench: Bench,
  ms: number,
  seconds: Record<string, number>,
  before: CpuNow,
): ScenarioResult['params'] {
  const params: Record<string, number> = {};
  const cores = (value: number): number => round((value * 1000) / ms, 2);
  const now = cpuNow(bench);
  let ours = 0;
  for (const [name, value] of Object.entries(seconds)) {
    params[name] = cores(value);
    ours += value;
  }
  if (now.redis !== null && before.redis !== null) {
    params['redisCpu'] = cores(now.redis - before.redis);
    ours += now.redis - before.redis;
  }
  if (now.machine !== null && before.machine !== null) {
    params['othersCpu'] = cores(Math.max(0, now.machine.busy - before.machine.busy - ours));
    params['stealCpu'] = cores(now.machine.steal - before.machine.steal);
  }
  const rss = bench.server.peakRssMb();
  if (rss !== null) params['redisRssMb'] = round(rss);
  return params;
}

/** Returns the CPU time of the dispatcher process, all threads, per event and function, µs. */
export function cpuPerDeliveryUs({ cpuSeconds, done }: ConsumerResult): number {
  return round((cpuSeconds * 1e6) / Math.max(1, done), 2);
}
