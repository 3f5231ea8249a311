/**
 * Reads the oldest parked events of a function in one partition, apart by whether they wait or are
 * held. Looks at a bounded number of units, in the order of `arrived:<f>`
 * (src/redis/lua/arrivals.lua).
 */
import { entryIdTime } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { ARRIVALS } from '../redis/lua/shared.ts';
import {
  countParked,
  oldestParked,
  type Arrival,
  type BoundedCount,
  type Look,
  type ParkedUnit,
} from './oldest.ts';

const unitsScript = defineScript({
  url: new URL('./parked-units.lua', import.meta.url),
  keys: 2,
  readOnly: true,
});
const headsScript = defineScript({
  with: ARRIVALS,
  url: new URL('./parked-heads.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

const LIMITS = {
  /** Most waiting units looked at. One is enough as a rule. */
  waiting: 256,
  /** Most held units looked at: they are counted, too. */
  held: 1024,
  /** Lists of a call. One call reads few lists, because a record may have hundreds of kilobytes. */
  page: 32,
  /** Records looked at in a list, where the parked events are of several types. */
  records: 8,
} as const;

/** The parked events of one type. */
export interface ParkedState {
  readonly held: BoundedCount;
  /** Null without held events. */
  readonly oldestHeld: Arrival | null;
  /** Null without events that wait. */
  readonly oldestWaiting: Arrival | null;
}

/** A function in one partition. */
export interface ParkedLane {
  readonly partition: number;
  readonly fn: string;
  /** Events counted as parked, by type; also types that the function consumes no longer. */
  readonly parked: ReadonlyMap<string, number>;
}

type Units = [
  waiting: number,
  placed: number,
  held: number,
  oldest: string[],
  dueFirst: string[],
  held: string[],
  oldestHeld: string[],
];

/**
 * Reads the states of a function's parked events, by type.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readParkedStates(
  source: RedisSource,
  lane: ParkedLane,
): Promise<ReadonlyMap<string, ParkedState>> {
  const types = [...lane.parked].filter(([, events]) => events > 0).map(([type]) => type);
  if (types.length === 0) return new Map();
  const { connection, keys } = source;
  const units = (await unitsScript.run(
    connection,
    [keys.due(lane.partition, lane.fn), keys.arrived(lane.partition, lane.fn)],
    [LIMITS.waiting, LIMITS.held],
  )) as Units;
  const lists = new ParkedLists(source, lane, types.length === 1 ? 1 : LIMITS.records);
  const named = (type: string): string | null => (types.length === 1 ? null : type);
  const held = await lookAtHeld(lists, units);
  const counted = new Map(
    types.map((type) => [
      type,
      // No unit waits: then all events are held.
      units[0] === 0
        ? { events: lane.parked.get(type) ?? 0 }
        : countParked(held.units, named(type), held.complete),
    ]),
  );
  const waiting = types.filter(
    (type) => (lane.parked.get(type) ?? 0) > (counted.get(type)?.events ?? 0),
  );
  const look = await lookAtWaiting(lists, units, (seen) =>
    waiting.every((type) => oldestParked(seen, named(type))?.bound === undefined),
  );
  return new Map(
    types.map((type) => [
      type,
      {
        held: counted.get(type) as BoundedCount,
        oldestHeld: oldestParked(held, named(type)),
        oldestWaiting: waiting.includes(type) ? oldestParked(look, named(type)) : null,
      },
    ]),
  );
}

async function lookAtHeld(lists: ParkedLists, [, , held, , , first, oldest]: Units): Promise<Look> {
  const units: ParkedUnit[] = [];
  for (const page of pagesOf([...new Set([...first, ...oldest])]))
    for (const unit of await lists.read(page)) if (unit.held) units.push(unit);
  return { units, restFromMs: Infinity, complete: first.length >= held };
}

/** @param settled whether the units seen are enough */
async function lookAtWaiting(
  lists: ParkedLists,
  [waiting, placed, , oldest, dueFirst]: Units,
  settled: (seen: Look) => boolean,
): Promise<Look> {
  const complete = placed >= waiting;
  const scores = new Map<string, number>();
  for (let i = 0; i + 1 < oldest.length; i += 2)
    scores.set(oldest[i] as string, Math.floor(Number(oldest[i + 1])));
  const order = [...scores.keys()];
  const units: ParkedUnit[] = [];
  let restFromMs = scores.get(order[0] ?? '') ?? Infinity;
  const seen = (): Look => ({ units, restFromMs, complete });
  for (const page of pagesOf(order.slice(0, LIMITS.waiting))) {
    if (settled(seen())) return seen();
    for (const unit of await lists.read(page)) if (!unit.held) units.push(unit);
    restFromMs = scores.get(order[order.indexOf(page.at(-1) as string) + 1] ?? '') ?? Infinity;
  }
  // Older versions have left units without a place: the units due first stand for them.
  for (const page of pagesOf(dueFirst.filter((unit) => !scores.has(unit))))
    for (const unit of await lists.read(page)) if (!unit.held) units.push(unit);
  return seen();
}

function pagesOf(units: readonly string[]): string[][] {
  const pages: string[][] = [];
  for (let i = 0; i < units.length; i += LIMITS.page) pages.push(units.slice(i, i + LIMITS.page));
  return pages;
}

interface FoundUnit extends ParkedUnit {
  readonly held: boolean;
}

/** The parked lists of a lane, as far as their first records go. */
class ParkedLists {
  readonly #source: RedisSource;
  readonly #lane: ParkedLane;
  readonly #depth: number;

  constructor(source: RedisSource, lane: ParkedLane, depth: number) {
    this.#source = source;
    this.#lane = lane;
    this.#depth = depth;
  }

  /** Returns the units whose lists exist. A unit may have been settled meanwhile. */
  async read(units: readonly string[]): Promise<FoundUnit[]> {
    const { connection, keys } = this.#source;
    const { partition, fn } = this.#lane;
    const reply = (await headsScript.run(
      connection,
      [
        keys.due(partition, fn),
        keys.arrived(partition, fn),
        ...units.map((unit) => keys.parked(partition, fn, unit)),
      ],
      [this.#depth, ...units],
    )) as [due: string, score: string, length: number, ...origins: string[]][];
    return reply.filter(([, , length]) => length > 0).map(unitOf);
  }
}

function unitOf([due, score, length, ...origins]: [
  string,
  string,
  number,
  ...string[],
]): FoundUnit {
  const place = score === '' ? null : Math.abs(Number(score));
  const records: ({ type: string; atMs: number } | null)[] = [];
  for (let i = 0; i + 1 < origins.length; i += 2) {
    const [type, id] = [origins[i] as string, origins[i + 1] as string];
    records.push(id === '' ? null : { type, atMs: entryIdTime(id) });
  }
  return {
    held: due === 'inf',
    fromMs: place === null ? null : Math.floor(place),
    unordered: place !== null && !Number.isInteger(place),
    length,
    records,
  };
}
