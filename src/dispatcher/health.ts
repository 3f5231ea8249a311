/** Judges whether a dispatcher gets on: its lanes, its outboxes, its share, its server. */
import {
  causeOf,
  connectionReason,
  isLastingRefusal,
  reasonFor,
  serverReason,
  type HealthReason,
  type ReasonCode,
} from '../core/health-reason.ts';
import { GroupLostError, RedisReplyError } from '../core/errors/server-errors.ts';
import { ownFrame } from '../core/own-frame.ts';
import type { SetupFailure } from '../core/setup-failure.ts';
import type { Deployment } from '../deployment.ts';
import { describeUnserved, type Unserved } from '../lag/unserved.ts';
import type { LaneProgress } from '../pipeline/lane/lane-progress.ts';
import type { LeaseReport } from '../pipeline/ownership/lease-times.ts';
import type { ShareReport } from '../pipeline/ownership/lane-share.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Parts } from './parts.ts';
import type { RedisTroubles } from './redis-troubles.ts';

export interface HealthProblem {
  /** Name of the function. Null: the problem is an outbox's, or the whole process's. */
  readonly function: string | null;
  /** Null: all partitions. */
  readonly partition: number | null;
  readonly problem: string;
  readonly code: ReasonCode;
  readonly cure: string;
}

/** A function whose setup fails: none of its events is tried in these lanes. */
export interface FailingSetup {
  readonly function: string;
  /** Number of its lanes here with the failure. */
  readonly lanes: number;
  /** Latest error. */
  readonly error: string;
  /** Place in the user's code, as `path:line:column`; '': not known. */
  readonly at: string;
  /** First failure, ms since 1970. */
  readonly sinceMs: number;
}

export interface HealthReport {
  /** Whether every lane with work gets on, and emitted events leave the outboxes. */
  readonly ok: boolean;
  /** Whether it takes work. */
  readonly ready: boolean;
  /** Whether a restart would cure nothing: false where this process itself is at fault. */
  readonly live: boolean;
  /** Whether start() has ended and stop() has not begun. */
  readonly started: boolean;
  readonly connection: string;
  readonly lanes: number;
  readonly problems: readonly HealthProblem[];
  /**
   * Functions whose setup fails, from the first failure on. They are a problem after
   * MILLRACE_STALL_MS.
   */
  readonly setups: readonly FailingSetup[];
  /**
   * All reasons that hold now, one for each code, the problems' included. Reasons of the whole
   * process come first.
   */
  readonly reasons: readonly HealthReason[];
  /** Reason why start(), or a dispatcher without lanes, waits. Absent: it does not wait. */
  readonly waitingFor?: string;
}

export type DispatcherPhase = 'starting' | 'running' | 'stopping';

/** A dispatcher that is asked for its health. */
export interface HealthSources {
  readonly deployment: Deployment;
  readonly functions: readonly FunctionInfo[];
  /** Null: start() has not come so far. */
  readonly parts: Parts | null;
  readonly phase: DispatcherPhase;
  /** Failure for which the dispatcher has stopped itself. Null: none. */
  readonly failure: Error | null;
  /** Reason why start() waits. Null: it does not wait. */
  readonly waitsFor: HealthReason | null;
  /** Told of each look at Redis. */
  readonly troubles: RedisTroubles;
}

