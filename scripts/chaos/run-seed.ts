/**
 * One run: a server to be faulted and one that is not, producers, dispatchers, a fault while they
 * work, then peace, a drain with a bound, and the verdict. What happens follows from (fault, seed);
 * when exactly, from the machine.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { connect, type Millrace } from '../../src/millrace.ts';
import { check } from '../../src/torture/checker.ts';
import {
  countDue,
  countOutboxes,
  countScheduled,
  readAppended,
  readBooks,
  readEmitted,
  readLetters,
  readRepairs,
} from '../../src/torture/end-state.ts';
import { partitionOf } from '../../src/core/partition.ts';
import type {
  Emission,
  FunctionEnd,
  History,
  Op,
  PublishedEvent,
  Violation,
} from '../../src/torture/run-record.ts';
import { seededRandom } from '../../src/torture/random.ts';
import { measureTakeover, takeoverBoundMs } from '../../src/torture/takeover.ts';
import { PROTO_DIR } from '../../test/support/dispatcher-process.ts';
import { startCluster, type TestCluster } from '../../test/support/redis-cluster.ts';
import { startRedis, until, type TestRedis } from '../../test/support/redis-server.ts';
import { startProxy, type TcpProxy } from '../../test/support/tcp-proxy.ts';
import { isServerBug, type Bug, type ServerBug } from './bugs.ts';
import { DispatcherProcess } from './dispatchers.ts';
import { startEmbedded } from './embedded-redis.ts';
import type { Allowed, Fault, FaultContext } from './fault.ts';
import { emittedId } from '../../test/support/emitted-id.ts';
import {
  EMITS,
  HELD,
  LATER,
  plannedEmissions,
  RULES_OF_FUNCTIONS,
  VIEW,
  type FoldedRow,
} from './function-rules.ts';
import { isInnocent, Producer, type LoadOptions } from './load.ts';
import { openServerClock } from './server-clock.ts';
import { Sink } from './sink.ts';

const PARTITIONS = 4;
export const LEASE_MS = 1000;
export const TAKEOVER_BOUND_MS = takeoverBoundMs(LEASE_MS);
/**
 * The lanes are taken over, three attempts at a handler that hangs (1.5 s and 1 s grace each) for
 * each of five functions, and the backlog: the machine is shared.
 */
const DRAIN_BOUND_MS = TAKEOVER_BOUND_MS + 5 * 3 * 2500 + 20_000;
const RSS_BOUND_MB = 700;

export interface SeedOptions {
  readonly fault: Fault;
  readonly seed: number;
  readonly dispatchers?: number;
  /** One of the server takes a fault that needs the embedded server. */
  readonly bug?: Bug | ServerBug;
  readonly load?: LoadOptions;
  /** Of the drain, in ms. */
  readonly drainBoundMs?: number;
  /** Function files to leave out. */
  readonly skip?: readonly string[];
  /** Keeps the history here when there are violations. */
  readonly keepDir?: string;
}

export interface SeedResult {
  readonly fault: string;
  readonly seed: number;
  readonly violations: readonly Violation[];
  readonly events: number;
  readonly acknowledged: number;
  readonly handled: number;
  readonly dead: number;
  readonly drainMs: number | null;
  readonly drainBoundMs: number;
  /** Slowest takeover of a dead dispatcher's lanes, where one was measured. */
  readonly takeoverMs: number | null;
  readonly takeoverBoundMs: number;
  readonly peakRssMb: number;
  readonly history: History;
}

/**
 * @throws SkippedRun where the fault cannot be had here, Error where the run itself could not be
 *   carried out
 */
export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const undo: (() => void | Promise<void>)[] = [];
  try {
    return await run(options, (fn) => undo.push(fn));
  } finally {
    for (const fn of undo.reverse()) await fn();
  }
}

