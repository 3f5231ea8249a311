/**
 * Payloads decoded with the schemas of their writers, from the registry. An event without a schema
 * id is decoded with the declared type of this process, else with the latest version in the
 * registry. One object serves one search. An answer is kept, a failed one, too.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { SchemaKey } from '../core/thread-protocol.ts';
import { maskData, type MaskedData } from '../payload/mask-data.ts';
import { DataShapes } from '../registry/data-shapes.ts';
import { readable } from '../registry/schema-errors.ts';
import type { SchemaRegistry } from '../registry/registry.ts';
import { WriterSchemas } from '../registry/writer-schemas.ts';
import { createCatalog, type Catalog } from '../wire/catalog.ts';
import { exactType, type ExactType } from '../wire/exact-type.ts';
import { CEL_FORMS } from './event-expression.ts';

export interface PayloadParts {
  /** Types that this process declares. */
  readonly catalog: Catalog;
  readonly registry: SchemaRegistry;
}

/** A payload's data, or the reason for which it cannot be read. */
export type ReadPayload =
  | (PlainPayload & { readonly problem: null })
  | { readonly data: null; readonly masked: readonly string[]; readonly problem: string };

export interface PlainPayload {
  readonly data: Record<string, unknown>;
  /** Paths of the values that masks have made null, such as `items.0.email`. */
  readonly masked: readonly string[];
}

/** Codec of a type's payloads. */
export interface FoundCodec {
  /** @throws CorruptDataError */
  decode(place: PayloadPlace): PlainPayload;
  /** Returns the typed form of decoded data: see ExactType. Masked fields are not in it. */
  typed(data: Record<string, unknown>): ReadonlyMap<string, unknown>;
}

/** Place of a payload. */
export interface PayloadPlace {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Most codecs kept; the oldest is removed first. */
const KEPT = 1000;

export class WriterPayloads {
  readonly #parts: PayloadParts;
  readonly #schemas: WriterSchemas;
  /** Null: nothing is masked. */
  readonly #shapes: DataShapes | null;
  readonly #types = new Map<string, FoundCodec | CorruptDataError>();

  /** @param masked whether the fields are left out that schemas mask */
  constructor(parts: PayloadParts, masked = false) {
    this.#parts = parts;
    const { registry, catalog } = parts;
    this.#shapes = masked ? new DataShapes(registry, catalog) : null;
    // The alarm for unknown schemas is for dispatchers: here nothing waits for them.
    this.#schemas = new WriterSchemas({
      registry,
      schemas: new Map(),
      schemaWaitMs: 0,
      log: () => {},
    });
  }

  /**
   * Returns the codec of a type's payloads; undefined: ask with `prepare` first.
   * @param schema the event's schema id; 0: none
   */
  ready(type: string, schema: number): FoundCodec | CorruptDataError | undefined {
    return this.#types.get(`${schema} ${type}`);
  }

  /** Fetches the codec, once. */
  async prepare(type: string, schema: number): Promise<FoundCodec | CorruptDataError> {
    const kept = this.ready(type, schema);
    if (kept !== undefined) return kept;
    let found: FoundCodec | CorruptDataError;
    try {
      found = await this.#codec(type, schema);
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      found = error;
    }
    if (this.#types.size >= KEPT) this.#types.delete(this.#types.keys().next().value as string);
    this.#types.set(`${schema} ${type}`, found);
    return found;
  }

  async read(type: string, schema: number, place: PayloadPlace): Promise<ReadPayload> {
    const codec = await this.prepare(type, schema);
    const failed = ({ message }: CorruptDataError): ReadPayload => ({
      data: null,
      masked: [],
      problem: message,
    });
    if (codec instanceof CorruptDataError) return failed(codec);
    try {
      return { ...codec.decode(place), problem: null };
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      return failed(error);
    }
  }

  /** @throws CorruptDataError */
  async #codec(type: string, schema: number): Promise<FoundCodec> {
    const exact = await this.#find(type, schema);
    const decoded = ({ bytes, start, end }: PayloadPlace): Record<string, unknown> =>
      exact.decodeAt(bytes, start, end);
    const typed = (data: Record<string, unknown>): ReadonlyMap<string, unknown> =>
      exact.typed(data);
    if (this.#shapes === null)
      return { decode: (place) => ({ data: decoded(place), masked: [] }), typed };
    const found = await this.#shapes.find(type, schema);
    if (found === null)
      throw new CorruptDataError('missing', 'no schema tells which of its fields are masked');
    return {
      decode: (place) =>
        maskData(found.shape, decoded(place), found.also) as MaskedData & PlainPayload,
      typed,
    };
  }

  /** @throws CorruptDataError */
  async #find(type: string, schema: number): Promise<ExactType> {
    const { catalog, registry } = this.#parts;
    if (schema !== 0) return this.#written(`text:${schema}`, `its schema id ${schema}`);
    const declared = catalog.types.get(type);
    if (declared !== undefined) return exactType(catalog, declared.messageName, CEL_FORMS);
    const { versions } = (await readable(registry.store.state(type))) ?? { versions: [] };
    const latest = versions.findLast(({ deleted }) => !deleted);
    if (latest === undefined) {
      throw new CorruptDataError(
        'missing',
        `it names no schema, and "${type}" is neither declared under proto/ here nor registered`,
      );
    }
    return this.#written(`text:${latest.id}`, `schema id ${latest.id} of "${type}"`);
  }

  async #written(key: SchemaKey, what: string): Promise<ExactType> {
    const answer = await this.#schemas.find(key);
    if (answer === null) {
      throw new CorruptDataError(
        'missing',
        `${what} is not in the registry, or the registry could not be asked`,
      );
    }
    try {
      return exactType(createCatalog(answer.files), answer.message, CEL_FORMS);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      throw new CorruptDataError('decode', `${what} cannot be used: ${error.message}`, {
        cause: error,
      });
    }
  }
}
