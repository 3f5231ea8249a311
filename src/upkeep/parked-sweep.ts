/**
 * Proves that every parked unit has a reason that is still true, and that the counted events are in
 * the lists. Sets wedged units free. See check-parked.lua for the reasons.
 *
 * Each round looks at one page of a lane. Where more events are counted than the lists hold, the
 * server's keys are searched for lists outside the schedule. Owned here: the progress of each
 * lane's pages and of that search.
 */
import { counterFields } from '../redis/counters.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { ARRIVALS, COUNTS } from '../redis/lua/shared.ts';

const check = defineScript({
  url: new URL('./check-parked.lua', import.meta.url),
  with: [COUNTS, ARRIVALS],
  keys: 'variable',
});
const find = defineScript({ url: new URL('./find-lists.lua', import.meta.url), keys: 1 });

/** Units of a round. A lane with no more units than these is added up in one page. */
const PAGE = 500;
/** Units of a round that have arrived first, and as many held ones. */
const OLDEST = 32;
/** Keys of the server that one call of the search looks at, and calls of a round. */
const SEARCH = { keys: 1000, calls: 100 } as const;
/**
 * Time that a retry may be due beyond its function's longest delay, ms. Schemas are waited for in
 * steps of up to 30 s.
 */
const TOLERANCE_MS = 60_000;

export interface SweptLane {
  readonly fn: string;
  readonly partition: number;
  readonly types: readonly string[];
  /** Longest time between two attempts, ms. */
  readonly maxDelayMs: number;
}

export interface Wedged {
  readonly unit: string;
  readonly why: 'unscheduled' | 'letterless' | 'unheld' | 'late' | 'empty';
  /** Events in the unit's list. */
  readonly events: number;
}

export interface Swept {
  readonly wedged: readonly Wedged[];
  /** Events that are counted as parked and are in no list. */
  readonly missing: number;
  /** Events that were parked and not counted. The count is set right. */
  readonly corrected: number;
}

interface Place {
  due: string;
  held: string;
  /** Null: no search is under way. */
  search: string | null;
  /** Missing events for which a search has passed all keys: these events are gone. */
  searchedFor: number;
}

export class ParkedSweep {
  readonly #connection: RedisConnection;
  readonly #keys: Keys;
  readonly #places = new Map<string, Place>();

  constructor(connection: RedisConnection, keys: Keys) {
    this.#connection = connection;
    this.#keys = keys;
  }