/** State of a dispatcher's parts when it is asked for its health. */
interface HealthFacts {
  /** MILLRACE_STALL_MS. */
  readonly stallMs: number;
  /** MILLRACE_LEASE_MS. */
  readonly leaseMs: number;
  readonly partitions: number;
  readonly phase: DispatcherPhase;
  readonly connections: readonly Pick<RedisConnection, 'status' | 'trouble' | 'target'>[];
  readonly lanes: readonly {
    readonly fn: string;
    readonly partition: number;
    readonly idle: boolean;
    readonly progress: Pick<LaneProgress, 'last' | 'stalled' | 'failure'>;
    readonly setupFailure: SetupFailure | null;
    readonly setupFailingMs: number;
  }[];
  readonly specs: readonly { readonly timeoutMs: number }[];
  /** Null: the dispatcher starts or stops. */
  readonly share: ShareReport | null;
  /** Null: the dispatcher starts or stops. */
  readonly leases: LeaseReport | null;
  /** Failure of the last check of the leases. Null: it has not failed. */
  readonly leaseFailure: unknown;
  /** Time for which Redis has not answered the look at it, ms. */
  readonly unansweredMs: number;
  /** See Relay.stalled(). */
  readonly stalledOutboxes: readonly { readonly partition: number; readonly problem: string }[];
  /** Reason why Redis refuses writes. Null: it takes them. */
  readonly refused: HealthReason | null;
  readonly failure: string | null;
  readonly unserved: readonly Unserved[];
  readonly waitsFor: HealthReason | null;
  readonly troubles: RedisTroubles;
}

/** Facts, with the state of Redis. */
interface Judged extends HealthFacts {
  /** Reason why Redis is at fault. Null: it is not. */
  readonly server: HealthReason | null;
  /** Time since there was trouble with Redis, ms. 0: there is. */
  readonly calmMs: number;
}

/** Time without an answer from which on Redis counts as silent, ms. A busy one takes less. */
const SILENT_MS = 250;
/** Time without an answer from which on nothing can be said about lanes, ms. */
const AWAY_MS = 1000;
/** Reasons that concern single lanes. The others take work all the same. */
const PARTIAL: ReadonlySet<ReasonCode> = new Set([
  'setup-failing',
  'lane-refused',
  'lane-stalled',
  'outbox-stalled',
]);

/** Whether every lane with work gets on, and emitted events leave the outboxes. */
export function readHealth(sources: HealthSources): HealthReport {
  const facts = factsOf(sources);
  const server = facts.waitsFor ?? serverTrouble(facts);
  const away = facts.unansweredMs >= Math.min(AWAY_MS, facts.stallMs / 2);
  return judge({ ...facts, server, calmMs: facts.troubles.looked(server !== null || away) });
}

function factsOf(sources: HealthSources): HealthFacts {
  const { deployment, functions, parts, phase, failure, waitsFor, troubles } = sources;
  const { MILLRACE_STALL_MS: stallMs, MILLRACE_LEASE_MS: leaseMs } = deployment.environment;
  const running = phase === 'running';
  return {
    stallMs,
    leaseMs,
    partitions: deployment.partitions,
    phase,
    // A dispatcher that has stopped has closed its own.
    connections: [deployment.connection, ...(parts ? [parts.connection] : [])].filter(
      ({ status }, i) => i === 0 || status !== 'closed',
    ),
    lanes: [...(parts?.keeper.lanes.values() ?? [])],
    specs: functions.map(({ spec }) => spec),
    share: (running ? parts?.keeper.reportShare() : null) ?? null,
    leases: (running ? parts?.keeper.reportLeases() : null) ?? null,
    leaseFailure: parts?.keeper.failure ?? null,
    unansweredMs: parts?.watch.unansweredMs ?? 0,
    stalledOutboxes: parts?.relay.stalled(stallMs) ?? [],
    refused: parts?.watch.refusal ?? null,
    failure: failure?.message ?? null,
    unserved: parts?.upkeep.unserved ?? [],
    waitsFor,
    troubles,
  };
}

