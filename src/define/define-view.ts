/**
 * Declares a view: rows by id, folded from events, for queries.
 *
 * A view is a function with its lanes, retries and dead letters. Its effects are its rows. They are
 * written in the step that acknowledges the events: exactly once under any crash.
 */
import { ConfigError } from '../core/errors/input-errors.ts';
import { NAME_PATTERN } from '../core/function-spec.ts';
import { isOptions, shownValue } from '../core/shown.ts';
import { ALL_ROWS, generationOf } from '../core/view-spec.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import { defineFunction, type DefinedFunction } from './define-function.ts';
import type { EventTypeName, EventUnion } from './function-event.ts';
import type { Upcast } from './upcast.ts';
import type { ViewCode } from './view-code.ts';
import { noteUnknown, type RawOptions } from './raw-options.ts';

/** Place of a row in an index. Each option is a field's name, or a function of the row. */
export interface ViewIndex<Row> {
  /**
   * Value that rows are looked up by. Null or undefined: the row is not in this index. Default: all
   * rows, as one list. At most 512 bytes.
   */
  readonly by?: (keyof Row & string) | ((row: Row) => string | number | boolean | null | undefined);
  /**
   * Sort key of the rows with one value: a number, or a Date, which stands for its ms. Default: by
   * id.
   */
  readonly sort?: (keyof Row & string) | ((row: Row) => number | Date);
}

/** The fold of events of the types T onto a row: `(row: MyRow | null, event) => MyRow | null`. */
export type Evolve<T extends string> = (row: never, event: EventUnion<T>) => object | null;
/** Row type of an evolve function. */
export type RowOf<E extends Evolve<never>> = NonNullable<ReturnType<E>>;

export interface ViewOptions<T extends string, E extends Evolve<T>> {
  /** Unique name among views. Lower case letters, digits, `_ . -`, at most 90 characters. */
  readonly name: string;
  /**
   * Version of the view, 1 … 999,999,999. Raise it with every change of `evolve` or the indexes
   * that makes other rows of the same events. The new version is built beside the old one
   * (`millrace view rebuild`). Its lanes are those of a function named `<name>@<version>`.
   */
  readonly version: number;
  /** Event types that the view is folded from. The id of a row is the event's subject. */
  readonly on: readonly T[];
  /**
   * Returns the row after an event; null: no row. `row` is null where there is none yet.
   *
   * Called in per-subject order. When a turn is repeated (an event of it failed, its thread died),
   * `evolve` is called again with the stored row. It must depend only on its arguments, and must
   * not wait. It may change `row` or return a new one. A row holds the values that JSON keeps.
   *
   * Declare the type of the row parameter, `row: MyRow | null`; the event's type follows from `on`.
   * Write `evolve` before `indexes`, whose functions get their row's type from it.
   */
  readonly evolve: E;
  /** Indexes that `list` and `count` look up. At most 16. */
  readonly indexes?: Readonly<Record<string, ViewIndex<RowOf<NoInfer<E>>>>>;
  /**
   * Largest row, in bytes of JSON. 256 … 1,048,576, default 65,536. A larger row is not written:
   * the event that made it fails.
   */
  readonly maxRowBytes?: number;
  /**
   * Behaviour after an event that cannot be folded. `hold` (default): its row stays as it is until
   * the dead letter is replayed or purged. `continue`: the row goes on without the event.
   */
  readonly onDead?: 'continue' | 'hold';
  readonly retry?: Partial<RetryPolicy>;
  /** Time for one event, ms. Default 30,000. */
  readonly timeoutMs?: number;
  readonly upcasts?: readonly Upcast[];
}

const OPTIONS = [
  'name',
  'version',
  'on',
  'evolve',
  'indexes',
  'maxRowBytes',
  'onDead',
  'retry',
  'timeoutMs',
  'upcasts',
];
const MAX_INDEXES = 16;
/**
 * Default number of attempts. A fold depends only on its arguments, so there is no outage to wait
 * for.
 */
const VIEW_ATTEMPTS = 5;

/**
 * Declares a view. Put one view in a file of the functions' folder and make it the default export.
 *
 * @throws ConfigError listing every option that is missing, unknown or out of bounds
 */
