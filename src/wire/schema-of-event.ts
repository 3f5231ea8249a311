import { readEvent } from './batch-reader.ts';

/** Returns the schema id of an Event message. 0: it has none, or the bytes are no event. */
export function schemaOfEvent(event: Uint8Array): number {
  try {
    return readEvent(event).schema;
  } catch {
    return 0;
  }
}