function judge(facts: Judged): HealthReport {
  const { phase, share, server } = facts;
  const problems: HealthProblem[] = [
    ...setupProblems(facts),
    ...(facts.calmMs > facts.stallMs ? [...laneProblems(facts), ...outboxProblems(facts)] : []),
    ...wholeProblems(facts).map(({ code, text, cure }) => ({
      function: null,
      partition: null,
      problem: text,
      code,
      cure,
    })),
  ];
  const unheld = problems.some(({ code }) => code === 'share-not-held');
  const waits = unheld ? [] : phaseReason(facts);
  const reasons = distinct([...(server ? [server] : []), ...waits, ...problems.map(reasonOf)]).sort(
    (a, b) => Number(PARTIAL.has(a.code)) - Number(PARTIAL.has(b.code)),
  );
  // A restart does not cure Redis, nor the data in it. A lane that hangs may hang for it.
  const live =
    server !== null ||
    reasons.some(({ code }) => code === 'lease-refused') ||
    !reasons.some(
      ({ code }) =>
        causeOf(code) === 'process' &&
        (code !== 'share-not-held' ||
          Math.min(share?.missingMs ?? 0, facts.calmMs) >= facts.stallMs),
    );
  const waitingFor = facts.waitsFor?.text ?? waits.find(isWait)?.text;
  return {
    ok: problems.length === 0,
    ready: reasons.every(({ code }) => PARTIAL.has(code)),
    live,
    started: phase === 'running',
    connection: facts.connections.find(({ status }) => status !== 'up')?.status ?? 'up',
    lanes: facts.lanes.length,
    problems,
    setups: failingSetups(facts),
    reasons,
    ...(waitingFor === undefined ? {} : { waitingFor }),
  };
}

function failingSetups({ lanes }: HealthFacts): FailingSetup[] {
  const found = new Map<string, { lanes: number; latest: SetupFailure; sinceMs: number }>();
  for (const { fn, setupFailure: failure } of lanes) {
    if (failure === null) continue;
    const known = found.get(fn);
    if (!known) found.set(fn, { lanes: 1, latest: failure, sinceMs: failure.sinceMs });
    else {
      known.lanes++;
      known.sinceMs = Math.min(known.sinceMs, failure.sinceMs);
      if (failure.atMs > known.latest.atMs) known.latest = failure;
    }
  }
  return Array.from(found, ([fn, { latest, ...counts }]) => ({
    function: fn,
    error: latest.error,
    at: ownFrame(latest.stack),
    ...counts,
  }));
}

const isWait = ({ code }: HealthReason): boolean => code === 'lanes-elsewhere';

const reasonOf = ({ code, problem, cure }: HealthProblem): HealthReason => ({
  code,
  text: problem,
  cure,
});

function told(code: ReasonCode): Pick<HealthProblem, 'code' | 'cure'> {
  return { code, cure: reasonFor(code, '').cure };
}

/** The first one of each code. */
function distinct(reasons: readonly HealthReason[]): HealthReason[] {
  return reasons.filter(({ code }, i) => reasons.findIndex((one) => one.code === code) === i);
}

function outboxProblems({ stalledOutboxes }: HealthFacts): HealthProblem[] {
  return stalledOutboxes.map((stalled) => ({
    function: null,
    ...stalled,
    ...told('outbox-stalled'),
  }));
}

function setupProblems(facts: HealthFacts): HealthProblem[] {
  const { lanes, stallMs } = facts;
  return failingSetups(facts).flatMap(({ function: fn, error, lanes: count }) => {
    const forMs = Math.max(
      ...lanes.filter((lane) => lane.fn === fn).map((lane) => lane.setupFailingMs),
    );
    const problem = `${error}; in ${count} lanes, for ${seconds(forMs)}`;
    return forMs > stallMs
      ? [{ function: fn, partition: null, problem, ...told('setup-failing') }]
      : [];
  });
}

/** A lane whose setup fails gets nothing done: the failing setup is the reason. */
function laneProblems({ lanes, specs, stallMs }: HealthFacts): HealthProblem[] {
  const others = {
    progressMs: Math.max(...lanes.filter((lane) => !lane.idle).map((lane) => lane.progress.last())),
    timeoutMs: Math.max(...specs.map(({ timeoutMs }) => timeoutMs)),
  };
  return lanes.flatMap(({ fn, partition, progress, setupFailure }) => {
    const problem = setupFailure === null ? progress.stalled(stallMs, others) : null;
    if (problem === null) return [];
    const code = isLastingRefusal(progress.failure) ? 'lane-refused' : 'lane-stalled';
    return [{ function: fn, partition, problem, ...told(code) }];
  });
}

