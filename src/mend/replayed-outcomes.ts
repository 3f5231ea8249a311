/**
 * Follows replayed events to their outcomes, by a bounded number of them at a time.
 *
 * A replayed event is in its parked list until a commit has settled it. So an event that is not in
 * the list any more is done, unless it has a new dead letter. The list is looked at first: an event
 * that dies leaves the list and gets its letter in one step.
 */
import type { DeadLetter, DeadLetterSource } from '../pipeline/dead/dead-letters.ts';
import { defineScript } from '../redis/script.ts';
import { PARKED_RECORD } from '../redis/lua/shared.ts';

const lookUp = defineScript({
  url: new URL('./replayed-events.lua', import.meta.url),
  with: PARKED_RECORD,
  keys: 'variable',
  readOnly: true,
});
const lettersSince = defineScript({
  url: new URL('./letters-since.lua', import.meta.url),
  keys: 1,
  readOnly: true,
});
const lastLetters = defineScript({
  url: new URL('./last-letters.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

/** Outcomes of the events that were followed. */
export interface OutcomeCounts {
  /** Settled. */
  readonly done: number;
  /** Dead again. */
  readonly dead: number;
  /** Tried without success, and parked for another attempt. */
  readonly retrying: number;
  /** Without an outcome yet. */
  readonly open: number;
}

interface Followed {
  readonly fn: string;
  readonly partition: number;
  readonly unit: string;
  readonly type: string;
  readonly entryId: string;
  readonly index: number;
}

/** Most events asked for in one look, and letters read of one stream. */
const EVENTS = 200;
const LETTERS = { page: 50, pages: 40 } as const;

export class ReplayedOutcomes {
  readonly #source: DeadLetterSource;
  /** Events without an outcome, in the order of the next look. */
  readonly #open = new Map<string, Followed>();
  /** Last letter read, by `<function>/<partition>`. */
  readonly #read: Map<string, string>;
  #done = 0;
  #dead = 0;
  #retrying = 0;

  /** @param since see lastLetterIds: the letters behind these came after the replay began */
  constructor(source: DeadLetterSource, since: ReadonlyMap<string, string>) {
    this.#source = source;
    this.#read = new Map(since);
  }

  get counts(): OutcomeCounts {
    const [done, dead, retrying, open] = [this.#done, this.#dead, this.#retrying, this.#open.size];
    return { done, dead, retrying, open };
  }

  /** Follows an event that was just replayed. */
  follow(
    { function: fn, partition, subject, eventId, type, entryId, index }: DeadLetter,
    ordering: 'key' | 'none',
  ): void {
    const unit = ordering === 'none' ? eventId : subject;
    const event = { fn, partition, unit, type, entryId, index };
    this.#open.set(keyOf(event), event);
  }

  /** Looks for outcomes. @throws UnknownOutcomeError, RedisReplyError */
  async look(): Promise<void> {
    const byPlace = new Map<string, Followed[]>();
    for (const [key, event] of [...this.#open].slice(0, EVENTS)) {
      // The next look begins with the others.
      this.#open.delete(key);
      this.#open.set(key, event);
      const place = `${event.fn}/${event.partition}`;
      const there = byPlace.get(place);
      if (there) there.push(event);
      else byPlace.set(place, [event]);
    }
    for (const [place, events] of byPlace) await this.#lookAt(place, events);
  }

  async #lookAt(place: string, events: readonly Followed[]): Promise<void> {
    const { fn, partition } = events[0] as Followed;
    const { connection, keys } = this.#source;
    const byUnit = new Map<string, Followed[]>();
    for (const event of events) {
      const there = byUnit.get(event.unit);
      if (there) there.push(event);
      else byUnit.set(event.unit, [event]);
    }
    const states = (await lookUp.run(
      connection,
      [...byUnit.keys()].map((unit) => keys.parked(partition, fn, unit)),
      [...byUnit.values()].flatMap((list) => [
        list.length,
        ...list.flatMap(({ type, entryId, index }) => [type, entryId, index]),
      ]),
    )) as string[];
    const whole = await this.#readLetters(place, fn, partition);
    [...byUnit.values()].flat().forEach((event, i) => {
      const key = keyOf(event);
      // An event with a new letter is settled already.
      if (!this.#open.has(key)) return;
      if (states[i] === 'failed') {
        this.#open.delete(key);
        this.#retrying++;
      } else if (states[i] === 'gone' && whole) {
        this.#open.delete(key);
        this.#done++;
      }
    });
  }

  /** Settles the events that have new letters. @returns whether all letters were read */
  async #readLetters(place: string, fn: string, partition: number): Promise<boolean> {
    const { connection, keys } = this.#source;
    for (let page = 0; page < LETTERS.pages; page++) {
      const after = this.#read.get(place) ?? '0-0';
      const flat = (await lettersSince.run(
        connection,
        [keys.dead(partition, fn)],
        [after, LETTERS.page],
      )) as string[];
      for (let i = 0; i + 3 < flat.length; i += 4) {
        const [id, type, entryId, index] = flat.slice(i, i + 4) as [string, string, string, string];
        this.#read.set(place, id);
        const key = keyOf({ fn, partition, type, entryId, index: Number(index) });
        if (this.#open.delete(key)) this.#dead++;
      }
      if (flat.length < 4 * LETTERS.page) return true;
    }
    return false;
  }
}

/** An entry's id stands in the streams of several types, where these were appended together. */
const keyOf = (event: Omit<Followed, 'unit'>): string =>
  `${event.fn}/${event.partition}/${event.type}/${event.entryId}/${event.index}`;

/**
 * Reads the id of the last letter of each place that has letters: `<function>/<partition>` -> entry
 * id.
 * @param places `<function>/<partition>` and its parts
 */
export async function lastLetterIds(
  { connection, keys }: DeadLetterSource,
  places: readonly { readonly fn: string; readonly partition: number }[],
): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  const byPartition = new Map<number, string[]>();
  for (const { fn, partition } of places) {
    const there = byPartition.get(partition);
    if (there) there.push(fn);
    else byPartition.set(partition, [fn]);
  }
  for (const [partition, names] of byPartition) {
    const ids = (await lastLetters.run(
      connection,
      names.map((fn) => keys.dead(partition, fn)),
      [],
    )) as string[];
    ids.forEach((id, i) => {
      if (id !== '') out.set(`${names[i] as string}/${partition}`, id);
    });
  }
  return out;
}
