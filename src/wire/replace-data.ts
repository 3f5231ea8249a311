import protobuf from 'protobufjs';
import { asBuffer, Cursor } from './cursor.ts';

/** Tags of an Event message (proto/millrace/v1/batch.proto). */
const DATA = 0x1a;
const SCHEMA = 0x30;

/**
 * Returns an Event message with other data, encoded by the schema of this id. All other fields stay
 * as they are, unknown ones too.
 * @param schema 0: no schema is named
 * @throws CorruptDataError('decode') on bytes that are no Event message
 */
export function replaceData(event: Uint8Array, data: Uint8Array, schema: number): Buffer {
  const bytes = asBuffer(event);
  const cursor = new Cursor(bytes, 0, bytes.length);
  const parts: Buffer[] = [];
  while (cursor.at < cursor.end) {
    const from = cursor.at;
    const tag = cursor.tag();
    cursor.skip(tag);
    if (tag !== DATA && tag !== SCHEMA) parts.push(bytes.subarray(from, cursor.at));
  }
  const writer = protobuf.Writer.create();
  writer.uint32(DATA).bytes(data);
  if (schema !== 0) writer.uint32(SCHEMA).uint32(schema);
  return Buffer.concat([...parts, writer.finish()]);
}
