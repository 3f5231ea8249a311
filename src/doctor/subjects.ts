/**
 * Looks at parked subjects: held ones, and ones that wait without a reason. At most SAMPLE subjects
 * of each lane are looked at. Reads only; the sweep of a dispatcher sets wedged ones free.
 */
import { formatLetterId } from '../pipeline/dead/dead-letters.ts';
import { counterFields, countOf, readPartitions, type PartitionState } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import { serverTime } from '../redis/server-time.ts';
import { counted, grouping, someOf, type Diagnosis } from './diagnosis.ts';
import { shellWord } from './shell-word.ts';

const SAMPLE = 100;
/** Time after which a due subject should have run, ms. */
const OVERDUE_MS = 60_000;

/** Parked subjects of one lane. */
export interface ParkedFacts {
  readonly fn: string;
  readonly partition: number;
  /** Events parked, by the counters. */
  readonly parked: number;
  /** Subjects in the schedule. */
  readonly scheduled: number;
  /** Subjects that are due for longer than OVERDUE_MS. */
  readonly overdue: number;
  /** Subjects that a dead letter holds, in all. */
  readonly held: number;
  /** Some of them, with the id of the letter. */
  readonly holders: readonly { readonly unit: string; readonly letter: string }[];
  /** Some subjects that are due never, and that no letter holds. */
  readonly never: readonly string[];
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readParked(source: RedisSource): Promise<ParkedFacts[]> {
  const [states, nowMs] = await Promise.all([readPartitions(source), serverTime(source)]);
  const lanes = states.flatMap((state) =>
    state.functions.map((fn) => readLane(source, state, fn, nowMs)),
  );
  const all = await Promise.all(lanes);
  return all.filter(({ parked, scheduled, held }) => parked + scheduled + held > 0);
}

async function readLane(
  { connection, keys }: RedisSource,
  state: PartitionState,
  { name, types }: PartitionState['functions'][number],
  nowMs: number,
): Promise<ParkedFacts> {
  const { partition } = state;
  const due = keys.due(partition, name);
  const heldKey = keys.held(partition, name);
  const [scheduled, overdue, held, never] = (await Promise.all([
    connection.command('ZCARD', due),
    connection.command('ZCOUNT', due, '-inf', nowMs - OVERDUE_MS),
    connection.command('HLEN', heldKey),
    connection.command('ZRANGEBYSCORE', due, '+inf', '+inf', 'LIMIT', 0, SAMPLE),
  ])) as [number, number, number, string[]];
  const letters =
    never.length === 0
      ? []
      : ((await connection.command('HMGET', heldKey, ...never)) as (string | null)[]);
  const holders = never.flatMap((unit, i) => {
    const letter = letters[i];
    return letter ? [{ unit, letter: formatLetterId(name, partition, letter) }] : [];
  });
  const parked = types.reduce(
    (sum, type) => sum + countOf(state, counterFields.parked(name, type)),
    0,
  );
  return {
    fn: name,
    ...{ partition, parked, scheduled, overdue, held, holders },
    never: never.filter((_, i) => !letters[i]),
  };
}

export function judgeParked(lanes: readonly ParkedFacts[]): Diagnosis[] {
  const byFunction = grouping(lanes, ({ fn }) => fn);
  return [...byFunction].flatMap(([fn, of]) => [
    ...judgeHeld(fn, of),
    ...judgeWedged(fn, of),
    ...judgeOverdue(fn, of),
  ]);
}

function judgeHeld(fn: string, lanes: readonly ParkedFacts[]): Diagnosis[] {
  const count = lanes.reduce((sum, { held }) => sum + held, 0);
  if (count === 0) return [];
  const holders = lanes.flatMap((lane) => lane.holders);
  const first = holders[0];
  return [
    {
      code: 'subjects-held',
      severity: 'warning',
      about: fn,
      problem: `Dead letters hold ${counted(count, 'subject')} for ever (onDead: "hold")`,
      evidence:
        someOf(
          holders.map(({ unit, letter }) => `${unit} by ${letter}`),
          3,
        ) || 'no letter was found',
      cure: 'Mend the cause, then replay each letter. A purge of the letter lets its subject go on without the event',
      command:
        first === undefined
          ? `millrace dlq list --function ${shellWord(fn)}`
          : `millrace dlq replay ${shellWord(first.letter)}`,
    },
  ];
}

function judgeWedged(fn: string, lanes: readonly ParkedFacts[]): Diagnosis[] {
  const never = lanes.flatMap((lane) => lane.never);
  const unlisted = lanes.filter(({ parked, scheduled }) => parked > 0 && scheduled === 0);
  if (never.length === 0 && unlisted.length === 0) return [];
  const evidence = [
    ...(never.length === 0 ? [] : [`never due and not held: ${someOf(never, 3)}`]),
    ...unlisted.map(
      ({ partition, parked }) =>
        `partition ${partition}: ${counted(parked, 'event')} parked, and no subject in the schedule`,
    ),
  ];
  return [
    {
      code: 'subjects-wedged',
      severity: 'error',
      about: fn,
      problem: 'Parked subjects wait without a reason',
      evidence: someOf(evidence, 3),
      cure: 'The sweep of a dispatcher sets them free within a few MILLRACE_UPKEEP_MS. Start one; millrace losses then tells',
      command: 'millrace start',
    },
  ];
}

function judgeOverdue(fn: string, lanes: readonly ParkedFacts[]): Diagnosis[] {
  const late = lanes.filter(({ overdue }) => overdue > 0);
  if (late.length === 0) return [];
  const count = late.reduce((sum, { overdue }) => sum + overdue, 0);
  return [
    {
      code: 'subjects-overdue',
      severity: 'warning',
      about: fn,
      problem: `Due for a minute or more, and not run: ${counted(count, 'parked subject')}`,
      evidence: `partitions ${someOf(
        late.map(({ partition }) => String(partition)),
        8,
      )}`,
      cure: 'Start a dispatcher, or give it more threads (WORKERS)',
      command: 'millrace start',
    },
  ];
}
