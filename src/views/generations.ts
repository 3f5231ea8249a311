/**
 * Generations of views. Each version of a view has its own rows and its own lanes, of a function
 * named `<view>@<version>`. One version is live: queries read it. The pointer to it is one field of
 * one hash, so a switch is one step for all readers.
 *
 * The hash `mr:registry:views` has these fields:
 *
 * - `live:<view>` and `previous:<view>`: a version.
 * - `generation:<view>@<version>`: JSON of its types and indexes.
 * - `lookups:<view>@<version>`: JSON of the indexes with a `by`, and of those with a `sort`.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import { ALL_ROWS, generationOf, type ViewLookups } from '../core/view-spec.ts';
import type { RedisSource, RedisSpace } from '../redis/source.ts';
import { UnknownFunctionError } from '../redis/counters.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { defineScript } from '../redis/script.ts';
import { removeFunction } from '../upkeep/remove-function.ts';
import { parseMember } from '../wire/view-row.ts';
import { UnknownViewError, ViewGenerationError } from './view-errors.ts';

const register = defineScript({
  url: new URL('./register-generation.lua', import.meta.url),
  keys: 1,
});
const live = defineScript({
  url: new URL('./live-generation.lua', import.meta.url),
  keys: 1,
  readOnly: true,
});
const switchTo = defineScript({ url: new URL('./switch-live.lua', import.meta.url), keys: 1 });
const forget = defineScript({ url: new URL('./forget-generation.lua', import.meta.url), keys: 1 });

export interface Generation {
  readonly view: string;
  readonly version: number;
  /** Name of the generation's function: `<view>@<version>`. */
  readonly name: string;
  readonly types: readonly string[];
  readonly indexes: readonly string[];
  /**
   * Indexes with a `by`, and those with a `sort`. Null: an earlier Millrace registered the
   * generation, and did not tell.
   */
  readonly lookups: ViewLookups | null;
}

export interface KnownView {
  readonly view: string;
  readonly live: number;
  /** Version that a rollback goes back to. */
  readonly previous: number | null;
  readonly generations: readonly Generation[];
}

const PAGE = 500;

/** Reads the record of a generation. @throws ViewGenerationError if it is damaged */
const generation = (
  view: string,
  version: number,
  shape: string,
  lookups: string | undefined,
): Generation => {
  try {
    const { types, indexes } = JSON.parse(shape) as Record<string, unknown>;
    if (!isTexts(types) || !isTexts(indexes)) throw new TypeError('it names no types and indexes');
    return {
      view,
      version,
      name: generationOf(view, version),
      types,
      indexes,
      lookups: lookups ? readLookups(lookups) : null,
    };
  } catch (error) {
    throw new ViewGenerationError(
      view,
      `the record of version ${version} cannot be read: ${(error as Error).message}. Delete the fields ` +
        `generation:${view}@${version} and lookups:${view}@${version} of the hash registry:views: a dispatcher writes them again when it starts`,
    );
  }
};

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');

function readLookups(text: string): ViewLookups {
  const { by, sort } = JSON.parse(text) as Partial<Record<keyof ViewLookups, unknown>>;
  if (!isTexts(by) || !isTexts(sort)) throw new TypeError('its lookups are not valid');
  return { by, sort };
}

/**
 * Reads the record of a generation; null: it is damaged. A list leaves such a generation out. Only
 * a query of that generation gets the error.
 */
function generationOrNull(...given: Parameters<typeof generation>): Generation | null {
  try {
    return generation(...given);
  } catch (error) {
    if (error instanceof ViewGenerationError) return null;
    throw error;
  }
}

/**
 * Registers the generations of views. Called at the start of each process that runs views.
 * @throws ConfigError if a version is there already with other types or indexes, because its rows
 *   were built with those
 */