async function run(
  options: SeedOptions,
  teardown: (fn: () => void | Promise<void>) => void,
): Promise<SeedResult> {
  const { fault, seed, bug } = options;
  const serverBug = bug !== undefined && isServerBug(bug);
  if (serverBug && fault.needs !== 'embedded server')
    throw new Error(`${fault.name} has no embedded server: "${bug}" changes nothing there`);
  const skip = [...(fault.skip ?? []), ...(options.skip ?? [])];
  const functions = RULES_OF_FUNCTIONS.filter((fn) => !skip.includes(fn.name));
  const random = seededRandom(`${fault.name}/${seed}`);
  const scope = { teardown };
  const serverClock = fault.needs === 'server clock' ? await openServerClock(scope) : null;
  const sinkServer = await startRedis(scope, { args: ['--appendonly', 'no'] });
  const sink = new Sink(sinkServer.socket);
  teardown(() => sink.close());
  let redis: TestRedis | null = null;
  let cluster: TestCluster | null = null;
  let proxy: TcpProxy | null = null;
  if (fault.needs === 'cluster')
    cluster = await startCluster(scope, { masters: 3, replicas: true });
  else if (fault.needs === 'embedded server' && !serverBug) redis = await startEmbedded(scope);
  else
    redis = await startRedis(scope, {
      appendfsync: fault.appendfsync ?? 'everysec',
      ...(serverClock ? { env: serverClock.env } : {}),
    });
  if (fault.needs === 'proxy')
    proxy = await startProxy(scope, { socket: (redis as TestRedis).socket });
  const direct = cluster?.url ?? (redis as TestRedis).url;
  const url = proxy?.url ?? direct;

  const service = await open(direct, teardown);
  const load: LoadOptions = { ...fault.load?.(random), ...options.load };
  const publishing = proxy ? await open(url, teardown) : service;
  const producers = [0, 1].map(
    (i) =>
      new Producer(
        `p${i}`,
        publishing.publisher({
          flushEvents: 16,
          deadlineMs: 4000,
          ...(cluster ? { durability: 'replicated' as const, confirmMs: 1000 } : {}),
        }),
        seededRandom(`${fault.name}/${seed}/${i}`),
        load,
      ),
  );

  const fleet: DispatcherProcess[] = [];
  let peakRssMb = 0;
  const spawn = async (
    environment: Readonly<Record<string, string>> = {},
  ): Promise<DispatcherProcess> => {
    const process = new DispatcherProcess(
      {
        url,
        sink: sinkServer.socket,
        environment: {
          MILLRACE_LEASE_MS: String(LEASE_MS),
          CHAOS_SKIP: skip.map((name) => `${name}.js`).join(),
          ...fault.environment?.(random),
          ...(bug === undefined || serverBug ? {} : { CHAOS_BUG: bug }),
          ...environment,
        },
      },
      (op) => sink.push(op),
    );
    fleet.push(process);
    await process.started;
    return process;
  };
  teardown(async () => {
    await Promise.all(fleet.map((process) => process.kill()));
  });
  await Promise.all(Array.from({ length: options.dispatchers ?? 2 }, () => spawn()));
  for (const { alive, log } of fleet)
    if (!alive) throw new Error(`a dispatcher did not start: ${log.slice(-3000)}`);

  const allowed: Allowed = {
    missing: new Set(),
    relayed: new Set(),
    stateGoesBack: false,
    runsAgain: false,
    replayed: new Set(),
    foreign: false,
  };
  const windows: { readonly fromMs: number; readonly toMs: number }[] = [];
  const forgetful: {
    readonly partitions: ReadonlySet<number>;
    readonly fromOp: number;
    readonly toOp: number;
  }[] = [];
  const takeovers: number[] = [];
  const sampler = setInterval(() => {
    for (const process of fleet)
      if (process.alive) peakRssMb = Math.max(peakRssMb, process.peakRssMb());
  }, 100);
  teardown(() => clearInterval(sampler));
  const context: FaultContext = {
    seed,
    random,
    redis,
    cluster,
    proxy,
    serverClock,
    service,
    sink,
    producers,
    allowed,
    spawn,
    partitions: PARTITIONS,
    get dispatchers() {
      return fleet.filter((process) => process.alive);
    },
    note: (name) => sink.push({ what: 'fault', name, pid: 0 }),
    pause: (minMs, maxMs) => delay(random.whole(minMs, maxMs)),
    lostSince: (fromMs, toMs) => windows.push({ fromMs, toMs }),
    relayForgets: (partitions, fromOp, toOp) => forgetful.push({ partitions, fromOp, toOp }),
    async takeover(victim) {
      const tookMs = await measureTakeover(
        service.deployment,
        functions.map((fn) => fn.name),
        victim.id,
        10 * TAKEOVER_BOUND_MS,
      );
      if (tookMs !== null) takeovers.push(tookMs);
    },
  };

  await sink.set('held', true);
  for (const producer of producers) producer.start();
  await context.pause(200, 500);
  await fault.inject(context);
  if (context.dispatchers.length === 0) await spawn();
  if (!skip.includes(HELD.file) && load.plain !== true)
    await until(
      'something is parked all through the fault',
      async () => (await parkedOf(service, HELD.file)) > 0,
      20_000,
    );
  await sink.set('held', false);
  const healedMs = performance.now();
  await Promise.all(producers.map((producer) => producer.stop()));

  const drainBoundMs = options.drainBoundMs ?? DRAIN_BOUND_MS;
  const drained = await drain(
    service,
    healedMs,
    drainBoundMs,
    functions.length + (skip.includes(VIEW.file) ? 0 : 1),
  );
  clearInterval(sampler);
  for (const process of context.dispatchers) peakRssMb = Math.max(peakRssMb, process.peakRssMb());
  if (drained !== null) {
    const codes = await Promise.all(context.dispatchers.map((process) => process.terminate()));
    const unclean = codes.find((code) => code !== 0);
    if (unclean !== undefined)
      throw new Error(
        `a dispatcher ended its drain with status ${String(unclean)}: ${fleet.map((process) => process.log.slice(-1500)).join('\n')}`,
      );
  } else await Promise.all(context.dispatchers.map((process) => process.kill()));

  const events = producers.flatMap((producer) => producer.events);
  excuseLost(events, windows, allowed);
  const ops = await sink.read();
  const emissions = functions.some((fn) => fn.name === EMITS.fn) ? events.flatMap(emissionsOf) : [];
  for (const { partitions, fromOp, toOp } of forgetful)
    for (const id of crossing(emissions, ops.slice(fromOp, toOp), partitions))
      allowed.relayed.add(id);
  const history: History = {
    ops,
    emissions,
    events,
    functions,
    end: {
      ...(await readEndState(service, redis)),
      drainMs: drained,
      drainBoundMs,
      peakRssMb,
      rssBoundMb: RSS_BOUND_MB,
    },
    allowed,
  };
  const violations = check(history);
  if (violations.length > 0 && options.keepDir !== undefined)
    keep(options.keepDir, options, history, violations, fleet);
  return {
    fault: fault.name,
    seed,
    violations,
    events: events.length,
    acknowledged: events.filter((event) => event.fate === 'acknowledged').length,
    handled: history.ops.filter((op) => op.what === 'end').length,
    dead: history.end.letters.length,
    drainMs: drained,
    drainBoundMs,
    takeoverMs: takeovers.length > 0 ? Math.round(Math.max(...takeovers)) : null,
    takeoverBoundMs: TAKEOVER_BOUND_MS,
    peakRssMb: Math.round(peakRssMb),
    history,
  };
}