export function defineView<const T extends EventTypeName, E extends Evolve<T>>(
  options: ViewOptions<T, E>,
): DefinedFunction {
  if (!isOptions(options))
    throw new ConfigError([`defineView takes an object of options, got ${shownValue(options)}`]);
  const problems: string[] = [];
  const raw: RawOptions = options;
  const label = typeof raw['name'] === 'string' ? `view "${raw['name']}"` : 'view';
  noteUnknown(raw, OPTIONS, { label }, problems);
  const { maxRowBytes = 65_536 } = raw;
  checkOwn(raw, maxRowBytes, label, problems);
  const { indexes: rawIndexes = {} } = raw;
  const indexes = readIndexes(rawIndexes, label, problems);
  const base = baseOf(options, label, problems);
  if (problems.length > 0 || base === null) throw new ConfigError(problems);
  const view = {
    view: options.name,
    version: options.version,
    indexes: indexes.map((index) => index.name),
    lookups: { by: namesWith('by', raw['indexes']), sort: namesWith('sort', raw['indexes']) },
  };
  return {
    ...base,
    spec: { ...base.spec, name: generationOf(view.view, view.version), view },
    view: {
      evolve: options.evolve as unknown as ViewCode['evolve'],
      indexes,
      maxRowBytes: maxRowBytes as number,
    },
  };
}

/** Checks the options that only views have, except the indexes. */
function checkOwn(raw: RawOptions, maxRowBytes: unknown, label: string, problems: string[]): void {
  const { name, version, evolve } = raw;
  if (typeof name !== 'string' || !NAME_PATTERN.test(name) || name.length > 90) {
    problems.push(
      `${label}: name must match ${NAME_PATTERN.source} and have at most 90 characters, got ${shownValue(name)}`,
    );
  }
  if (!isWhole(version, 1, 999_999_999)) {
    problems.push(
      `${label}: version must be a whole number from 1 to 999999999, got ${shownValue(version)}`,
    );
  }
  if (!isWhole(maxRowBytes, 256, 1_048_576)) {
    problems.push(
      `${label}: maxRowBytes must be a whole number from 256 to 1048576, got ${shownValue(maxRowBytes)}`,
    );
  }
  if (typeof evolve !== 'function') problems.push(`${label}: evolve must be a function`);
}

function isWhole(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}

/**
 * Checks and defaults the options that a view shares with other functions, through defineFunction.
 */
function baseOf<T extends EventTypeName>(
  options: Pick<ViewOptions<T, Evolve<T>>, 'on' | 'onDead' | 'retry' | 'timeoutMs' | 'upcasts'>,
  label: string,
  problems: string[],
): DefinedFunction | null {
  const { retry = {} } = options;
  try {
    return defineFunction({
      name: 'view',
      on: options.on,
      ordering: 'key',
      onDead: options.onDead ?? 'hold',
      retry: isOptions(retry) ? { attempts: VIEW_ATTEMPTS, ...retry } : retry,
      upcasts: options.upcasts ?? [],
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
      handle: () => undefined,
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems.map((problem) => problem.replace(/^function "view"/, label)));
    return null;
  }
}

/** Returns the names of the indexes that have this option. */
function namesWith(option: keyof ViewIndex<object>, indexes: unknown): string[] {
  const all = Object.entries((indexes ?? {}) as Record<string, ViewIndex<object> | null>);
  return all.filter(([, index]) => index?.[option] !== undefined).map(([name]) => name);
}

function readIndexes(raw: unknown, label: string, problems: string[]): ViewCode['indexes'] {
  if (!isOptions(raw)) {
    problems.push(`${label}: indexes must be an object`);
    return [];
  }
  const named = Object.entries(raw as Record<string, unknown>);
  if (named.length > MAX_INDEXES)
    problems.push(`${label}: ${named.length} indexes, at most ${MAX_INDEXES} are possible`);
  return named.map(([index, how]) => {
    if (index === ALL_ROWS || !/^[A-Za-z][A-Za-z0-9_-]{0,49}$/.test(index))
      problems.push(
        `${label}: "${index}" is no name of an index: a letter, then at most 49 letters, digits, _ or -`,
      );
    if (!isOptions(how))
      problems.push(`${label}: indexes.${index} must be { by, sort }, got ${shownValue(how)}`);
    const { by, sort } = (how ?? {}) as Record<string, unknown>;
    if (isOptions(how))
      noteUnknown(how, ['by', 'sort'], { label, path: `indexes.${index}.` }, problems);
    for (const [key, value] of [
      ['by', by],
      ['sort', sort],
    ] as const) {
      if (value !== undefined && typeof value !== 'function' && typeof value !== 'string')
        problems.push(
          `${label}: indexes.${index}.${key} must be a field's name or a function of the row`,
        );
    }
    return { name: index, by: reader(by, ''), sort: reader(sort, 0) };
  });
}

function reader(how: unknown, fallback: string | number): (row: object) => unknown {
  if (typeof how === 'function') return how as (row: object) => unknown;
  if (typeof how === 'string') return (row) => (row as Record<string, unknown>)[how];
  return () => fallback;
}
