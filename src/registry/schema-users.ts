/**
 * The writers and the readers of a subject's versions. The writers are a sample: the schema ids of
 * the newest entries of each partition. The readers are the functions registered for the type, with
 * the schemas that their dispatchers tell of.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { entryIdTime, formatPosition } from '../core/position.ts';
import { readPresences, type Presence } from '../pipeline/ownership/presence.ts';
import { readPartition } from '../redis/counters.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { serverTime } from '../redis/server-time.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { walkBatch } from '../wire/batch-reader.ts';
import { entryFields } from '../wire/count-entry.ts';
import { readable } from './schema-errors.ts';
import type { SchemaRegistry } from './registry.ts';
import type { SubjectVersion } from './stored-records.ts';

export interface UsersSource extends RedisSource {
  readonly registry: SchemaRegistry;
}

export interface SchemaUsers {
  readonly subject: string;
  /** Versions of the registry, oldest first, softly deleted ones too. Empty: there are none. */
  readonly versions: readonly SubjectVersion[];
  /** Versions whose record cannot be read. */
  readonly damaged: readonly number[];
  /** Schemas in the sample, by version, then by id. */
  readonly written: readonly WrittenSchema[];
  readonly sample: {
    /** Most entries that were read of each partition, the newest ones. */
    readonly entriesPerPartition: number;
    readonly partitions: number;
    readonly entries: number;
    readonly events: number;
    /** Entries that cannot be read. Their schemas are not known. */
    readonly unreadable: number;
    /** Entries in the streams of these partitions: the sample is `entries` of them. */
    readonly ofEntries: number;
  };
  /** Functions registered for the type, by name. */
  readonly readers: readonly ReadingFunction[];
}

export interface WrittenSchema {
  /** 0: the writers named none. */
  readonly schema: number;
  /** Null: no version of the subject. */
  readonly version: number | null;
  readonly events: number;
  /** Time of its newest entry in the sample by the server's clock, ms since 1970. */
  readonly newestMs: number;
  /** Position of an event of that entry. */
  readonly newest: string;
  /** Sources of its events, at most ten of them. */
  readonly sources: readonly string[];
}

export interface ReadingFunction {
  readonly name: string;
  /** Dispatchers that serve it now. */
  readonly dispatchers: readonly ReadingDispatcher[];
}

export interface ReadingDispatcher {
  readonly dispatcher: string;
  /** Id of its schema of the type. Null: it does not tell, as an older Millrace. */
  readonly schema: number | null;
  /** Null: not known. */
  readonly version: number | null;
}

const ENTRIES = { usual: 10, most: 1000 } as const;
const SOURCES = 10;
/** Partitions read at once: an entry may have megabytes. */
const PARALLEL = 4;
/** About the most bytes of a call, and of a partition where nobody has said how many entries. */
const BYTES = 131_072;

/**
 * @param entries newest entries of each partition; 1 to 1,000. Default: 10, and fewer large ones
 * @throws RegistryInputError for an invalid name; UnknownOutcomeError, RedisReplyError
 */
export async function readSchemaUsers(
  source: UsersSource,
  subject: string,
  { entries }: { readonly entries?: number } = {},
): Promise<SchemaUsers> {
  const { registry } = source;
  const state = await readable(registry.store.state(subject));
  const versions = state?.versions ?? [];
  const most = Math.min(ENTRIES.most, Math.max(1, Math.floor(entries ?? ENTRIES.usual)));
  const sample = new Sample(source, subject, {
    most,
    bytes: entries === undefined ? BYTES : Infinity,
  });
  await sample.run();
  const ids = [...sample.found.keys()].filter((id) => id !== 0);
  const uses = new Map((await registry.store.usesOf(ids)).map((of, i) => [ids[i] as number, of]));
  const versionOf = (id: number): number | null =>
    versions.findLast((one) => one.id === id)?.version ??
    uses.get(id)?.find((use) => use.subject === subject)?.version ??
    null;
  const written = [...sample.found.values()]
    .map(({ sources, ...schema }): WrittenSchema => ({
      ...schema,
      version: schema.schema === 0 ? null : versionOf(schema.schema),
      sources: [...sources].sort(),
    }))
    .sort((a, b) => (a.version ?? 0) - (b.version ?? 0) || a.schema - b.schema);
  const { entries: read, events, unreadable, ofEntries } = sample;
  return {
    subject,
    versions,
    damaged: state?.damaged ?? [],
    written,
    sample: {
      entriesPerPartition: most,
      partitions: partitionsOf(source).length,
      entries: read,
      events,
      unreadable,
      ofEntries,
    },
    readers: await readersOf(source, subject, versionOf),
  };
}

interface SampleBounds {
  /** Entries of each partition. */
  readonly most: number;
  /** Bytes of each partition, about. */
  readonly bytes: number;
}

