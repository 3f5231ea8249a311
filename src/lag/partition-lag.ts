/** Measures the states of a partition's events independently, and balances them: see lag.ts. */
import { entryIdTime, compareEntryIds } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { readPartition, type PartitionState } from '../redis/counters.ts';
import { defineScript } from '../redis/script.ts';
import { ENTRIES } from '../redis/lua/shared.ts';

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
const origins = defineScript({
  url: new URL('./parked-origins.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

export interface LagCounts {
  readonly appended: number;
  readonly done: number;
  /**
   * Events of `done` that did not run, because the function had settled their ids before
   * (`dedupe`).
   */
  readonly skipped: number;
  readonly parked: number;
  /** Dead events, including the purged ones: those have ended as dead too. */
  readonly dead: number;
  /** Events of `dead` whose letters were purged. */
  readonly purged: number;
  /** Events that are delivered, and neither settled nor parked. */
  readonly pending: number;
  /** Events that are not delivered yet. */
  readonly lag: number;
  /**
   * Age of the oldest event that is parked, pending or in lag, by the server's clock, ms. Null:
   * there is none.
   */
  readonly oldestMs: number | null;
}

export interface TypeLag extends LagCounts {
  readonly type: string;
  readonly partition: number;
}

export interface Row extends TypeLag {
  readonly fn: string;
  readonly conserved: boolean;
}

const LIMITS = {
  pendingEntries: 4096,
  undeliveredEntries: 1024,
  parkedUnits: 256,
  /** Records looked at in a list, where a function has several types. */
  parkedRecords: 8,
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

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readPartitionLag(source: RedisSource, partition: number): Promise<Row[]> {
  const state = await readPartition(source, partition);
  const pairs = state.functions.flatMap((fn) => fn.types.map((type) => ({ fn: fn.name, type })));
  if (pairs.length === 0) return [];
  const { nowMs, measured } = await measure(source, partition, pairs);
  const parkedIds = await oldestParked(source, partition, state, measured, pairs);
  return pairs.map((pair, i) => {
    const parkedId = parkedIds.get(`${pair.fn} ${pair.type}`) ?? '';
    return rowOf(pair, partition, measured[i] as Measured, parkedId, nowMs);
  });
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

/** @param parkedId entry id of the oldest parked event, '' without one */
function rowOf(
  { fn, type }: Pair,
  partition: number,
  measured: Measured,
  parkedId: string,
  nowMs: number,
): Row {
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
  const counts = balance({
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
  const oldest = oldestOf([firstPending, firstUndelivered, parkedId]);
  return {
    fn,
    type,
    partition,
    appended: counts.appended,
    done: counts.done,
    skipped: Number(skipped),
    parked: counts.parked,
    dead: counts.dead,
    purged: counts.purged,
    pending: counts.pending,
    lag: counts.lag,
    oldestMs: oldest === null ? null : Math.max(0, nowMs - entryIdTime(oldest)),
    conserved: counts.conserved,
  };
}

/** Returns the smallest entry id, leaving '' out. */
function oldestOf(ids: readonly string[]): string | null {
  let oldest: string | null = null;
  for (const id of ids) {
    if (id !== '' && (oldest === null || compareEntryIds(id, oldest) < 0)) oldest = id;
  }
  return oldest;
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

interface Balance {
  appended: number;
  done: number;
  dead: number;
  purged: number;
  parked: number;
  pending: number;
  lag: number;
  even: boolean;
  pendingExact: boolean;
  lagExact: boolean;
}

/**
 * Balances the measured states. Where one was too much to be added up, the rest stands in for it,
 * and only its sign is checked. Exported for its test.
 */
export function balance(
  m: Balance,
): Omit<LagCounts, 'oldestMs' | 'skipped'> & { conserved: boolean } {
  const settled = m.done + m.dead + m.purged + m.parked;
  const rest = m.appended - settled - m.pending - m.lag;
  let conserved = m.done >= 0 && m.dead >= 0 && m.purged >= 0 && m.parked >= 0 && m.appended >= 0;
  let { pending, lag, appended } = m;
  if (!m.even) {
    // Foreign events that nobody has counted are in the other states already, but not in
    // `appended`.
    conserved &&= rest <= 0;
    appended -= Math.min(0, rest);
  } else if (!m.lagExact) {
    conserved &&= rest >= 0;
    lag += Math.max(0, rest);
  } else if (!m.pendingExact) {
    conserved &&= rest >= 0;
    pending += Math.max(0, rest);
  } else conserved &&= rest === 0;
  return {
    appended,
    done: m.done,
    dead: m.dead + m.purged,
    purged: m.purged,
    parked: m.parked,
    pending,
    lag,
    conserved,
  };
}

/**
 * Finds the oldest parked events, as `<function> <type>` -> entry id. Looks at a bounded number of
 * units, those due first.
 */
async function oldestParked(
  source: RedisSource,
  partition: number,
  state: PartitionState,
  measured: readonly Measured[],
  pairs: readonly Pair[],
): Promise<Map<string, string>> {
  const { connection, keys } = source;
  const oldest = new Map<string, string>();
  await Promise.all(
    state.functions.map(async ({ name, types }) => {
      if (!pairs.some((pair, i) => pair.fn === name && Number((measured[i] as Measured)[7]) > 0))
        return;
      const units = (await connection.command(
        'ZRANGE',
        keys.due(partition, name),
        0,
        LIMITS.parkedUnits - 1,
      )) as string[];
      const depth = types.length > 1 ? LIMITS.parkedRecords : 1;
      // One call reads few lists, because a record may have hundreds of kilobytes.
      for (let i = 0; i < units.length; i += 32) {
        const reply = (await origins.run(
          connection,
          units.slice(i, i + 32).map((unit) => keys.parked(partition, name, unit)),
          [depth],
        )) as string[][];
        for (const found of reply) {
          for (let j = 0; j + 1 < found.length; j += 2) {
            const at = `${name} ${found[j] as string}`;
            const id = found[j + 1] as string;
            const before = oldest.get(at);
            if (before === undefined || compareEntryIds(id, before) < 0) oldest.set(at, id);
          }
        }
      }
    }),
  );
  return oldest;
}
