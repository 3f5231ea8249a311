/** Measures the states of a partition's events independently, and balances them: see lag.ts. */
import { entryIdTime } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { readPartition, splitCounterField, type PartitionState } from '../redis/counters.ts';
import { defineScript } from '../redis/script.ts';
import { ENTRIES } from '../redis/lua/shared.ts';
import { balance } from './balance.ts';
import { agedOf, oldestWaiting, stateOf, type LagRow, type LagStates } from './lag-counts.ts';
import { ageOf, type Age, type Arrival, type BoundedCount } from './oldest.ts';
import { readParkedStates, type ParkedState } from './parked-ages.ts';

const script = defineScript({
  with: ENTRIES,
  url: new URL('./lag.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});
const foreignScript = defineScript({
  with: ENTRIES,
  url: new URL('./count-foreign.lua', import.meta.url),
  keys: 2,
  readOnly: true,
});

const LIMITS = {
  pendingEntries: 4096,
  undeliveredEntries: 1024,
  /**
   * Attempts of counting and reading the stream at one state, while a foreign producer appends all
   * the time.
   */
  tries: 10,
  /**
   * Most foreign entries looked at that nobody has adopted. They are read in pages, because an
   * entry may have megabytes.
   */
  foreignEntries: 100_000,
  foreignPage: 100,
} as const;

/** A function and one of its types. */
interface Pair {
  readonly fn: string;
  readonly type: string;
}

type Measured = [
  group: number,
  even: number,
  appended: string,
  base: string,
  done: string,
  dead: string,
  purged: string,
  parked: string,
  pending: string,
  pendingExact: number,
  lag: string,
  lagExact: number,
  firstPending: string,
  firstUndelivered: string,
  skipped: string,
];

/** The rows of a partition. */
export interface PartitionLag {
  /** Time of the look by the server's clock, ms since 1970; 0: there was nothing to look at. */
  readonly nowMs: number;
  readonly rows: readonly LagRow[];
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readPartitionLag(
  source: RedisSource,
  partition: number,
): Promise<PartitionLag> {
  const state = await readPartition(source, partition);
  const pairs = state.functions.flatMap((fn) => fn.types.map((type) => ({ fn: fn.name, type })));
  if (pairs.length === 0) return { nowMs: 0, rows: [] };
  const { nowMs, measured } = await measure(source, partition, pairs);
  const parked = new Map(
    await Promise.all(
      state.functions.map(async ({ name }) => {
        const counts = parkedCounts(state, name, measured, pairs);
        const lane = { partition, fn: name, parked: counts };
        return [name, await readParkedStates(source, lane)] as const;
      }),
    ),
  );
  const rows = pairs.map(({ fn, type }, i) => {
    const of = parked.get(fn)?.get(type) ?? null;
    return { fn, type, partition, ...rowOf(measured[i] as Measured, of, nowMs) };
  });
  return { nowMs, rows };
}

/** Returns the parked events of a function by type, also those of types that it had before. */
function parkedCounts(
  { counters }: PartitionState,
  name: string,
  measured: readonly Measured[],
  pairs: readonly Pair[],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [field, count] of counters) {
    const [kind, fn, type] = splitCounterField(field);
    if (kind === 'parked' && fn === name && type !== undefined) counts.set(type, Number(count));
  }
  for (const [i, { fn, type }] of pairs.entries())
    if (fn === name) counts.set(type, Number((measured[i] as Measured)[7]));
  return counts;
}

/** Measures again where foreign entries have come meanwhile, up to LIMITS.tries times. */
async function measure(
  source: RedisSource,
  partition: number,
  pairs: readonly Pair[],
): Promise<{ readonly nowMs: number; readonly measured: readonly Measured[] }> {
  const { connection, keys } = source;
  let nowMs = 0;
  let measured: Measured[] = [];
  const foreign = new Map<string, Foreign>();
  for (let attempt = 0; attempt < LIMITS.tries; attempt++) {
    if (attempt > 0) {
      const uneven = new Set(
        pairs.filter((_, i) => (measured[i] as Measured)[1] === 0).map((pair) => pair.type),
      );
      if (uneven.size === 0) break;
      for (const type of uneven) foreign.set(type, await countForeign(source, partition, type));
    }
    const reply = (await script.run(
      connection,
      [keys.counters(partition), ...pairs.map((pair) => keys.events(partition, pair.type))],
      [
        LIMITS.pendingEntries,
        LIMITS.undeliveredEntries,
        ...pairs.flatMap((pair) => [
          pair.fn,
          pair.type,
          ...(foreign.get(pair.type) ?? ['', 0, 0, '']),
        ]),
      ],
    )) as [string, ...Measured[]];
    nowMs = Number(reply[0]);
    measured = reply.slice(1) as Measured[];
  }
  return { nowMs, measured };
}

function rowOf(
  measured: Measured,
  parkedState: ParkedState | null,
  nowMs: number,
): Omit<LagRow, 'fn' | 'type' | 'partition'> {
  const [
    ,
    even,
    appendedText,
    base,
    done,
    dead,
    purged,
    parked,
    pending,
    pendingExact,
    lag,
    lagExact,
    firstPending,
    firstUndelivered,
    skipped,
  ] = measured;
  const { conserved, ...counts } = balance({
    appended: Number(appendedText) - Number(base),
    done: Number(done),
    dead: Number(dead),
    purged: Number(purged),
    parked: Number(parked),
    pending: Number(pending),
    lag: Number(lag),
    even: even === 1,
    pendingExact: pendingExact === 1,
    lagExact: lagExact === 1,
  });
  const age = (of: Arrival | null | undefined): Age | null => (of ? ageOf(of, nowMs) : null);
  const held = parkedState?.held ?? { events: 0 };
  const states: LagStates = {
    lag: stateOf({ events: counts.lag }, age(arrivalIn(firstUndelivered))),
    pending: stateOf({ events: counts.pending }, age(arrivalIn(firstPending))),
    parked: stateOf(besides(counts.parked, held), age(parkedState?.oldestWaiting)),
    held: stateOf(held, age(parkedState?.oldestHeld)),
  };
  return {
    ...counts,
    skipped: Number(skipped),
    ...agedOf(oldestWaiting(states)),
    states,
    conserved,
  };
}

/** Returns the parked events that are not held. */
function besides(parked: number, held: BoundedCount): BoundedCount {
  const events = Math.max(0, parked - held.events);
  return held.bound === undefined || events === 0 ? { events } : { events, bound: 'at-most' };
}

function arrivalIn(id: string): Arrival | null {
  return id === '' ? null : { atMs: entryIdTime(id) };
}

/**
 * Foreign entries, as lag.lua takes them: the place up to which they are adopted, entries, events,
 * and the last id looked at.
 */
type Foreign = readonly [adopted: string, entries: number, events: number, upto: string];

/** Counts foreign entries. Reads only: the dispatchers' upkeep adopts them. */
async function countForeign(
  { connection, keys }: RedisSource,
  partition: number,
  type: string,
): Promise<Foreign> {
  let [start, entries, events, cursor] = ['', 0, 0, ''];
  for (let seen = 0; seen < LIMITS.foreignEntries; seen += LIMITS.foreignPage) {
    const [adopted, more, ofThem, last, goesOn] = (await foreignScript.run(
      connection,
      [keys.counters(partition), keys.events(partition, type)],
      [type, cursor, LIMITS.foreignPage],
    )) as [string, number, string, string, number];
    if (seen === 0) start = adopted;
    entries += more;
    events += Number(ofThem);
    cursor = last;
    if (goesOn === 0) break;
  }
  return [start, entries, events, cursor];
}
