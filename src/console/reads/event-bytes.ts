/** Reads the bytes of one event's data from its stream. */
import { parsePosition } from '../../core/position.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import type { RedisSource } from '../../redis/source.ts';
import { walkBatch } from '../../wire/batch-reader.ts';

export interface EventBytes {
  readonly data: Buffer;
  /** Id of the writer's schema; 0: none. */
  readonly schema: number;
}

/**
 * Reads one entry, and takes the event out of it.
 * @param where position of the event, such as `3/1795450694309-0/17`
 * @returns null: the entry is gone, or cannot be read
 */
export async function readEventBytes(
  { connection, keys }: RedisSource,
  type: string,
  where: string,
): Promise<EventBytes | null> {
  const parsed = parsePosition(where);
  if (parsed === null) return null;
  const { partition, entryId, position } = parsed;
  const [entry] = (await connection.commandBuffer(
    'XRANGE',
    keys.events(partition, type),
    entryId,
    entryId,
  )) as [Buffer, Buffer[]][];
  const fields = entry?.[1] ?? [];
  const at = fields.findIndex((name, i) => i % 2 === 0 && String(name) === 'b');
  const bytes = at < 0 ? undefined : fields[at + 1];
  if (bytes === undefined) return null;
  let found: EventBytes | null = null;
  try {
    walkBatch(bytes, ({ position: own, dataOffset, dataLength, schema }) => {
      if (own === position)
        found = { data: bytes.subarray(dataOffset, dataOffset + dataLength), schema };
    });
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
  }
  return found;
}
