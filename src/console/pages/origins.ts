/**
 * Finds out which function emits a type. No function declares what it emits. So this looks at the
 * newest event of each type: the id of an emitted event follows from its cause and its function.
 */
import { monotonicMs } from '../../core/clock.ts';
import { CAUSATION } from '../../core/emitted.ts';
import { emittedIdPrefix } from '../../core/emitted-ids.ts';
import type { RatedLag } from '../../lag/rates.ts';
import { knownTypes, readPartitions } from '../../redis/counters.ts';
import type { RedisSource } from '../../redis/source.ts';
import { walkBatch } from '../../wire/batch-reader.ts';

/** Types whose newest events are looked at, and the time for which an answer counts, ms. */
const MOST_TYPES = 50;
const FRESH_MS = 30_000;

/** Looks for origins, and keeps the answer for a while. */
export class Origins {
  #last: {
    readonly atMs: number;
    readonly key: string;
    readonly found: Map<string, string>;
  } | null = null;

  /** @returns the function that emitted the newest event, by type; other types are left out */
  async read(source: RedisSource, { functions }: RatedLag): Promise<ReadonlyMap<string, string>> {
    const names = functions.map(({ name }) => name);
    const key = names.join(' ');
    if (this.#last?.key === key && monotonicMs() - this.#last.atMs < FRESH_MS)
      return this.#last.found;
    const types = [...knownTypes(await readPartitions(source))].sort().slice(0, MOST_TYPES);
    const found = new Map<string, string>();
    for (const type of types) {
      const origin = await originOf(source, type, names);
      if (origin !== null) found.set(type, origin);
    }
    this.#last = { atMs: monotonicMs(), key, found };
    return found;
  }
}

/** Looks at one partition after the other: an entry may have some hundred kilobytes. */
async function originOf(
  { connection, keys, partitions }: RedisSource,
  type: string,
  names: readonly string[],
): Promise<string | null> {
  for (let partition = 0; partition < partitions; partition++) {
    const stream = keys.events(partition, type);
    const [newest] = (await connection.commandBuffer(
      'XREVRANGE',
      stream,
      '+',
      '-',
      'COUNT',
      1,
    )) as [Buffer, Buffer[]][];
    const bytes = newest === undefined ? null : bodyOf(newest[1]);
    if (bytes === null) continue;
    for (const { id, cause } of causedIn(bytes)) {
      const fn = names.find((name) => id.startsWith(emittedIdPrefix(cause, name)));
      if (fn !== undefined) return fn;
    }
    // The type's events come from elsewhere.
    return null;
  }
  return null;
}

function bodyOf(fields: readonly Buffer[]): Buffer | null {
  for (let i = 0; i + 1 < fields.length; i += 2)
    if (String(fields[i]) === 'b') return fields[i + 1] as Buffer;
  return null;
}

/** Events of an entry that name a cause. An entry that cannot be read has none. */
function causedIn(bytes: Buffer): { readonly id: string; readonly cause: string }[] {
  const caused: { id: string; cause: string }[] = [];
  try {
    walkBatch(bytes, ({ id, extensions }) => {
      const cause = extensions?.[CAUSATION.cause];
      if (cause !== undefined) caused.push({ id, cause });
    });
  } catch {
    return [];
  }
  return caused;
}
