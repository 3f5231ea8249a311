/** The place of a pass, as it is stored. */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import type { RedisSpace } from '../redis/source.ts';
import { ViewGenerationError } from './view-errors.ts';
import type { WalkPlace } from './history-walk.ts';

export interface PassCursor {
  readonly place: WalkPlace | null;
  /** Events folded, per type. */
  readonly folded: Record<string, number>;
}

export async function readCursor(
  { connection, keys }: RedisSpace,
  name: string,
  partition: number,
): Promise<PassCursor> {
  const text = (await withRetry(() => connection.command('GET', keys.viewPass(partition, name)), {
    deadlineMs: DEADLINE_MS,
  })) as string | null;
  if (text === null) return { place: null, folded: {} };
  return readProgress<PassCursor>(name, text, ['place', 'folded'], keys.viewPass(partition, name));
}

/**
 * Parses a record of a pass. A damaged record is an error: a guess would fold events twice, or
 * leave some out.
 * @throws ViewGenerationError
 */
export function readProgress<T extends object>(
  name: string,
  text: string,
  fields: readonly (keyof T & string)[],
  where: string,
): T {
  const [view = '', version = ''] = name.split('@');
  try {
    const found: unknown = JSON.parse(text);
    if (
      typeof found === 'object' &&
      found !== null &&
      fields.every((field) => typeof (found as Record<string, unknown>)[field] === 'object')
    )
      return found as T;
  } catch {
    // Text that is not JSON is damaged like any other.
  }
  throw new ViewGenerationError(
    view,
    `the progress of version ${version} (its build from histories) cannot be read (${where}). To begin again: millrace view drop ${view} ${version}, then millrace view rebuild ${view}`,
  );
}
