/**
 * Groups of dead letters: letters of one function with the same fingerprint. Scripts count them
 * when a letter comes or goes (src/redis/lua/letter-groups.lua). So a look at the groups costs
 * O(groups), however many letters there are.
 */
import { FINGERPRINT_PATTERN, type GroupAbout } from '../../core/letter-fingerprint.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { readPartitions, requireFunction, type PartitionState } from '../../redis/counters.ts';
import { defineScript } from '../../redis/script.ts';
import { serverTime } from '../../redis/server-time.ts';
import type { RedisSource } from '../../redis/source.ts';

const script = defineScript({
  url: new URL('./read-groups.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

/**
 * Names of groups that are no fingerprint.
 *
 * - `unclassified`: letters of an older version, which have no fingerprint
 * - `other`: letters that came while their function had too many groups
 */
export const GROUPS = { unclassified: 'unclassified', other: 'other' } as const;

/** Hours of a trend. */
const HOURS = 24;
const HOUR_MS = 3_600_000;

export interface LetterGroup {
  readonly function: string;
  /** 12 hexadecimal digits, or a name of GROUPS. */
  readonly group: string;
  /** Letters that are there now. */
  readonly letters: number;
  /**
   * Server time at which the first and the last letter of the group came, ms since 1970. The first
   * letter may be gone meanwhile. Null: not known.
   */
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  /** Id of a letter of the group, mostly the last one. Null: not known. */
  readonly example: string | null;
  /** Letters that came in each of the last 24 hours, the oldest hour first. Null: not known. */
  readonly hours: readonly number[] | null;
  /** Null: the group has no error of its own. */
  readonly about: GroupAbout | null;
  /** Partitions with letters of the group, in order. */
  readonly partitions: readonly number[];
}

export interface LetterGroupsReport {
  /** The largest group first. */
  readonly groups: readonly LetterGroup[];
  /** Letters of all groups. */
  readonly letters: number;
  /**
   * Letters that are counted in groups, and are not in the stream: another program has deleted
   * them.
   */
  readonly vanished: number;
  /** Keys of another type: another program has written them. Their letters are not grouped. */
  readonly damaged: readonly string[];
}

/** A group of one partition, as Redis has it. */
interface StoredGroup {
  readonly n: number;
  readonly first: number;
  readonly last: number;
  readonly letter: string;
  readonly hour: number;
  readonly hours: readonly number[];
  readonly about: GroupAbout | null;
}

/** Letters and groups of one function in one partition. */
export interface GroupsOfPlace {
  readonly fn: string;
  readonly partition: number;
  readonly letters: number;
  readonly groups: ReadonlyMap<string, StoredGroup>;
  readonly damaged: readonly string[];
}

/** The text names no group. */
export class LetterGroupError extends MillraceError {
  readonly code = 'DEAD_LETTER_GROUP';
  constructor(group: string) {
    super(
      `${JSON.stringify(group.slice(0, 100))} is no group of dead letters: a group is 12 hexadecimal digits, "${GROUPS.other}" or "${GROUPS.unclassified}"; dlq groups prints them`,
    );
  }
}

/** @throws LetterGroupError */
export function checkGroup(group: string): void {
  const known = group === GROUPS.other || group === GROUPS.unclassified;
  if (!known && !FINGERPRINT_PATTERN.test(group)) throw new LetterGroupError(group);
}

/**
 * Reads the groups of all functions, or of one. Takes two calls to Redis for each partition.
 * @throws UnknownFunctionError, UnknownOutcomeError, RedisReplyError
 */
export async function readLetterGroups(
  source: RedisSource,
  only: { readonly function?: string | undefined } = {},
): Promise<LetterGroupsReport> {
  const states = await readPartitions(source);
  if (only.function !== undefined) requireFunction(states, only.function);
  const [places, nowMs] = await Promise.all([
    readPlaces(source, states, only.function),
    serverTime(source),
  ]);
  return joinPlaces(places, nowMs);
}

/** Reads the groups of each function in each partition that has letters. */
export async function readPlaces(
  source: RedisSource,
  states: readonly PartitionState[],
  only: string | undefined,
): Promise<readonly GroupsOfPlace[]> {
  const places = await Promise.all(
    states.map(async ({ partition, functions }) => {
      const names = functions.map(({ name }) => name).filter((name) => name === (only ?? name));
      if (names.length === 0) return [];
      const keys = names.flatMap((fn) => [
        source.keys.dead(partition, fn),
        source.keys.groups(partition, fn),
      ]);
      const reply = (await script.run(source.connection, keys, [])) as [
        number | '',
        string[] | '',
      ][];
      return reply.map(([letters, groups], i) =>
        placeOf(source, names[i] as string, partition, letters, groups),
      );
    }),
  );
  return places.flat().filter(({ letters, groups }) => letters > 0 || groups.size > 0);
}

function placeOf(
  { keys }: RedisSource,
  fn: string,
  partition: number,
  letters: number | '',
  flat: readonly string[] | '',
): GroupsOfPlace {
  const groups = new Map<string, StoredGroup>();
  const damaged: string[] = [];
  if (letters === '') damaged.push(keys.dead(partition, fn));
  if (flat === '') damaged.push(keys.groups(partition, fn));
  else {
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const field = flat[i] as string;
      const group = storedGroup(flat[i + 1] as string);
      if (group && (field === GROUPS.other || FINGERPRINT_PATTERN.test(field)))
        groups.set(field, group);
    }
  }
  return { fn, partition, letters: letters === '' ? 0 : letters, groups, damaged };
}

/** Null: the text is no group. Another program has written it, and the scripts start it anew. */
function storedGroup(text: string): StoredGroup | null {
  const stored = jsonObject(text);
  if (stored === null) return null;
  const number = (name: string): number => {
    const value = stored[name];
    return typeof value === 'number' && Number.isFinite(value) ? value : 0;
  };
  const { hours, letter } = stored;
  if (number('n') < 1 || !Array.isArray(hours)) return null;
  return {
    n: number('n'),
    first: number('first'),
    last: number('last'),
    hour: number('hour'),
    letter: typeof letter === 'string' ? letter : '',
    hours: hours.slice(0, HOURS).map((count) => (typeof count === 'number' ? count : 0)),
    about: aboutOf(stored['about']),
  };
}

function aboutOf(text: unknown): GroupAbout | null {
  const about = typeof text === 'string' ? jsonObject(text) : null;
  if (about === null) return null;
  const textOf = (name: string): string => {
    const value = about[name];
    return typeof value === 'string' ? value : '';
  };
  const { frames, schema } = about;
  return {
    name: textOf('name'),
    message: textOf('message'),
    type: textOf('type'),
    frames: Array.isArray(frames) ? frames.filter((frame) => typeof frame === 'string') : [],
    schema: typeof schema === 'number' ? schema : 0,
  };
}

function jsonObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
    return value as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** Returns the letters of a place that are counted in groups. */
export function countedIn({ groups }: Pick<GroupsOfPlace, 'groups'>): number {
  let counted = 0;
  for (const { n } of groups.values()) counted += n;
  return counted;
}

/** Joins the groups of the partitions. @param nowMs server time */
export function joinPlaces(places: readonly GroupsOfPlace[], nowMs: number): LetterGroupsReport {
  const joined = new Map<string, Joined>();
  const groupOf = (fn: string, group: string): Joined => {
    const key = `${fn}/${group}`;
    let found = joined.get(key);
    if (!found) joined.set(key, (found = new Joined(fn, group, Math.floor(nowMs / HOUR_MS))));
    return found;
  };
  let vanished = 0;
  for (const { fn, partition, letters, groups } of places) {
    const counted = countedIn({ groups });
    for (const [group, stored] of groups) groupOf(fn, group).add(partition, stored);
    if (letters > counted)
      groupOf(fn, GROUPS.unclassified).addUnclassified(partition, letters - counted);
    else vanished += counted - letters;
  }
  const groups = [...joined.values()].map((one) => one.result()).sort(byLetters);
  return {
    groups,
    letters: groups.reduce((sum, one) => sum + one.letters, 0) - vanished,
    vanished,
    damaged: places.flatMap(({ damaged }) => damaged),
  };
}

function byLetters(a: LetterGroup, b: LetterGroup): number {
  if (a.letters !== b.letters) return b.letters - a.letters;
  if (a.function !== b.function) return a.function < b.function ? -1 : 1;
  return a.group < b.group ? -1 : 1;
}

/** A group over all partitions. */
class Joined {
  readonly #fn: string;
  readonly #group: string;
  /** This hour since 1970. */
  readonly #hour: number;
  #letters = 0;
  #firstMs: number | null = null;
  #lastMs: number | null = null;
  #example: string | null = null;
  /** Time of the last letter of the partition that the example is from, ms. */
  #exampleMs = -1;
  #hours: number[] | null = null;
  #about: GroupAbout | null = null;
  readonly #partitions: number[] = [];

  constructor(fn: string, group: string, hour: number) {
    this.#fn = fn;
    this.#group = group;
    this.#hour = hour;
  }

  add(partition: number, stored: StoredGroup): void {
    this.#letters += stored.n;
    this.#firstMs = Math.min(this.#firstMs ?? Infinity, stored.first);
    this.#lastMs = Math.max(this.#lastMs ?? 0, stored.last);
    if (stored.letter !== '' && stored.last > this.#exampleMs) {
      this.#example = `${this.#fn}/${partition}/${stored.letter}`;
      this.#exampleMs = stored.last;
    }
    const hours = (this.#hours ??= new Array<number>(HOURS).fill(0));
    stored.hours.forEach((count, age) => {
      // The count of the oldest hour comes first here, and last there.
      const at = HOURS - 1 - age - (this.#hour - stored.hour);
      if (at >= 0 && at < HOURS) hours[at] = (hours[at] as number) + count;
    });
    if (this.#group !== GROUPS.other) this.#about ??= stored.about;
    this.#partitions.push(partition);
  }

  addUnclassified(partition: number, letters: number): void {
    this.#letters += letters;
    this.#partitions.push(partition);
  }

  result(): LetterGroup {
    return {
      function: this.#fn,
      group: this.#group,
      letters: this.#letters,
      firstMs: this.#firstMs,
      lastMs: this.#lastMs,
      example: this.#example,
      hours: this.#hours,
      about: this.#about,
      partitions: this.#partitions.sort((a, b) => a - b),
    };
  }
}
