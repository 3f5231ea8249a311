/**
 * Reads and writes payloads outside a function: with the event types under proto/, or with the
 * schema that an event was written with.
 */
import type { Deployment } from '../deployment.ts';
import { messageType, createCatalog, type Catalog } from '../wire/catalog.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { EventType } from '../wire/event-type.ts';
import { createJsonReader, plainJson } from '../wire/payload-json.ts';
import { maskData, type MaskedData } from '../payload/mask-data.ts';
import { DataShapes } from '../registry/data-shapes.ts';

export interface PayloadCodec {
  readonly type: EventType;
  /** Id of the schema. 0: the registry has none of the type. */
  readonly schema: number;
  /** Returns data in the form that the type's encoder takes. @throws InvalidEventError */
  readJson(json: unknown): unknown;
}

/** A payload as JSON, or the reason for which it cannot be read. */
export type ShownPayload =
  | { readonly kind: 'data'; readonly data: unknown }
  | { readonly kind: 'undecodable'; readonly problem: string };

type Parts = Pick<Deployment, 'catalog' | 'registry'>;

export class PayloadCodecs {
  readonly #parts: Parts;
  readonly #ofWriters = new Map<string, Promise<PayloadCodec>>();
  readonly #local = new Map<string, Promise<PayloadCodec>>();
  readonly #shapes: DataShapes;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#shapes = new DataShapes(parts.registry, parts.catalog);
  }

  /** Whether a message under proto/ declares the type. */
  declares(type: string): boolean {
    return this.#parts.catalog.types.has(type);
  }

  /**
   * Returns the codec of the type under proto/.
   * @throws UnknownEventTypeError, InvalidSchemaError
   */
  local(type: string): Promise<PayloadCodec> {
    return kept(this.#local, type, async () => {
      const { catalog, registry } = this.#parts;
      const declared = catalog.get(type);
      const found = await registry.find({ subject: type, files: catalog.filesOf(type) });
      return codecOf(catalog, declared, found?.id ?? 0);
    });
  }

  /**
   * Returns the codec of a schema of the type.
   * @param schema id of the schema, not 0
   * @throws UnknownSchemaError, InvalidSchemaError, CorruptDataError
   */
  ofWriter(type: string, schema: number): Promise<PayloadCodec> {
    return kept(this.#ofWriters, `${type}/${schema}`, async () => {
      const { registry } = this.#parts;
      const { files, message } = await registry.schema(schema);
      // The text passes the checks of a registration, because code is made of it.
      await registry.prepared(schema, type);
      const catalog = createCatalog(files);
      return codecOf(catalog, messageType(catalog, type, message), schema);
    });
  }

  /**
   * Masks data that show() or an encoder has returned.
   * @param schema id of its schema; 0: none
   * @returns null: no schema says what is confidential
   */
  async masked(type: string, schema: number, data: unknown): Promise<MaskedData | null> {
    const shape = await this.#shapes.find(type, schema);
    return shape && maskData(shape.shape, data, shape.also);
  }

  /** Decodes the payload of an event with its writer's schema, or else with the declared type. */
  async show(type: string, bytes: Buffer, header: EventHeader): Promise<ShownPayload> {
    const { dataOffset, dataLength, schema } = header;
    const data = bytes.subarray(dataOffset, dataOffset + dataLength);
    const ways = [
      ...(schema === 0 ? [] : [() => this.ofWriter(type, schema)]),
      ...(this.declares(type) ? [() => this.local(type)] : []),
    ];
    let problem = `no message under proto/ declares "${type}", and the event names no schema`;
    for (const way of ways) {
      try {
        return { kind: 'data', data: plainJson((await way()).type.decode(data)) };
      } catch (error) {
        problem = (error as Error).message;
      }
    }
    return { kind: 'undecodable', problem };
  }
}

function codecOf(catalog: Catalog, type: EventType, schema: number): PayloadCodec {
  const read = createJsonReader(catalog);
  return { type, schema, readJson: (json) => read(type.name, json) };
}

/** A failed attempt is not kept. */
function kept<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = map.get(key);
  if (known) return known;
  const made = make();
  map.set(key, made);
  made.catch(() => map.delete(key));
  return made;
}
