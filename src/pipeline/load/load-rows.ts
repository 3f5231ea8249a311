/**
 * The rows a view's batch is folded onto, read in one round trip before it runs. Nobody else writes them meanwhile: the lane's
 * owner does, turn by turn, and a commit of anybody else is refused.
 */
import { CorruptDataError } from '../../core/errors.ts';
import { ALL_ROWS, type ViewSpec } from '../../core/view-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { walkSubjects } from '../../wire/event-batch.ts';
import type { Batch } from '../batch/batch.ts';

const script = defineScript({ url: new URL('./load-rows.lua', import.meta.url), keys: 'variable' });

/** The batch with its rows, and with the keys of all it may write: rows, then indexes (all rows first). */
export async function loadRows(connection: RedisConnection, keys: Keys, partition: number, generation: string, view: ViewSpec, batch: Batch): Promise<Batch> {
  const prefix = keys.viewRow(partition, generation, '');
  const rowKeys = [...subjectsOf(batch)].map((subject) => prefix + subject);
  if (rowKeys.length === 0) return batch;
  const rows = (await script.runBuffer(connection, rowKeys, [Buffer.byteLength(prefix)])) as Buffer;
  const indexKeys = [ALL_ROWS, ...view.indexes].map((index) => keys.viewIndex(partition, generation, index));
  return { ...batch, rows, bytes: batch.bytes + rows.length, effectKeys: [...rowKeys, ...indexKeys] };
}

/** Subjects are the ids of rows. What cannot be taken apart the thread dead-letters: it needs no row. */
function subjectsOf(batch: Batch): Set<string> {
  const subjects = new Set<string>();
  for (const { unit, records } of batch.retries) if (records.length > 0) subjects.add(unit);
  for (const { bytes } of batch.entries) {
    try {
      walkSubjects(bytes, (subject) => subjects.add(subject));
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
    }
  }
  return subjects;
}