/**
 * What was sent in a window of loss only may be missing. What was sent again where the first
 * sending may be gone comes late.
 */
function excuseLost(
  events: readonly PublishedEvent[],
  windows: readonly { readonly fromMs: number; readonly toMs: number }[],
  allowed: Allowed,
): void {
  const inWindow = ({ sentMs, atMs }: PublishedEvent): boolean =>
    windows.some(({ fromMs, toMs }) => atMs >= fromMs && sentMs <= toMs);
  const sure = new Set(
    events.flatMap((event) =>
      event.fate === 'acknowledged' && !inWindow(event) ? [event.id] : [],
    ),
  );
  const doubtful = new Set<string>();
  for (const event of events) {
    if (inWindow(event) && !sure.has(event.id)) allowed.missing.add(event.id);
    if (event.again !== true && (event.fate === 'unknown' || inWindow(event)))
      doubtful.add(event.id);
  }
  for (const { id, type, again } of events) {
    if (!again || !doubtful.has(id)) continue;
    for (const fn of RULES_OF_FUNCTIONS)
      if (fn.on.includes(type)) allowed.replayed.add(`${fn.name} ${id}`);
  }
}

async function parkedOf({ deployment }: Millrace, fn: string): Promise<number> {
  return (await readBooks(deployment)).find(({ name }) => name === fn)?.parked ?? 0;
}

function emissionsOf({ id, type, subject, number }: PublishedEvent): Emission[] {
  if (type !== EMITS.on) return [];
  return plannedEmissions(subject, number).map((planned, index) => ({
    fn: EMITS.fn,
    cause: id,
    id: emittedId(id, EMITS.fn, index),
    type: EMITS.type,
    subject: planned.subject,
    number,
    innocent: isInnocent(planned.order),
  }));
}

