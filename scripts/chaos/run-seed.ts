/**
 * One run. A server suffers the fault, and a second one does not. Producers and dispatchers work
 * during the fault. After the fault come peace, a drain with a bound, and the verdict. The events
 * of a run follow from (fault, seed), their exact times from the machine.
 *
 *   arrange (bed.ts) → inject → drain (drain.ts) → judge (record.ts, the checker)
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Millrace } from '../../src/millrace.ts';
import { nothingAllowed } from '../../src/torture/allowed.ts';
import { check } from '../../src/torture/checker.ts';
import { readBooks } from '../../src/torture/end-state.ts';
import { measureTakeover } from '../../src/torture/takeover.ts';
import { arrange, PARTITIONS, type Bed, type Teardown } from './bed.ts';
import { drain } from './drain.ts';
import type { FaultContext } from './fault.ts';
import { HELD, VIEW } from './function-rules.ts';
import { keep, readRecord, type Declared } from './record.ts';
import { TAKEOVER_BOUND_MS, type SeedOptions, type SeedResult } from './seed-options.ts';
import { until } from '../lab/until.ts';

export { LEASE_MS, TAKEOVER_BOUND_MS, type SeedOptions, type SeedResult } from './seed-options.ts';

/**
 * Time for three steps on a shared machine: the takeover of the lanes, the attempts at hanging
 * handlers, and the backlog. Each of five functions makes three attempts at a hanging handler, of
 * 1.5 s and 1 s grace.
 */
const DRAIN_BOUND_MS = TAKEOVER_BOUND_MS + 5 * 3 * 2500 + 20_000;

/**
 * Runs one seed.
 * @throws SkippedRun where the fault is impossible here, Error where the run itself failed
 */
export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const undo: (() => void | Promise<void>)[] = [];
  try {
    return await run(options, (fn) => undo.push(fn));
  } finally {
    for (const fn of undo.reverse()) await fn();
  }
}

async function run(options: SeedOptions, teardown: Teardown): Promise<SeedResult> {
  const bed = await arrange(options, teardown);
  const { service, functions, skip, fleet } = bed;
  const declared = await inject(bed, options);
  const healedMs = performance.now();
  await Promise.all(bed.producers.map((producer) => producer.stop()));
  const drainBoundMs = options.drainBoundMs ?? DRAIN_BOUND_MS;
  const served = functions.length + (skip.includes(VIEW.file) ? 0 : 1);
  const drainMs = await drain(service, healedMs, drainBoundMs, served);
  fleet.endSampling();
  if (drainMs !== null) await fleet.terminate();
  else await fleet.kill();
  return judge(bed, declared, options, { drainMs, drainBoundMs });
}

/** Makes the fault while everything works. Resolves when it is healed. */
async function inject(bed: Bed, { fault, seed }: SeedOptions): Promise<Declared> {
  const { sink, producers, fleet, service } = bed;
  const declared: Declared = {
    allowed: nothingAllowed(),
    windows: [],
    forgetful: [],
    takeovers: [],
  };
  const context = contextOf(bed, declared, seed);
  await sink.set('held', true);
  for (const producer of producers) producer.start();
  await context.pause(200, 500);
  await fault.inject(context);
  if (context.dispatchers.length === 0) await fleet.spawn();
  if (!bed.skip.includes(HELD.file) && bed.load.plain !== true)
    await until(
      'something is parked all through the fault',
      async () => (await parkedOf(service, HELD.file)) > 0,
      20_000,
    );
  await sink.set('held', false);
  return declared;
}

function contextOf(bed: Bed, declared: Declared, seed: number): FaultContext {
  const { random, redis, cluster, proxy, serverClock, service, sink, producers, fleet } = bed;
  return {
    seed,
    random,
    redis,
    cluster,
    proxy,
    serverClock,
    service,
    sink,
    producers,
    allowed: declared.allowed,
    spawn: (environment) => fleet.spawn(environment),
    partitions: PARTITIONS,
    get dispatchers() {
      return fleet.alive;
    },
    note: (name) => sink.push({ what: 'fault', name, pid: 0 }),
    pause: (minMs, maxMs) => delay(random.whole(minMs, maxMs)),
    lostSince: (fromMs, toMs) => declared.windows.push({ fromMs, toMs }),
    relayForgets: (partitions, fromOp, toOp) =>
      declared.forgetful.push({ partitions, fromOp, toOp }),
    async takeover(victim) {
      const tookMs = await measureTakeover(
        service.deployment,
        bed.functions.map((fn) => fn.name),
        victim.id,
        10 * TAKEOVER_BOUND_MS,
      );
      if (tookMs !== null) declared.takeovers.push(tookMs);
    },
  };
}

async function parkedOf({ deployment }: Millrace, fn: string): Promise<number> {
  return (await readBooks(deployment)).find(({ name }) => name === fn)?.parked ?? 0;
}

async function judge(
  bed: Bed,
  declared: Declared,
  options: SeedOptions,
  drained: { readonly drainMs: number | null; readonly drainBoundMs: number },
): Promise<SeedResult> {
  const { fault, seed } = options;
  const history = await readRecord(bed, declared, drained);
  const violations = check(history);
  if (violations.length > 0 && options.keepDir !== undefined)
    keep(options.keepDir, options, history, violations, bed.fleet.all);
  const { takeovers } = declared;
  return {
    fault: fault.name,
    seed,
    violations,
    events: history.events.length,
    acknowledged: history.events.filter((event) => event.fate === 'acknowledged').length,
    handled: history.ops.filter((op) => op.what === 'end').length,
    dead: history.end.letters.length,
    ...drained,
    takeoverMs: takeovers.length > 0 ? Math.round(Math.max(...takeovers)) : null,
    takeoverBoundMs: TAKEOVER_BOUND_MS,
    peakRssMb: Math.round(bed.fleet.peakRssMb),
    history,
  };
}
