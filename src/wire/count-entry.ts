/**
 * Number of events that a stream entry counts for: the same rule as that of the lane's reader and
 * of adopt.lua.
 */
import { countEvents } from './batch-reader.ts';

export interface EntryFields {
  readonly bytes: Buffer;
  readonly n: string;
  readonly crc: string;
  /** Ordinal of the entry's last event; null: a foreign entry. */
  readonly ordinal: number | null;
}

export function entryFields(fields: readonly Buffer[]): EntryFields {
  let bytes: Buffer = Buffer.alloc(0);
  let n = '';
  let crc = '';
  let ordinal: number | null = null;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = (fields[i] as Buffer).toString('latin1');
    const value = fields[i + 1] as Buffer;
    if (name === 'b') bytes = value;
    else if (name === 'n') n = value.toString('latin1');
    else if (name === 'c') crc = value.toString('latin1');
    else if (name === 'o') ordinal = Number(value.toString('latin1'));
  }
  return { bytes, n, crc, ordinal };
}

export function countEntry(fields: readonly Buffer[]): number {
  const { bytes, n } = entryFields(fields);
  const said = n === '' ? Number.NaN : Number(n);
  if (Number.isInteger(said) && said >= 1 && said <= 65_536) return said;
  try {
    return Math.max(1, countEvents(bytes));
  } catch {
    return 1;
  }
}