/**
 * Ids of emissions between these partitions and others, for events that were handled in the course
 * of these ops.
 */
function crossing(
  emissions: readonly Emission[],
  ops: readonly Op[],
  partitions: ReadonlySet<number>,
): string[] {
  const from = new Map(
    ops.flatMap((op) =>
      op.what === 'end' && op.fn === EMITS.fn ? [[op.id, Number(op.position.split('/')[0])]] : [],
    ),
  );
  return emissions.flatMap(({ id, cause, subject }) => {
    const source = from.get(cause);
    return source !== undefined &&
      partitions.has(source) !== partitions.has(partitionOf(subject, PARTITIONS))
      ? [id]
      : [];
  });
}

async function open(url: string, teardown: (fn: () => Promise<void>) => void): Promise<Millrace> {
  const millrace = await connect({
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: PARTITIONS },
    protoDir: PROTO_DIR,
    logger: pino({ level: 'silent' }),
    name: 'chaos',
  });
  teardown(() => millrace.close());
  return millrace;
}

async function readEndState(
  { deployment }: Millrace,
  redis: TestRedis | null,
): Promise<
  Pick<
    History['end'],
    | 'functions'
    | 'letters'
    | 'folds'
    | 'emitted'
    | 'appended'
    | 'scheduled'
    | 'repairs'
    | 'leftBehind'
  >
> {
  const functions = await readBooks(deployment);
  const { connection, partitions } = deployment;
  const lists = redis ? (await redis.client().keys('mr:*:parked:*')).length : 0;
  let folded = 0;
  let disordered = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const masters = await connection.commandOnMasters(
      'KEYS',
      `mr:{${partition}}:view:${VIEW.name}:*`,
    );
    for (const key of masters.flatMap(({ reply }) => reply as string[])) {
      const { row } = JSON.parse(String(await connection.command('GET', key))) as {
        row: FoldedRow;
      };
      folded += row.count;
      disordered += row.disordered;
    }
  }
  const folds = functions.some((fn) => fn.name === VIEW.name)
    ? [{ fn: VIEW.name, folded, disordered }]
    : [];
  return {
    functions,
    folds,
    emitted: await readEmitted(deployment, [EMITS.type]),
    letters: await readLetters(deployment),
    appended: await readAppended(deployment, [LATER.type]),
    scheduled: await countScheduled(deployment),
    repairs: await readRepairs(deployment),
    leftBehind:
      lists +
      (await countDue(
        deployment,
        functions.map((fn) => fn.name),
      )),
  };
}

const settled = (fn: FunctionEnd): boolean => fn.pending === 0 && fn.lag === 0 && fn.parked === 0;

/**
 * Looked at twice: what left a schedule or an outbox between two looks is in a stream that was read
 * before.
 */
async function isSettled(deployment: Millrace['deployment'], functions: number): Promise<boolean> {
  const first = await readBooks(deployment);
  if (first.length < functions || !first.every(settled)) return false;
  if ((await countScheduled(deployment)) > 0 || (await countOutboxes(deployment)) > 0) return false;
  const second = await readBooks(deployment);
  return second.every(
    (fn) =>
      settled(fn) &&
      first.some(({ name, appended }) => name === fn.name && appended === fn.appended),
  );
}

async function drain(
  service: Millrace,
  healedMs: number,
  boundMs: number,
  functions: number,
): Promise<number | null> {
  for (;;) {
    if (await isSettled(service.deployment, functions))
      return Math.round(performance.now() - healedMs);
    if (performance.now() - healedMs > boundMs) return null;
    await delay(60);
  }
}

/** @returns the folder */
function keep(
  dir: string,
  { fault, seed }: SeedOptions,
  history: History,
  violations: readonly Violation[],
  fleet: readonly DispatcherProcess[],
): string {
  const folder = join(dir, `${fault.name}-${seed}`);
  mkdirSync(folder, { recursive: true });
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, v: unknown) => (v instanceof Set ? [...(v as Set<unknown>)] : v));
  writeFileSync(join(folder, 'violations.json'), text(violations));
  writeFileSync(join(folder, 'events.json'), text({ ...history, ops: undefined }));
  writeFileSync(join(folder, 'ops.ndjson'), history.ops.map((op) => `${text(op)}\n`).join(''));
  for (const process of fleet)
    writeFileSync(join(folder, `dispatcher-${process.pid}.log`), process.log);
  return folder;
}