  /**
   * Checks one page of one lane.
   * @throws UnknownOutcomeError, RedisReplyError: nothing was repaired, or a repair is not told
   */
  async sweep(lane: SweptLane): Promise<Swept> {
    const { fn, partition, types } = lane;
    const [due, arrived, held, counts] = (await Promise.all([
      this.#connection.command('ZCARD', this.#keys.due(partition, fn)),
      this.#connection.command('ZCARD', this.#keys.arrived(partition, fn)),
      this.#connection.command('HLEN', this.#keys.held(partition, fn)),
      this.#connection.command(
        'HMGET',
        this.#keys.counters(partition),
        ...types.map((type) => counterFields.parked(fn, type)),
      ),
    ])) as [number, number, number, (string | null)[]];
    const at = `${partition}/${fn}`;
    const nothing = due + arrived + held === 0;
    if (nothing && counts.every((count) => count === null || count === '0')) {
      this.#places.delete(at);
      return { wedged: [], missing: 0, corrected: 0 };
    }
    const place = this.#places.get(at) ?? { due: '0', held: '0', search: null, searchedFor: 0 };
    this.#places.set(at, place);
    const checked = await this.#check(lane, await this.#page(lane, place, due));
    const wedged = [...checked.wedged];
    const { corrected } = checked;
    if (!checked.exact || checked.missing <= 0) {
      Object.assign(place, { search: null, searchedFor: 0 } satisfies Partial<Place>);
      return { wedged, missing: 0, corrected };
    }
    if (checked.missing <= place.searchedFor)
      return { wedged, missing: checked.missing, corrected };
    wedged.push(...(await this.#search(lane, place, checked.missing)));
    return { wedged, missing: 0, corrected };
  }

  async #page({ fn, partition }: SweptLane, place: Place, due: number): Promise<string[]> {
    const units = new Set<string>();
    if (due <= PAGE)
      for (const unit of (await this.#connection.command(
        'ZRANGE',
        this.#keys.due(partition, fn),
        0,
        PAGE,
      )) as string[])
        units.add(unit);
    else {
      const [next, flat] = (await this.#connection.command(
        'ZSCAN',
        this.#keys.due(partition, fn),
        place.due,
        'COUNT',
        PAGE,
      )) as [string, string[]];
      place.due = next;
      for (let i = 0; i < flat.length; i += 2) units.add(flat[i] as string);
    }
    const [next, flat] = (await this.#connection.command(
      'HSCAN',
      this.#keys.held(partition, fn),
      place.held,
      'COUNT',
      PAGE,
    )) as [string, string[]];
    place.held = next;
    for (let i = 0; i < flat.length; i += 2) units.add(flat[i] as string);
    for (const unit of await this.#oldest(fn, partition)) units.add(unit);
    return [...units];
  }

  /**
   * Returns the units that have arrived first, waiting and held. An older version leaves units
   * there whose lists are gone.
   */
  async #oldest(fn: string, partition: number): Promise<string[]> {
    const range = (from: string, to: string, order: 'ZRANGEBYSCORE' | 'ZREVRANGEBYSCORE') =>
      this.#connection.command(
        order,
        this.#keys.arrived(partition, fn),
        from,
        to,
        'LIMIT',
        0,
        OLDEST,
      ) as Promise<string[]>;
    const [waiting, held] = await Promise.all([
      range('0', '+inf', 'ZRANGEBYSCORE'),
      range('(0', '-inf', 'ZREVRANGEBYSCORE'),
    ]);
    return [...waiting, ...held];
  }

  async #check(
    { fn, partition, types, maxDelayMs }: SweptLane,
    units: readonly string[],
  ): Promise<{ wedged: Wedged[]; exact: boolean; missing: number; corrected: number }> {
    const keys = this.#keys;
    const [exact, events, counted, corrected, ...flat] = (await check.run(
      this.#connection,
      [
        keys.counters(partition),
        keys.due(partition, fn),
        keys.held(partition, fn),
        keys.dead(partition, fn),
        keys.arrived(partition, fn),
        ...units.map((unit) => keys.parked(partition, fn, unit)),
      ],
      [fn, maxDelayMs + TOLERANCE_MS, types.length, ...types, ...units],
    )) as [number, number, string, string | number, ...(string | number)[]];
    const wedged: Wedged[] = [];
    for (let i = 0; i + 2 < flat.length; i += 3)
      wedged.push({
        unit: flat[i] as string,
        why: flat[i + 1] as Wedged['why'],
        events: Number(flat[i + 2]),
      });
    return {
      wedged,
      exact: exact === 1,
      missing: Number(counted) - events,
      corrected: Number(corrected),
    };
  }

  async #search(lane: SweptLane, place: Place, missing: number): Promise<Wedged[]> {
    const prefix = this.#keys.parked(lane.partition, lane.fn, '');
    const wedged: Wedged[] = [];
    place.search ??= '0';
    for (let call = 0; call < SEARCH.calls; call++) {
      const [cursor, ...found] = (await find.run(
        this.#connection,
        [this.#keys.counters(lane.partition)],
        [place.search, prefix, SEARCH.keys],
      )) as [string, ...string[]];
      if (found.length > 0)
        wedged.push(
          ...(
            await this.#check(
              lane,
              found.map((key) => key.slice(prefix.length)),
            )
          ).wedged,
        );
      place.search = cursor;
      if (cursor === '0') {
        Object.assign(place, { search: null, searchedFor: missing } satisfies Partial<Place>);
        break;
      }
    }
    return wedged;
  }
}
