/** Judges event types: readers, limits, and events where nobody reads them. */
import { grouped } from '../core/option-rule.ts';
import { describeUnserved } from '../lag/unserved.ts';
import { counted, fact, someOf, type Diagnosis } from './diagnosis.ts';
import type { FunctionFacts, TypeFacts, WorkFacts } from './function-facts.ts';
import { OF_KEY, type RedisCli } from './redis-cli.ts';
import { shellWord } from './shell-word.ts';

/** Events of a type from which on a missing limit is a warning. */
const MANY = 1_000_000;
/** Share by which streams may be above their limit: retention works page by page. */
const ABOVE = 1.1;

export function judgeTypes(facts: WorkFacts, cli: RedisCli): Diagnosis[] {
  const { types, functions, unserved, partitions } = facts;
  const kept = types.reduce((sum, type) => sum + type.kept, 0);
  const found: Diagnosis[] = [
    fact(
      'deployment',
      null,
      `${counted(partitions, 'partition')}, ${counted(types.length, 'event type')} with ${counted(kept, 'event')} kept, ${counted(functions.length, 'function')}`,
    ),
    ...types.flatMap((type) => [
      ...judgeReaders(type, cli),
      ...judgeRetention(type, functions),
      ...judgeBacklog(type),
    ]),
    ...judgeLimits(types),
  ];
  if (unserved.length > 0)
    found.push({
      code: 'partitions-unserved',
      severity: 'error',
      about: null,
      problem: 'Events lie in partitions that nobody reads',
      evidence: describeUnserved(partitions, unserved),
      cure: `Set MILLRACE_PARTITIONS=${partitions} for that producer, and publish the events again`,
      command: `export MILLRACE_PARTITIONS=${partitions}`,
    });
  return found;
}

function judgeReaders(facts: TypeFacts, cli: RedisCli): Diagnosis[] {
  const { type, appended, kept, readers, foreign } = facts;
  const found: Diagnosis[] = [];
  if (readers.length === 0 && kept > 0)
    found.push({
      code: 'type-unread',
      severity: 'warning',
      about: type,
      problem: 'No function reads the type. Its events stay in Redis until it has a limit',
      evidence: `${counted(kept, 'event')} kept`,
      cure: 'Start a function on the type, or limit it',
      command: `millrace limits ${shellWord(type)} --max-age 7d`,
    });
  if (readers.length > 0 && appended === 0)
    found.push({
      code: 'type-silent',
      severity: 'info',
      about: type,
      problem: 'Nothing of the type was ever published, although functions read it',
      evidence: `read by ${someOf(readers)}`,
      cure: 'Check its name in the publisher and in the function',
      command: null,
    });
  const [first] = foreign;
  if (first !== undefined)
    found.push({
      code: 'group-foreign',
      severity: 'info',
      about: type,
      problem:
        'Consumer groups on its streams belong to no registered function. Retention ignores them',
      evidence: `groups ${someOf(foreign.map(({ group }) => group))}`,
      cure: 'Leave them if another program reads there. Otherwise destroy each of them',
      command: cli(OF_KEY, `XGROUP DESTROY ${shellWord(first.stream)} ${shellWord(first.group)}`),
    });
  return found;
}

function isLimited({ limits }: TypeFacts): boolean {
  return limits?.maxAgeMs !== undefined || limits?.maxEvents !== undefined;
}

function judgeLimits(types: readonly TypeFacts[]): Diagnosis[] {
  const filled = types.filter(({ kept }) => kept > 0);
  const unlimited = filled.filter((type) => !isLimited(type)).sort((a, b) => b.kept - a.kept);
  const [largest] = unlimited;
  if (largest === undefined) return [];
  const backlogs = unlimited.filter(({ limits }) => limits?.maxBacklog !== undefined).length;
  const evidence = unlimited
    .slice(0, 5)
    .map(({ type, kept }) => `${type} ${grouped(kept)}`)
    .join(', ');
  const command = `millrace limits ${shellWord(largest.type)} --max-age 7d --max-events 50000000`;
  if (unlimited.length === filled.length)
    return [
      {
        code: 'limits-none',
        severity: 'warning',
        about: null,
        problem: 'No event type has a limit of age or number: Redis keeps every event, and fills',
        // A limit of the backlog is a limit, too, and trims nothing.
        evidence: `events kept: ${evidence}${backlogs === 0 ? '' : `; ${counted(backlogs, 'type')} with max-backlog alone, which trims nothing`}`,
        cure: 'Set limits for each type. Retention takes no event that a function has not settled',
        command,
      },
    ];
  return [
    {
      code: 'limit-missing',
      severity: largest.kept >= MANY ? 'warning' : 'info',
      about: largest.type,
      problem: `${unlimited.length} of ${filled.length} event types have no limit of age or number, and are kept for ever`,
      evidence: `events kept: ${evidence}`,
      cure: 'Set limits for these types',
      command,
    },
  ];
}

function judgeRetention(
  { type, kept, limits, readers }: TypeFacts,
  functions: readonly FunctionFacts[],
): Diagnosis[] {
  const most = limits?.maxEvents;
  if (most === undefined || kept <= most * ABOVE + 1000) return [];
  const behind = functions
    .filter((fn) => readers.includes(fn.name))
    .map((fn) => ({ ...fn, open: fn.lag + fn.pending }))
    .sort((a, b) => b.open - a.open)[0];
  return [
    {
      code: 'retention-held',
      severity: 'warning',
      about: type,
      problem: 'The streams of the type are above their limit',
      evidence: `${grouped(kept)} events kept, max-events ${grouped(most)}${behind ? `; ${behind.name} is ${counted(behind.open, 'event')} behind` : ''}`,
      cure: `Let that function catch up. Retention needs a dispatcher that runs${behind && behind.members.length === 0 ? `. If the function is not deployed any more: millrace functions remove ${shellWord(behind.name)}` : ''}`,
      // A function that dispatchers serve needs time, and none of its events is to be given up.
      command: behind && behind.members.length > 0 ? null : 'millrace start',
    },
  ];
}

function judgeBacklog({ type, backlog }: TypeFacts): Diagnosis[] {
  if (backlog === null || backlog.events <= backlog.limit) return [];
  const { fn, partition, events, limit, served } = backlog;
  return [
    {
      code: 'backlog-beyond',
      severity: 'warning',
      about: type,
      problem: 'A function is further behind than max-backlog: publishers of the type are slowed',
      evidence: `${fn} is ${counted(events, 'event')} behind in partition ${partition}, whose part of max-backlog is ${grouped(limit)}`,
      cure: served
        ? 'Give its dispatchers more threads (WORKERS), or start more of them'
        : `Start its dispatcher. If the function is not deployed any more: millrace functions remove ${shellWord(fn)}`,
      command: 'millrace start',
    },
  ];
}
