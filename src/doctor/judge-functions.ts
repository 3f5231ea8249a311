/** Judges functions, their lanes and their groups. */
import { grouped } from '../core/option-rule.ts';
import { counted, isoOf, someOf, type Diagnosis } from './diagnosis.ts';
import type { FunctionFacts, LaneTrouble, WorkFacts } from './function-facts.ts';
import { shellWord } from './shell-word.ts';

/** Age of a waiting event from which on a lane without an owner is an error, ms. */
const WAITED_MS = 60_000;

export function judgeFunctions({ functions, partitions }: WorkFacts): Diagnosis[] {
  return functions.flatMap((fn) => [
    ...(fn.members.length === 0 ? unserved(fn) : judgeLanes(fn, partitions)),
    ...judgeSetup(fn),
    ...judgeGroups(fn),
    ...judgeCounts(fn),
  ]);
}

function waiting({ lag, pending, parked, oldestMs }: FunctionFacts): string {
  const oldest = oldestMs === null ? '' : `, the oldest for ${Math.round(oldestMs / 1000)} s`;
  return `lag ${grouped(lag)}, pending ${grouped(pending)}, parked ${grouped(parked)}${oldest}`;
}

function hasWork({ lag, pending, parked }: FunctionFacts): boolean {
  return lag + pending + parked > 0;
}

function unserved(fn: FunctionFacts): Diagnosis[] {
  if (fn.types.length === 0) return [];
  const [view, version] = fn.name.split('@');
  const isGeneration = version !== undefined;
  const busy = hasWork(fn);
  return [
    {
      code: 'function-unserved',
      severity: isGeneration ? 'info' : busy ? 'error' : 'warning',
      about: fn.name,
      problem: busy
        ? 'No dispatcher serves the function, and its events wait'
        : 'No dispatcher serves the function. It keeps events of its types from being trimmed',
      evidence: `no members; ${waiting(fn)}`,
      cure: isGeneration
        ? `Start its dispatcher, or drop the version: millrace view drop ${shellWord(view ?? '')}`
        : `Start its dispatcher. If it is not deployed any more: millrace functions remove ${shellWord(fn.name)}`,
      command: 'millrace start',
    },
  ];
}

function judgeLanes(fn: FunctionFacts, partitions: number): Diagnosis[] {
  const unowned = fn.lanes.filter(({ owned }) => !owned);
  const deaths = fn.lanes.filter((lane) => lane.deaths > 1);
  const found: Diagnosis[] = [];
  if (unowned.length > 0)
    found.push({
      code: 'lanes-unowned',
      severity: hasWork(fn) && (fn.oldestMs ?? 0) > WAITED_MS ? 'error' : 'warning',
      about: fn.name,
      problem: `${unowned.length} of ${partitions} lanes have no owner, although the function has ${counted(fn.members.length, 'dispatcher')}`,
      evidence: `partitions ${partitionsOf(unowned)}; ${waiting(fn)}; dispatchers ${someOf(fn.members, 3)}`,
      cure: 'A start or an end moves lanes, for a lease (MILLRACE_LEASE_MS) at most. If it stays, the log and /healthz of these dispatchers name the reason. Then end them and start them again',
      command: null,
    });
  if (deaths.length > 0)
    found.push({
      code: 'owners-died',
      severity: 'warning',
      about: fn.name,
      problem: 'Dispatchers died in a row while they worked on these lanes: an event may kill them',
      evidence: deaths
        .map((lane) => `partition ${lane.partition}: ${counted(lane.deaths, 'death')}`)
        .join(', '),
      cure: 'Millrace searches for the event by itself, and dead-letters it. The letters tell which it was',
      command: `millrace dlq list --function ${shellWord(fn.name)} --reason dispatcher-death`,
    });
  return found;
}

function judgeSetup(fn: FunctionFacts): Diagnosis[] {
  const failing = fn.lanes.filter(({ setup }) => setup !== null);
  const first = failing[0]?.setup;
  if (!first) return [];
  return [
    {
      code: 'setup-failing',
      severity: 'error',
      about: fn.name,
      problem: 'The setup of the function fails, and none of its events runs',
      evidence: `${first.error}; since ${isoOf(first.sinceMs)}; partitions ${partitionsOf(failing)}`,
      cure: 'Mend the setup, or whatever it connects to. It is tried again by itself',
      command: null,
    },
  ];
}

function judgeGroups(fn: FunctionFacts): Diagnosis[] {
  const lost = fn.lanes.filter(({ groupless }) => groupless.length > 0);
  if (lost.length === 0) return [];
  const types = [...new Set(lost.flatMap(({ groupless }) => groupless))];
  return [
    {
      code: 'group-missing',
      severity: 'error',
      about: fn.name,
      problem: 'The consumer group of the function is gone (FLUSHALL, XGROUP DESTROY, a failover)',
      evidence: `types ${someOf(types)} in partitions ${partitionsOf(lost)}`,
      cure: 'A dispatcher makes the group again, behind the last commit: start one with this function',
      command: 'millrace start',
    },
  ];
}

function judgeCounts(fn: FunctionFacts): Diagnosis[] {
  const found: Diagnosis[] = [];
  if (!fn.conserved)
    found.push({
      code: 'counts-differ',
      severity: 'error',
      about: fn.name,
      problem: 'Done, parked, dead, pending and lag do not add up to the appended events',
      evidence: `appended ${grouped(fn.appended)}; ${waiting(fn)}`,
      cure: 'Entries were deleted, or Redis has lost data. The ledger tells which',
      command: 'millrace losses',
    });
  if (fn.letters > 0)
    found.push({
      code: 'dead-letters',
      severity: 'warning',
      about: fn.name,
      problem: 'Events of the function are dead, and nobody tries them again',
      evidence: counted(fn.letters, 'dead letter'),
      cure: `Mend the cause, then: millrace dlq replay --function ${shellWord(fn.name)}`,
      command: `millrace dlq list --function ${shellWord(fn.name)}`,
    });
  return found;
}

function partitionsOf(lanes: readonly LaneTrouble[]): string {
  return someOf(
    lanes.map(({ partition }) => String(partition)),
    8,
  );
}
