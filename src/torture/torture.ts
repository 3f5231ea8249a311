/**
 * Puts faults into a user's own functions and server, in a namespace of its own, with made-up
 * events. Dispatchers are killed and frozen, connections cut, replies lost. Meanwhile the handlers
 * write down each of their calls.
 *
 *   wrap the function files → publish → fault after fault → settle → judge (checker.ts)
 *   → remove the namespace
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { monotonicMs, sleep } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import { openDeployment, type Deployment } from '../deployment.ts';
import type { Log } from '../core/log.ts';
import { describeFunctions, findIn } from '../pipeline/run/describe-functions.ts';
import { Millrace } from '../millrace.ts';
import { parseRedisUrls, type RedisTarget } from '../redis/redis-url.ts';
import { removeKeys } from '../redis/remove-keys.ts';
import { nothingAllowed } from './allowed.ts';
import { check } from './checker.ts';
import {
  countOutboxes,
  countScheduled,
  readBooks,
  readEmitted,
  readLetters,
  readRepairs,
} from './end-state.ts';
import { injectFaults, type Torture } from './faults.ts';
import type { FunctionEnd, FunctionRules, RunRecord, Op, Violation } from './run-record.ts';
import { Load } from './load.ts';
import { seededRandom } from './random.ts';
import { takeoverBoundMs } from './takeover.ts';
import { openProxy, type TcpProxy } from './tcp-proxy.ts';
import { Victims } from './victims.ts';

export interface TortureOptions {
  /** The user's deployment: the server, and the namespace of the real data, which is left alone. */
  readonly deployment: Deployment;
  readonly functionsDir: string;
  /** Function files to leave out, by name. */
  readonly skipFiles?: readonly string[];
  readonly protoDir: string;
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Torture[];
  readonly log: Log;
  /** Aborts the faults: no further fault begins, the rest goes on as usual. */
  readonly signal: AbortSignal;
  /** Called with a line about each fault. */
  readonly progress: (text: string) => void;
}

export interface TortureFunction {
  readonly name: string;
  readonly handled: number;
  readonly dead: number;
  /** Number of events acknowledged to the publisher, but neither handled nor dead. */
  readonly lost: number;
  /**
   * Number of events whose handler succeeded more than once. Effects outside Redis happen at least
   * once, so this is no violation.
   */
  readonly doubles: number;
  readonly orderBreaks: number;
}

export interface TortureReport {
  readonly namespace: string;
  readonly seed: number;
  readonly published: number;
  readonly acknowledged: number;
  readonly faults: Readonly<Record<Torture, number>>;
  /** Requested faults that are impossible here, and the reason. */
  readonly leftOut: { readonly faults: readonly Torture[]; readonly why: string } | null;
  readonly functions: readonly TortureFunction[];
  readonly violations: readonly Violation[];
  readonly takeover: {
    readonly formula: string;
    readonly boundMs: number;
    readonly measured: number;
    readonly worstMs: number | null;
  };
  /**
   * Time from the end of the last fault until everything was done or dead, ms; null: longer than
   * the bound.
   */
  readonly settledMs: number | null;
}

const LEASE_MS = 1000;
const SETTLE_MS = 60_000;
const RSS_BOUND_MB = 2048;

/**
 * @throws ConfigError: functions or types with problems; faults of the network only, where they
 *   cannot be made
 */
export async function torture(options: TortureOptions): Promise<TortureReport> {
  const { deployment, faults } = options;
  const whyNot = whyNoProxy(deployment);
  if (whyNot !== null && !faults.some((fault) => !NETWORK.includes(fault)))
    throw new ConfigError([
      `nothing can be tortured: ${faults.join(' and ')} need a proxy in front of the server, and ${whyNot}`,
    ]);
  const without = whyNot === null ? [] : faults.filter((fault) => NETWORK.includes(fault));
  const leftOut = whyNot === null || without.length === 0 ? null : { faults: without, why: whyNot };
  const dir = mkdtempSync(join(tmpdir(), 'millrace-torture-'));
  const undo: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  try {
    const bench = await arrange(options, dir, whyNot === null, undo);
    const { done, settledMs, peakRssMb } = await inject(bench, options, undo);
    const record = await readRecord(bench, settledMs, peakRssMb);
    return report(bench, options, record, { leftOut, done });
  } finally {
    for (const step of undo.reverse())
      await Promise.resolve(step()).catch((error: unknown) =>
        options.log('warn', 'the namespace of torture could not be removed', { err: error }),
      );
  }
}

