/** Reads the rows that an index names. */
import { CorruptDataError, UnreadableRowError } from '../core/errors/data-errors.ts';
import type { RedisSource } from '../redis/source.ts';
import { decodeStoredRow, parseMember, sameEntry, type StoredRow } from '../wire/view-row.ts';
import type { Generation } from './generations.ts';

export interface ViewRow<Row> {
  readonly id: string;
  readonly row: Row;
  /** Number of events folded into the row. */
  readonly revision: number;
  /** Position of the last event folded into the row. */
  readonly position: string;
}

/** A damaged record of a view: a row, an entry of an index, or an index in one partition. */
export interface Unreadable {
  /** Id of the row; null: not known. */
  readonly id: string | null;
  /** Key of the record in Redis. */
  readonly key: string;
  /** The damage, and the cure. */
  readonly problem: string;
}

/** A row that an index names. */
interface Wanted {
  readonly id: string;
  readonly value: string;
  readonly sort: number;
  readonly partition: number;
  readonly key: string;
  /** The stored bytes; null: there is no row. '!' and a type: the key is of that type. */
  bytes: Buffer | null;
}

/**
 * Reads the rows in the given order. Rows that have changed since the index was read are left out.
 */
export async function readRows<Row>(
  source: RedisSource,
  generation: Generation,
  index: string,
  found: readonly { readonly member: Buffer; readonly partition: number }[],
): Promise<{ rows: ViewRow<Row>[]; unreadable: Unreadable[] }> {
  const { keys } = source;
  const at = generation.indexes.indexOf(index);
  const rows: ViewRow<Row>[] = [];
  const unreadable: Unreadable[] = [];
  const wanted: Wanted[] = [];
  for (const { member, partition } of found) {
    try {
      const entry = parseMember(member);
      wanted.push({
        ...entry,
        partition,
        key: keys.viewRow(partition, generation.name, entry.id),
        bytes: null,
      });
    } catch (error) {
      const key = keys.viewIndex(partition, generation.name, index);
      unreadable.push({ id: null, key, problem: badMember(member, index, error) });
    }
  }
  await fetchRows(source, wanted);
  for (const { id, value, sort, partition, key, bytes } of wanted) {
    if (bytes === null) continue;
    try {
      const stored = storedRow(generation, id, key, bytes);
      if (at >= 0 && !sameEntry(stored.ix[at], [value, sort])) continue;
      rows.push(rowOf<Row>(id, partition, stored));
    } catch (error) {
      if (!(error instanceof UnreadableRowError)) throw error;
      unreadable.push({ id, key, problem: error.message });
    }
  }
  return { rows, unreadable };
}

/** Fetches the stored bytes of the rows. For a key that is no string it asks for the type. */
async function fetchRows({ connection }: RedisSource, wanted: readonly Wanted[]): Promise<void> {
  const byPartition = new Map<number, Wanted[]>();
  for (const one of wanted)
    byPartition.set(one.partition, [...(byPartition.get(one.partition) ?? []), one]);
  await Promise.all(
    [...byPartition.values()].map(async (some) => {
      const rows = (await connection.commandBuffer(
        'MGET',
        ...some.map(({ key }) => key),
      )) as (Buffer | null)[];
      await Promise.all(
        some.map(async (one, i) => {
          one.bytes = rows[i] ?? null;
          if (one.bytes !== null) return;
          const kind = String(await connection.command('TYPE', one.key));
          if (kind !== 'none' && kind !== 'string') one.bytes = Buffer.from(`!${kind}`);
        }),
      );
    }),
  );
}

/** @throws UnreadableRowError */
export function storedRow(
  generation: Generation,
  id: string,
  key: string,
  bytes: Buffer,
): StoredRow {
  try {
    return decodeStoredRow(bytes);
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    throw new UnreadableRowError(generation.name, id, key, error.message);
  }
}

export function rowOf<Row>(
  id: string,
  partition: number,
  { row, at, rev }: StoredRow,
): ViewRow<Row> {
  return { id, row: row as Row, revision: rev, position: `${partition}/${at}` };
}

function badMember(member: Buffer, index: string, error: unknown): string {
  return (
    `entry ${member.toString('hex', 0, 40)} (hexadecimal) of index "${index}" cannot be read: ${(error as Error).message}. ` +
    'No view writes such an entry: remove it (ZREM)'
  );
}