export async function registerGenerations(
  { connection, keys }: RedisSpace,
  specs: readonly FunctionSpec[],
): Promise<void> {
  const problems: string[] = [];
  for (const { view, on } of specs) {
    if (!view) continue;
    const shape = JSON.stringify({ types: [...on].sort(), indexes: view.indexes });
    const reply = (await withRetry(
      () =>
        register.run(
          connection,
          [keys.views()],
          [view.view, view.version, shape, JSON.stringify(view.lookups)],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as [string, string, string?];
    if (reply[0] === 'changed') {
      problems.push(
        `view "${view.view}": version ${view.version} was built with ${reply[1]}, this one has ${reply[2] === 'lookups' ? JSON.stringify(view.lookups) : shape}. Raise its version, then: millrace view rebuild ${view.view}`,
      );
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Returns the number of entries of an index in one partition; null: its key is of another type. */
export async function indexSize(connection: RedisConnection, key: string): Promise<number | null> {
  try {
    return Number(await connection.command('ZCARD', key));
  } catch (error) {
    if (error instanceof RedisReplyError && error.reply === 'WRONGTYPE') return null;
    throw error;
  }
}

/** Returns the row ids of the members. Members that cannot be parsed are left out. */
function idsOf(members: readonly Buffer[]): string[] {
  const ids: string[] = [];
  for (const member of members) {
    try {
      ids.push(parseMember(member).id);
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
    }
  }
  return ids;
}

/** @throws UnknownViewError; ViewGenerationError if the generation's record is damaged */
export async function liveGeneration(source: RedisSpace, view: string): Promise<Generation> {
  const [version, shape, lookups] = (await live.run(
    source.connection,
    [source.keys.views()],
    [view],
  )) as [string?, string?, string?];
  if (version === undefined || shape === undefined)
    throw new UnknownViewError(
      view,
      (await listViews(source)).map((known) => known.view),
    );
  return generation(view, Number(version), shape, lookups);
}

/**
 * Returns a version of a view. Default: the live one.
 * @throws UnknownViewError, ViewGenerationError
 */
export async function findGeneration(
  source: RedisSpace,
  view: string,
  version?: number,
): Promise<Generation> {
  if (version === undefined) return liveGeneration(source, view);
  const { generations } = await requireView(source, view);
  const found = generations.find((one) => one.version === version);
  if (!found) throw new ViewGenerationError(view, `version ${version} is not there`);
  return found;
}

/** Lists the views. Versions with a damaged record are left out. */
export async function listViews({ connection, keys }: RedisSpace): Promise<KnownView[]> {
  const flat = (await connection.command('HGETALL', keys.views())) as string[];
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(flat[i] as string, flat[i + 1] as string);
  const views: KnownView[] = [];
  for (const [field, version] of [...fields].sort()) {
    if (!field.startsWith('live:')) continue;
    const view = field.slice('live:'.length);
    const previous = fields.get(`previous:${view}`);
    const generations = [...fields]
      .filter(([name]) => name.startsWith(`generation:${view}@`))
      .flatMap(
        ([name, shape]) =>
          generationOrNull(
            view,
            Number(name.slice(`generation:${view}@`.length)),
            shape,
            fields.get(name.replace('generation:', 'lookups:')),
          ) ?? [],
      )
      .sort((a, b) => a.version - b.version);
    views.push({
      view,
      live: Number(version),
      previous: previous === undefined ? null : Number(previous),
      generations,
    });
  }
  return views;
}

/** @throws UnknownViewError */
export async function requireView(source: RedisSpace, view: string): Promise<KnownView> {
  const views = await listViews(source);
  const found = views.find((known) => known.view === view);
  if (!found)
    throw new UnknownViewError(
      view,
      views.map((known) => known.view),
    );
  return found;
}

/**
 * Makes another version live. @throws ViewGenerationError where `from` is not live, or `to` is not
 * known (any more)
 */
export async function switchLive(
  { connection, keys }: RedisSpace,
  view: string,
  from: number,
  to: number,
): Promise<void> {
  const reply = (await withRetry(() => switchTo.run(connection, [keys.views()], [view, from, to]), {
    deadlineMs: DEADLINE_MS,
  })) as [string, string];
  if (reply[0] === 'unknown') throw new ViewGenerationError(view, `version ${to} is not there`);
  if (reply[0] === 'live')
    throw new ViewGenerationError(
      view,
      `version ${reply[1]} is live, not ${from}: another process has switched`,
    );
}

/**
 * Makes the version live again that was live before the last switch.
 * @throws UnknownViewError, ViewGenerationError
 */
export async function rollBackView(
  source: RedisSpace,
  view: string,
): Promise<{ readonly from: number; readonly to: number }> {
  const known = await requireView(source, view);
  if (known.previous === null)
    throw new ViewGenerationError(view, 'no earlier version is kept to go back to');
  await switchLive(source, view, known.live, known.previous);
  return { from: known.live, to: known.previous };
}

/**
 * Removes a generation that is not live: its lanes, rows and indexes. A removal that was
 * interrupted may be repeated.
 * @returns the number of removed rows
 * @throws UnknownViewError, ViewGenerationError, FunctionInUseError
 */
export async function dropGeneration(
  source: RedisSource,
  view: string,
  version: number,
): Promise<number> {
  const { connection, keys, partitions } = source;
  const known = await requireView(source, view);
  const name = generationOf(view, version);
  if (known.live === version) throw new ViewGenerationError(view, `version ${version} is live`);
  const { indexes = [] } = known.generations.find((one) => one.version === version) ?? {};
  if (indexes.length === 0 && !known.generations.some((one) => one.version === version))
    throw new ViewGenerationError(view, `version ${version} is not there`);
  try {
    await removeFunction(source, name, true);
  } catch (error) {
    // An earlier removal, interrupted later, has removed the function already.
    if (!(error instanceof UnknownFunctionError)) throw error;
  }
  let rows = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const all = keys.viewIndex(partition, name, ALL_ROWS);
    for (;;) {
      // A key of another type lists no rows. It is removed with the others below.
      if ((await indexSize(connection, all)) === null) break;
      const members = (await connection.commandBuffer('ZRANGE', all, 0, PAGE - 1)) as Buffer[];
      if (members.length === 0) break;
      const ids = idsOf(members);
      if (ids.length > 0)
        await connection.command('UNLINK', ...ids.map((id) => keys.viewRow(partition, name, id)));
      rows += Number(await connection.command('ZREM', all, ...members));
    }
    await connection.command(
      'UNLINK',
      keys.viewPass(partition, name),
      ...[ALL_ROWS, ...indexes].map((index) => keys.viewIndex(partition, name, index)),
    );
  }
  const [reply] = (await withRetry(() => forget.run(connection, [keys.views()], [view, version]), {
    deadlineMs: DEADLINE_MS,
  })) as [string];
  if (reply === 'live')
    throw new ViewGenerationError(
      view,
      `version ${version} has become live while it was removed: switch away from it (millrace view rollback ${view}) and rebuild it`,
    );
  return rows;
}