type Injected = Awaited<ReturnType<typeof injectFaults>>;

/** The dispatchers under torture, and the load on them. */
interface Bench {
  readonly namespace: string;
  readonly functions: readonly FunctionSpec[];
  /** Path of the handlers' history. */
  readonly history: string;
  /** Deployment with a connection past the proxy. */
  readonly direct: Deployment;
  readonly proxy: TcpProxy | null;
  readonly victims: Victims;
  readonly types: readonly string[];
  readonly load: Load;
}

/** @param undo steps that remove it again, last first */
async function arrange(
  options: TortureOptions,
  dir: string,
  proxied: boolean,
  undo: (() => unknown)[],
): Promise<Bench> {
  const { deployment } = options;
  const namespace = `${deployment.keys.namespace.slice(0, 60)}-torture-${randomBytes(4).toString('hex')}`;
  const described = await describeFunctions({
    ...deployment,
    functionsDir: options.functionsDir,
    skipFiles: options.skipFiles,
  });
  const functions = described.map(({ spec }) => spec);
  const history = join(dir, 'history');
  await wrapFunctions(options, dir, history);
  const way = proxied ? await wayTo(deployment.url) : null;
  undo.push(() => way?.proxy.close());
  const url = way?.url ?? deployment.url;
  const changes = { MILLRACE_NAMESPACE: namespace, MILLRACE_LEASE_MS: LEASE_MS };
  const open = async (address: string): Promise<Deployment> => {
    const opened = await openDeployment({
      environment: { ...deployment.environment, ...changes, REDIS_URL: address },
      protoDir: options.protoDir,
      log: () => {},
      name: 'torture',
      settleSchemas: true,
    });
    undo.push(() => opened.close());
    return opened;
  };
  undo.push(() => removeKeys(deployment.connection, `${namespace}:`));
  const direct = await open(deployment.url);
  const victims = new Victims({
    functionsDir: join(dir, 'functions'),
    protoDir: resolve(options.protoDir),
    history,
    environment: { REDIS_URL: url, ...changes },
  });
  undo.push(() => victims.kill());
  await Promise.all([victims.spawn(), victims.spawn()]);

  const types = [...new Set(functions.flatMap((spec) => spec.on))];
  const publisher = new Millrace(await open(url)).publisher({
    flushEvents: 64,
    deadlineMs: 10_000,
  });
  undo.push(() => publisher.close());
  const load = new Load(publisher, direct.catalog, types, seededRandom(options.seed));
  const proxy = way?.proxy ?? null;
  return { namespace, functions, history, direct, proxy, victims, types, load };
}

/** Makes fault after fault under load, then waits until everything is settled. */
async function inject(
  { functions, direct, proxy, victims, load }: Bench,
  options: TortureOptions,
  undo: (() => unknown)[],
): Promise<{
  readonly done: Injected;
  readonly settledMs: number | null;
  readonly peakRssMb: number;
}> {
  const loading = load.run();
  undo.push(() => load.stop());
  const names = functions.map(({ name }) => name);
  const done = await injectFaults(
    { ...options, leaseMs: LEASE_MS, direct, proxy, victims, names },
    options.signal,
  );
  const healedMs = monotonicMs();
  load.stop();
  await loading;
  const settledMs = await settle(direct, healedMs);
  const peakRssMb = victims.peakRssMb();
  await victims.terminate();
  return { done, settledMs, peakRssMb };
}

async function readRecord(
  { functions, history, direct, types, load }: Bench,
  settledMs: number | null,
  peakRssMb: number,
): Promise<RunRecord> {
  return {
    ops: readOps(history),
    events: load.events,
    functions: functions.map(rulesOf),
    emissions: null,
    end: {
      functions: await readBooks(direct),
      letters: await readLetters(direct),
      folds: [],
      emitted: await readEmitted(direct, types),
      appended: [],
      scheduled: await countScheduled(direct),
      repairs: await readRepairs(direct),
      drainMs: settledMs,
      drainBoundMs: SETTLE_MS,
      peakRssMb,
      rssBoundMb: RSS_BOUND_MB,
      leftBehind: 0,
    },
    allowed: nothingAllowed(),
  };
}

