/** Judges whether a dispatcher gets on: its lanes, its outboxes, its share, its connection. */
import type { FunctionSpec } from '../core/function-spec.ts';
import { ownFrame } from '../core/own-frame.ts';
import type { SetupFailure } from '../core/setup-failure.ts';
import type { Deployment } from '../deployment.ts';
import { describeUnserved, type Unserved } from '../lag/unserved.ts';
import type { LaneProgress } from '../pipeline/lane/lane-progress.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';
import type { Parts } from './parts.ts';

export interface HealthProblem {
  /** Name of the function. Null: the problem is an outbox's, or the whole process's. */
  readonly function: string | null;
  /** Null: all partitions. */
  readonly partition: number | null;
  readonly problem: string;
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
  /** Whether start() has ended and stop() has not begun. */
  readonly started: boolean;
  readonly connection: string;
  readonly lanes: number;
  readonly problems: readonly HealthProblem[];
  /** Functions whose setup fails, from the first failure on. They are no problem at first. */
  readonly setups: readonly FailingSetup[];
  /** Reason why start(), or a dispatcher without lanes, waits. Absent: it does not wait. */
  readonly waitingFor?: string;
}

/** Lanes of a dispatcher's share. See LaneKeeper.reportShare(). */
interface Share {
  readonly lanes: number;
  readonly missing: number;
  readonly missingMs: number;
}

/** A dispatcher that is asked for its health. */
export interface HealthSources {
  readonly deployment: Deployment;
  readonly functions: readonly FunctionInfo[];
  /** Null: start() has not come so far. */
  readonly parts: Parts | null;
  readonly started: boolean;
  /** Failure for which the dispatcher has stopped itself. Null: none. */
  readonly failure: Error | null;
  /** Reason why start() waits. Null: it does not wait. */
  readonly waitingFor: string | null;
}

/** State of a dispatcher's parts when it is asked for its health. */
interface HealthFacts {
  /** MILLRACE_STALL_MS. */
  readonly stallMs: number;
  readonly partitions: number;
  readonly started: boolean;
  readonly connection: string;
  readonly lanes: readonly {
    readonly fn: string;
    readonly partition: number;
    readonly idle: boolean;
    readonly progress: Pick<LaneProgress, 'last' | 'stalled'>;
    readonly setupFailure: SetupFailure | null;
  }[];
  readonly specs: readonly Pick<FunctionSpec, 'timeoutMs'>[];
  /** Null: no lane was asked for yet. */
  readonly share: Share | null;
  /** See Relay.stalled(). */
  readonly stalledOutboxes: readonly { readonly partition: number; readonly problem: string }[];
  /** Reason why Redis refuses writes. Null: it takes them. */
  readonly refused: string | null;
  /** Failure for which the dispatcher has stopped itself. Null: none. */
  readonly failure: string | null;
  readonly unserved: readonly Unserved[];
  /** Reason why start() waits. Null: it does not wait. */
  readonly waitingFor: string | null;
}

/** Whether every lane with work gets on, and emitted events leave the outboxes. */
export function readHealth(sources: HealthSources): HealthReport {
  return judge(factsOf(sources));
}

function factsOf(sources: HealthSources): HealthFacts {
  const { deployment, functions, parts, started, failure, waitingFor } = sources;
  const stallMs = deployment.environment.MILLRACE_STALL_MS;
  return {
    stallMs,
    partitions: deployment.partitions,
    started,
    connection: deployment.connection.status,
    lanes: [...(parts?.keeper.lanes.values() ?? [])],
    specs: functions.map(({ spec }) => spec),
    share: parts?.keeper.reportShare() ?? null,
    stalledOutboxes: parts?.relay.stalled(stallMs) ?? [],
    refused: parts?.watch.refusal ?? null,
    failure: failure?.message ?? null,
    unserved: parts?.upkeep.unserved ?? [],
    waitingFor,
  };
}

function judge(facts: HealthFacts): HealthReport {
  const { lanes, stallMs } = facts;
  const problems: HealthProblem[] = [];
  const others = {
    progressMs: Math.max(...lanes.filter((lane) => !lane.idle).map((lane) => lane.progress.last())),
    timeoutMs: Math.max(...facts.specs.map(({ timeoutMs }) => timeoutMs)),
  };
  for (const { fn, partition, progress } of lanes) {
    const problem = progress.stalled(stallMs, others);
    if (problem !== null) problems.push({ function: fn, partition, problem });
  }
  for (const stalled of facts.stalledOutboxes) problems.push({ function: null, ...stalled });
  for (const problem of wholeProblems(facts))
    problems.push({ function: null, partition: null, problem });
  const waitingFor = facts.waitingFor ?? withoutLanes(facts);
  return {
    ok: problems.length === 0,
    started: facts.started,
    connection: facts.connection,
    lanes: lanes.length,
    problems,
    setups: failingSetups(facts),
    ...(waitingFor === null ? {} : { waitingFor }),
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

/** A dispatcher takes no work as long as it holds none of the lanes of its share. */
function withoutLanes({ started, share }: HealthFacts): string | null {
  return started && share && share.lanes > 0 && share.missing === share.lanes
    ? `this dispatcher holds none of its ${share.lanes} lanes`
    : null;
}

/** Problems of the whole process. */
function wholeProblems(facts: HealthFacts): string[] {
  const { refused, failure, share, unserved } = facts;
  const problems: string[] = [];
  if (refused !== null) problems.push(refused);
  if (failure !== null) problems.push(failure);
  if (share && share.missingMs >= facts.stallMs) {
    problems.push(
      `${share.missing} of the ${share.lanes} lanes that are its share are not held, for ${Math.round(share.missingMs / 1000)} s`,
    );
  }
  if (unserved.length > 0) problems.push(describeUnserved(facts.partitions, unserved));
  return problems;
}
