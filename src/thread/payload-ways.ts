/**
 * Ways to read the payloads of a writer's schema: with the function's own schema (nearly always),
 * through upcasts, or not (yet) at all.
 *
 * A thread asks the dispatcher once for each schema that it does not know. Only "not registered" is
 * asked again. Once the registry was lost, all is asked again: versions may have other numbers.
 */
import type { LocalSchema } from '../core/schema-id.ts';
import type { SchemaAnswer, SchemaKey } from '../core/thread-protocol.ts';
import { applyStep, chainOf, type Upcast } from '../define/upcast.ts';
import { createCatalog, messageType, type Catalog } from '../wire/catalog.ts';
import type { EventType } from '../wire/event-type.ts';

export type Way =
  | { readonly kind: 'read' }
  | {
      readonly kind: 'upcast';
      readonly convert: (bytes: Buffer, start: number, end: number) => unknown;
    }
  /** The registry does not know the schema (yet). */
  | { readonly kind: 'unknown' }
  /** The schema can never be read: it is another type's. */
  | { readonly kind: 'refused'; readonly why: string };

/** Reader of payloads: a function, or an event store. */
export interface Reader {
  readonly spec: { readonly name: string };
  readonly upcasts: readonly Upcast[];
}

/**
 * Asks for a writer's schema.
 * @param lost losses of the type's schema up to the question
 */
type Ask = (key: SchemaKey, lost: number) => Promise<SchemaAnswer>;

const READ: Way = { kind: 'read' };
const UNKNOWN: Way = { kind: 'unknown' };
/** Most schemas kept per thread, each with the way to read it. Beyond that, all are asked anew. */
const KEPT = 10_000;

export class PayloadWays {
  readonly #catalog: Catalog;
  readonly #local: ReadonlyMap<string, LocalSchema>;
  readonly #ask: Ask;
  readonly #ways = new Map<string, Way>();
  readonly #types = new Map<string, Promise<EventType | null>>();

  constructor(catalog: Catalog, local: ReadonlyMap<string, LocalSchema>, ask: Ask) {
    this.#catalog = catalog;
    this.#local = local;
    this.#ask = ask;
  }

  /**
   * Returns the way to read a payload: at once where the way is known.
   * @param id not 0
   */
  wayOf(definition: Reader, type: string, id: number): Way | Promise<Way> {
    const local = this.#local.get(type);
    if (local?.id === id) return READ;
    // An undeclared type fails in the same way as without a schema id.
    if (!this.#catalog.types.has(type)) return READ;
    const lost = local?.lost ?? 0;
    const key = `${definition.spec.name}/${type}/${id}/${lost}`;
    return (
      this.#ways.get(key) ??
      this.#find(definition, type, id).then(
        (way) => {
          // The registry was lost meanwhile: the answers may hold former numbers of versions.
          if (this.#lossesOf(type) !== lost) return this.wayOf(definition, type, id);
          if (way.kind === 'unknown') return way;
          if (this.#ways.size >= KEPT) this.#ways.clear();
          this.#ways.set(key, way);
          return way;
        },
        // One event's schema must not fail the batch as a whole.
        (error: unknown): Way => ({
          kind: 'refused',
          why: `schema id ${id} of "${type}" cannot be read: ${(error as Error).message}`,
        }),
      )
    );
  }

  #lossesOf(type: string): number {
    return this.#local.get(type)?.lost ?? 0;
  }

  async #find(definition: Reader, type: string, id: number): Promise<Way> {
    const known = await this.#ask(`id:${id}`, this.#lossesOf(type));
    if (known === null) return UNKNOWN;
    const reader = this.#catalog.get(type);
    const versions = known.uses.filter((use) => use.subject === type).map((use) => use.version);
    if (versions.length === 0 && known.message !== reader.messageName) {
      const owners =
        known.uses.map((use) => `version ${use.version} of "${use.subject}"`).join(', ') ||
        known.message;
      return {
        kind: 'refused',
        why: `it bears schema id ${id}, which is ${owners}, not a schema of "${type}"`,
      };
    }
    const local = this.#local.get(type);
    for (const version of versions) {
      const steps = chainOf(definition.upcasts, type, version, local?.version);
      if (steps.length > 0) return this.#throughUpcasts(reader, id, steps, local);
    }
    return READ;
  }

  /**
   * Reads a payload with its writer's schema and converts the data step by step. Then it is read
   * with the function's own schema, like any event of the last step's version.
   */
  async #throughUpcasts(
    reader: EventType,
    id: number,
    steps: readonly Upcast[],
    local: LocalSchema | undefined,
  ): Promise<Way> {
    const arrival = (steps.at(-1) as Upcast).to;
    const [writer, arrived] = await Promise.all([
      this.#typeOf(reader.name, `text:${id}`),
      arrival === local?.version
        ? reader
        : this.#typeOf(reader.name, `text:${reader.name}/${arrival}`),
    ]);
    if (writer === null) return UNKNOWN;
    const target = arrived ?? reader;
    return {
      kind: 'upcast',
      convert: (bytes, start, end) => {
        let data = writer.decodeAt(bytes, start, end);
        for (const step of steps) data = applyStep(step, data);
        return reader.decode(target.encode(data));
      },
    };
  }

  #typeOf(type: string, key: SchemaKey): Promise<EventType | null> {
    const lost = this.#lossesOf(type);
    const place = `${key} ${lost}`;
    const kept = this.#types.get(place);
    if (kept) return kept;
    const found = this.#ask(key, lost).then((answer) =>
      answer === null ? null : messageType(createCatalog(answer.files), type, answer.message),
    );
    if (this.#types.size >= KEPT) this.#types.clear();
    this.#types.set(place, found);
    const forget = (): boolean => this.#types.delete(place);
    found.then((found) => found ?? forget(), forget);
    return found;
  }
}
