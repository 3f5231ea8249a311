/**
 * Millrace's own scenarios, case by case. Each case runs on a fresh server, with producer and
 * dispatcher in processes of their own.
 */
import { rebuildSettings } from '../../src/config.ts';
import { lag, latency } from './at-rate.ts';
import { coldStart } from './cold-start.ts';
import { drain, publish, through, type Backlog } from './flat-out.ts';
import { onFreshServer, type Bench } from './fresh-server.ts';
import { makeFunctions } from './many-functions.ts';
import type { BenchOptions, Fsync, ScenarioName } from './options.ts';
import type { ScenarioResult } from './result.ts';
import { round } from './round.ts';
import { runStoreScenario } from './store-scenarios.ts';

/** Runs once a measurement of its own, and returns its results. */
export type Case = () => Promise<ScenarioResult[]>;

/** Numbers of functions on one type, and events per second of `lag`. */
const FUNCTIONS = [1, 4, 16];
const LAG_RATE = 5000;
/** Sizes of a payload, and the lengths of the note that make them, bytes. */
const PAYLOADS = [
  { bytes: 100, noteBytes: 0 },
  { bytes: 1000, noteBytes: 890 },
  { bytes: 10_000, noteBytes: 9890 },
];
/** Most events of one entry each, as many as the rival with the same shape has. */
const MAX_FOREIGN = 500_000;
/** Concurrency and duration of a call of the function io-500. */
const IO_500 = { concurrency: 500, waitMs: 20 };
/** Scenarios that the server's appendfsync hardly changes: they run with the first one only. */
const ONCE: readonly ScenarioName[] = ['backlog', 'cpu', 'io', 'io-500', 'cold-start', 'load'];

/** Returns the cases of a scenario; none where another appendfsync has covered it. */
export function casesOf(
  name: ScenarioName,
  options: BenchOptions,
  fsync: Fsync,
  say: (text: string) => void,
): Case[] {
  if (ONCE.includes(name) && fsync !== options.fsync[0]) return [];
  const on =
    (work: (bench: Bench) => Promise<ScenarioResult>): Case =>
    async () => [await onFreshServer(options, fsync, work)];
  const drained = (backlog: Omit<Backlog, 'name'>): Case =>
    on((bench) => drain(bench, { ...backlog, name }, say));
  const { events, backlog, quick } = options;
  switch (name) {
    case 'publish':
      return [on((bench) => publish(bench, events))];
    case 'through':
      return [on((bench) => through(bench, name, 'noop-decode', events))];
    case 'view':
      return [on((bench) => through(bench, name, 'view', events))];
    case 'latency-1k':
      return [on((bench) => latency(bench, name, 1000))];
    case 'latency-33k':
      return [on((bench) => latency(bench, name, quick ? 5000 : 33_334))];
    case 'lag':
      return (quick ? [2] : FUNCTIONS).map((count) =>
        on((bench) => lag(bench, count, quick ? 500 : LAG_RATE)),
      );
    case 'fan-out':
      return (quick ? [4] : FUNCTIONS).map((count) =>
        on((bench) => fanOut(bench, count, Math.ceil(backlog / 4), say)),
      );
    case 'cold-start':
      return [on(coldStart)];
    case 'append':
    case 'load':
      return [async () => [await runStoreScenario(name, options, fsync)]];
    default:
      return drainsOf(name, options).map(drained);
  }
}

/** Returns the backlogs of the scenarios that drain one. */
function drainsOf(
  name: Exclude<
    ScenarioName,
    | 'publish'
    | 'through'
    | 'view'
    | 'latency-1k'
    | 'latency-33k'
    | 'lag'
    | 'fan-out'
    | 'cold-start'
    | 'append'
    | 'load'
  >,
  options: BenchOptions,
): Omit<Backlog, 'name'>[] {
  const { backlog: events, quick } = options;
  const noop = 'noop-decode';
  switch (name) {
    case 'drain':
      return [{ functionsDir: noop, events }];
    case 'foreign':
      return [{ functionsDir: noop, events: Math.min(events, MAX_FOREIGN), foreign: true }];
    case 'payload':
      return PAYLOADS.filter(({ bytes }) => !quick || bytes === 1000).map(
        ({ bytes, noteBytes }) => ({
          functionsDir: noop,
          events: Math.ceil((events * 100) / bytes),
          noteBytes,
          params: { payloadBytes: bytes },
        }),
      );
    case 'failing':
      // Each failure is a warning of the log.
      return [{ functionsDir: 'failing', events, settings: { LOG_LEVEL: 'error' } }];
    case 'backlog':
      return [{ functionsDir: noop, events: options.deep, sampled: true }];
    case 'view-drain':
      return [{ functionsDir: 'view', events }];
    case 'rebuild': {
      // These are the settings with which millrace view rebuild runs a new version's lanes.
      const settings = rebuildSettings({});
      const workers = settings.WORKERS ?? options.workers;
      return [{ functionsDir: 'view', events, workers, settings }];
    }
    case 'cpu':
    case 'io': {
      const perWorker = name === 'cpu' ? 20_000 : 10_000;
      const most = Array.from({ length: options.workers }, (_, i) => i + 1);
      return most
        .filter((workers) => !quick || workers === options.workers)
        .map((workers) => ({
          functionsDir: name,
          events: quick ? 1000 : perWorker * workers,
          workers,
        }));
    }
    case 'io-500': {
      const bound = (options.workers * IO_500.concurrency * 1000) / IO_500.waitMs;
      const params = { ...IO_500, boundPerSecond: round(bound) };
      return [{ functionsDir: name, events: Math.min(events, bound * 5), params }];
    }
  }
}

/** Drains a backlog by several functions on one type. */
async function fanOut(
  bench: Bench,
  count: number,
  events: number,
  say: (text: string) => void,
): Promise<ScenarioResult> {
  const { dir, names, remove } = makeFunctions(count);
  try {
    const backlog = { name: 'fan-out', functionsDir: dir, functions: names, events };
    return await drain(bench, backlog, say);
  } finally {
    await remove();
  }
}