/** Schemas of the newest entries. */
class Sample {
  readonly found = new Map<
    number,
    {
      schema: number;
      events: number;
      newestMs: number;
      newest: string;
      readonly sources: Set<string>;
    }
  >();
  entries = 0;
  events = 0;
  unreadable = 0;
  ofEntries = 0;
  readonly #source: RedisSource;
  readonly #type: string;
  readonly #bounds: SampleBounds;

  constructor(source: RedisSource, type: string, bounds: SampleBounds) {
    this.#source = source;
    this.#type = type;
    this.#bounds = bounds;
  }

  async run(): Promise<void> {
    const partitions = partitionsOf(this.#source);
    for (let i = 0; i < partitions.length; i += PARALLEL)
      await Promise.all(partitions.slice(i, i + PARALLEL).map((one) => this.#partition(one)));
  }

  async #partition(partition: number): Promise<void> {
    const { connection, keys } = this.#source;
    const key = keys.events(partition, this.#type);
    const { most, bytes } = this.#bounds;
    const length = await withRetry(() => connection.command('XLEN', key), {
      deadlineMs: DEADLINE_MS,
    });
    this.ofEntries += Number(length);
    let before = '+';
    let left = { entries: most, bytes };
    // The entries before tell how large the next ones are: no call to Redis takes long.
    for (let page = 1; page > 0;) {
      const entries = await this.#read(key, before, page);
      const [last, size] = this.#count(partition, entries);
      if (last === null || entries.length < page) return;
      before = `(${last}`;
      left = { entries: left.entries - entries.length, bytes: left.bytes - size };
      const one = Math.max(1, size / entries.length);
      const fit = Math.max(1, Math.floor(BYTES / one));
      page = Math.min(left.entries, Math.floor(left.bytes / one), fit);
    }
  }

  async #read(key: string, before: string, count: number): Promise<[Buffer, Buffer[]][]> {
    const { connection } = this.#source;
    return (await withRetry(
      () => connection.commandBuffer('XREVRANGE', key, before, '-', 'COUNT', count),
      { deadlineMs: DEADLINE_MS },
    )) as [Buffer, Buffer[]][];
  }

  /** Counts entries. Returns the id of the last one, and the size of all. */
  #count(
    partition: number,
    entries: readonly [Buffer, Buffer[]][],
  ): [id: string | null, bytes: number] {
    let last: string | null = null;
    let size = 0;
    for (const [id, fields] of entries) {
      this.entries++;
      const { bytes } = entryFields(fields);
      last = id.toString('latin1');
      size += bytes.length;
      try {
        this.#entry(partition, last, bytes);
      } catch (error) {
        if (!(error instanceof CorruptDataError)) throw error;
        this.unreadable++;
      }
    }
    return [last, size];
  }

  #entry(partition: number, entryId: string, bytes: Buffer): void {
    walkBatch(bytes, ({ schema, source, position }) => {
      this.events++;
      let found = this.found.get(schema);
      if (!found)
        this.found.set(
          schema,
          (found = { schema, events: 0, newestMs: -1, newest: '', sources: new Set() }),
        );
      found.events++;
      const atMs = entryIdTime(entryId);
      if (atMs > found.newestMs) {
        found.newestMs = atMs;
        found.newest = formatPosition({ partition, entryId, position });
      }
      if (found.sources.size < SOURCES) found.sources.add(source);
    });
  }
}

/** A function is registered in every partition, so one partition tells of all functions. */
async function readersOf(
  source: UsersSource,
  subject: string,
  versionOf: (id: number) => number | null,
): Promise<ReadingFunction[]> {
  const { connection, keys } = source;
  const [partition = 0] = partitionsOf(source);
  const { functions } = await readPartition(source, partition);
  const nowMs = await serverTime(source);
  const members = await Promise.all(
    functions
      .filter(({ types }) => types.includes(subject))
      .map(async ({ name }) => ({
        name,
        dispatchers: (
          (await connection.command('ZRANGEBYSCORE', keys.members(name), nowMs, '+inf')) as string[]
        ).sort(),
      })),
  );
  const names = [...new Set(members.flatMap(({ dispatchers }) => dispatchers))];
  const presences = new Map(
    (await readPresences(connection, keys, names)).map((one) => [one.dispatcher, one] as const),
  );
  return members.map(({ name, dispatchers }) => ({
    name,
    dispatchers: dispatchers.map((dispatcher) =>
      readingDispatcher(dispatcher, subject, presences.get(dispatcher), versionOf),
    ),
  }));
}

function readingDispatcher(
  dispatcher: string,
  subject: string,
  presence: Presence | undefined,
  versionOf: (id: number) => number | null,
): ReadingDispatcher {
  const schemas = presence?.schemas;
  const schema = schemas && Object.hasOwn(schemas, subject) ? (schemas[subject] as number) : null;
  return { dispatcher, schema, version: schema === null ? null : versionOf(schema) };
}
