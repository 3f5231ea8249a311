/**
 * Decodes the payloads of histories as a pool thread does, whatever version of their schema they
 * were written with.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { Upcast } from '../define/upcast.ts';
import type { LocalSchemas } from '../registry/local-schemas.ts';
import { WriterSchemas, type WriterSchemasOptions } from '../registry/writer-schemas.ts';
import { PayloadWays } from '../thread/payload-ways.ts';
import type { Catalog } from '../wire/catalog.ts';
import type { ReadData } from './read-history.ts';

/** The event types that a process knows. */
export interface KnownTypes {
  readonly catalog: Catalog;
  readonly schemas: LocalSchemas;
}

export interface DataReaderParts extends KnownTypes, WriterSchemasOptions {}

/**
 * Events of types without upcasts are decoded at once, with the local schema. For other types the
 * registry is asked, once per schema, for the version that an event was written with. The reader
 * throws UnknownEventTypeError and CorruptDataError.
 */
export function createDataReader(parts: DataReaderParts, upcasts: readonly Upcast[]): ReadData {
  const { catalog, schemas } = parts;
  const upcast = new Set(upcasts.map((one) => one.type));
  const read = (type: string, bytes: Buffer, start: number, end: number): unknown =>
    catalog.get(type).decodeAt(bytes, start, end);
  if (upcasts.length === 0)
    return (type, _schema, bytes, start, end) => read(type, bytes, start, end);

  const asked = new WriterSchemas(parts);
  const writers = new PayloadWays(catalog, schemas, asked.find);
  const reader = { spec: { name: 'event store' }, upcasts };
  const readAs = async (
    type: string,
    schema: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): Promise<unknown> => {
    const way = await writers.wayOf(reader, type, schema);
    switch (way.kind) {
      case 'read':
        return read(type, bytes, start, end);
      case 'upcast':
        return way.convert(bytes, start, end);
      case 'unknown':
        throw new CorruptDataError(
          'missing',
          `its schema id ${schema} is not in the registry (or the registry could not be asked), so its upcasts are not known`,
        );
      case 'refused':
        throw new CorruptDataError('decode', way.why);
    }
  };
  return (type, schema, bytes, start, end) =>
    schema === 0 || !upcast.has(type) || schemas.get(type)?.id === schema
      ? read(type, bytes, start, end)
      : readAs(type, schema, bytes, start, end);
}