function report(
  { namespace, load }: Bench,
  { seed }: TortureOptions,
  record: RunRecord,
  { leftOut, done }: Pick<TortureReport, 'leftOut'> & { readonly done: Injected },
): TortureReport {
  const violations = check(record);
  const { takeoversMs } = done;
  return {
    namespace,
    seed,
    violations,
    settledMs: record.end.drainMs,
    leftOut,
    published: load.events.length,
    acknowledged: load.events.filter((event) => event.fate === 'acknowledged').length,
    faults: done.counts,
    functions: record.end.functions.map((fn) => judge(fn, record.ops, violations)),
    takeover: {
      formula: 'TTL + min(1 s, TTL / 4)',
      boundMs: takeoverBoundMs(LEASE_MS),
      measured: takeoversMs.length,
      worstMs: takeoversMs.length > 0 ? Math.max(...takeoversMs) : null,
    },
  };
}

/**
 * The checker judges neither order nor repetition of views: evolve does not know its attempt, and
 * may be called again.
 */
function rulesOf({ name, on, ordering, retry, batch, view, dedupe }: FunctionSpec): FunctionRules {
  return {
    name,
    on,
    attempts: retry.attempts,
    batch,
    ordering: view === null ? ordering : 'none',
    view: view !== null,
    dedupe: dedupe !== null,
  };
}

/** Writes a file per function file that imports the original and observes it. */
async function wrapFunctions(
  { functionsDir, skipFiles }: TortureOptions,
  dir: string,
  history: string,
): Promise<void> {
  const observer = new URL('./observed.js', import.meta.url).href;
  mkdirSync(join(dir, 'functions'));
  (await findIn(functionsDir, skipFiles)).files.forEach(({ url }, i) => {
    const text = `import original from ${JSON.stringify(url)};\nimport { observed } from ${JSON.stringify(observer)};\nexport default observed(original, ${JSON.stringify(history)});\n`;
    writeFileSync(join(dir, 'functions', `f${i}.mjs`), text);
  });
}

interface Way {
  readonly proxy: TcpProxy;
  readonly url: string;
}

/** Faults made by a proxy between the dispatchers and the server. */
const NETWORK: readonly Torture[] = ['cut', 'duplicate'];

/** @returns why no proxy can stand between the dispatchers and the server; null: one can */
function whyNoProxy({ connection, url }: Deployment): string | null {
  if (connection.isCluster)
    return 'a Cluster tells its clients the addresses of its nodes, which lead past a proxy';
  if (parseRedisUrls(url)[0]?.tls) return 'TLS would notice it';
  return null;
}

async function wayTo(url: string): Promise<Way> {
  const target = parseRedisUrls(url)[0] as RedisTarget;
  const proxy = await openProxy(
    target.path === undefined
      ? { host: target.host ?? '127.0.0.1', port: target.port ?? 6379 }
      : { socket: target.path },
  );
  const { username = '', password } = target;
  const login =
    password === undefined
      ? ''
      : `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`;
  return { proxy, url: `redis://${login}127.0.0.1:${proxy.port}/${target.db}` };
}

async function settle(deployment: Deployment, healedMs: number): Promise<number | null> {
  for (;;) {
    const books = await readBooks(deployment);
    if (
      books.length > 0 &&
      books.every((fn) => fn.pending === 0 && fn.lag === 0 && fn.parked === 0) &&
      (await countOutboxes(deployment)) === 0
    )
      return Math.round(monotonicMs() - healedMs);
    if (monotonicMs() - healedMs > SETTLE_MS) return null;
    await sleep(100);
  }
}

function readOps(file: string): Op[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Op);
}

function judge(
  { name, dead }: FunctionEnd,
  ops: readonly Op[],
  violations: readonly Violation[],
): TortureFunction {
  const times = new Map<string, number>();
  for (const op of ops)
    if (op.what === 'end' && op.fn === name) times.set(op.id, (times.get(op.id) ?? 0) + 1);
  const broken = (rules: readonly Violation['rule'][]): number =>
    violations.filter(({ rule, what }) => rules.includes(rule) && what.startsWith(`${name}: `))
      .length;
  return {
    name,
    dead,
    handled: times.size,
    lost: broken(['lost']),
    doubles: [...times.values()].filter((count) => count > 1).length,
    orderBreaks: broken(['order', 'overlap']),
  };
}