/** Says what is wrong with Redis, or with the way to it. Null: nothing, as far as is known. */
function serverTrouble(facts: HealthFacts): HealthReason | null {
  const { refused, connections, unansweredMs, leases, lanes } = facts;
  if (refused !== null) return refused;
  // A right may be missing for some calls only, so other writes prove nothing. The refusal of a
  // lane's turn holds until a turn of that lane succeeds.
  for (const { progress } of lanes)
    if (isDenied(progress.failure)) return serverReason(progress.failure);
  for (const connection of connections) {
    const reason = connectionReason(connection);
    if (reason !== null) return reason;
  }
  if ((leases?.overdueMs ?? 0) === 0 || unansweredMs < SILENT_MS) return null;
  const target = connections[0]?.target ?? 'Redis';
  return reasonFor('unreachable', `${target} has not answered for ${seconds(unansweredMs)}`);
}

function isDenied(error: unknown): boolean {
  const refused = error instanceof RedisReplyError || error instanceof GroupLostError;
  return refused && error.reply === 'NOPERM';
}

/** A dispatcher that starts, stops, or holds none of the lanes of its share takes no work. */
function phaseReason({ phase, share }: HealthFacts): HealthReason[] {
  if (phase === 'starting') return [reasonFor('starting', 'the dispatcher has not started yet')];
  if (phase === 'stopping') return [reasonFor('stopping', 'the dispatcher drains or has stopped')];
  return share && share.lanes > 0 && share.missing === share.lanes
    ? [reasonFor('lanes-elsewhere', `this dispatcher holds none of its ${share.lanes} lanes`)]
    : [];
}

/** Problems of the whole process. */
function wholeProblems(facts: Judged): HealthReason[] {
  const { failure, share, leases, leaseFailure, unserved, leaseMs, stallMs, server, calmMs } =
    facts;
  const overdue = leases !== null && leases.overdueMs > 0;
  const problems: HealthReason[] = [];
  // A short interruption is no problem: the leases outlast it.
  if (server && (overdue || (server.code !== 'unreachable' && server.code !== 'not-serving')))
    problems.push(server);
  if (failure !== null) problems.push(reasonFor('settings-changed', failure));
  const unheldMs = Math.min(stallMs, leaseMs);
  const unheld = share !== null && Math.min(share.missingMs, calmMs) >= unheldMs;
  if (isLastingRefusal(leaseFailure)) {
    if (overdue || unheld) problems.push(reasonFor('lease-refused', leaseFailure.message));
  } else if (overdue && calmMs > leaseMs) problems.push(overdueReason(leases));
  if (unheld) {
    const text = `nobody holds ${share.unheld} of the ${share.lanes} lanes of this dispatcher's share, for ${seconds(share.missingMs)}`;
    problems.push(reasonFor('share-not-held', text));
  } else if (leases && leases.unownedMs > 2 * leaseMs) {
    const text = `this dispatcher has no lanes, although nobody owns ${leases.unowned} of them, for ${seconds(leases.unownedMs)}`;
    problems.push(reasonFor('lanes-unowned', text));
  }
  if (unserved.length > 0)
    problems.push(reasonFor('events-unserved', describeUnserved(facts.partitions, unserved)));
  return problems;
}

function overdueReason({ overdue, overdueMs }: LeaseReport): HealthReason {
  const ago = `${seconds(overdueMs)} ago`;
  const text =
    overdue === 0
      ? `the last look at the leases was ${ago}`
      : `the leases of ${overdue} lanes have run out: the last renewal or commit was ${ago}`;
  return reasonFor('lease-overdue', text);
}

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;
