/**
 * Shapes of payloads, for readers that show them: by the schema of the writer, with the masks of
 * the latest version too. Answers are kept; the schema under an id never changes.
 */
import { monotonicMs } from '../core/clock.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError, UnknownOutcomeError } from '../core/errors/server-errors.ts';
import type { DataShape } from '../payload/show-data.ts';
import { createCatalog, type Catalog } from '../wire/catalog.ts';
import { shapeOf, type MessageShape } from '../wire/message-shape.ts';
import type { SchemaRegistry } from './registry.ts';

/** Shapes kept; the oldest is removed first. */
const KEPT = 256;
/** Time for which the latest version of a type, and an unknown id, are not asked for again, ms. */
const FRESH_MS = 10_000;

interface Answer {
  /** Null: it is not known, or cannot be read. */
  readonly shape: MessageShape | null;
  /** monotonicMs() after which it is asked for again. */
  readonly untilMs: number;
}

export class DataShapes {
  readonly #registry: SchemaRegistry;
  readonly #catalog: Catalog;
  readonly #byId = new Map<string, Promise<Answer>>();
  readonly #latest = new Map<string, Promise<Answer>>();

  /** @param catalog the local event types; may be empty */
  constructor(registry: SchemaRegistry, catalog: Catalog) {
    this.#registry = registry;
    this.#catalog = catalog;
  }

  /**
   * Finds the shape of a type's payloads that bear a schema id.
   * @param schema 0: the writer named none. The local schema is taken then, else the latest version
   * @returns null: the schema is not known, or cannot be read
   * @throws UnknownOutcomeError, RedisReplyError
   */
  readonly find = async (type: string, schema: number): Promise<DataShape | null> => {
    const local = this.#local(type);
    const latest = await this.#ask(this.#latest, type, () => this.#latestOf(type));
    const writer =
      schema === 0
        ? (local ?? latest)
        : await this.#ask(this.#byId, `${schema} ${type}`, () => this.#shapeOfId(schema, type));
    if (writer === null) return null;
    // Masks of any version count: a wrong one hides too much, and shows nothing.
    const also = [local, latest].filter((shape) => shape !== null && shape !== writer);
    return { shape: writer, also: also as MessageShape[] };
  };

  #local(type: string): MessageShape | null {
    const declared = this.#catalog.types.get(type);
    return declared ? shapeOf(this.#catalog.root, declared.messageName) : null;
  }

  async #latestOf(type: string): Promise<MessageShape | null> {
    const { id } = await this.#registry.version(type, 'latest');
    return this.#ask(this.#byId, `${id} ${type}`, () => this.#shapeOfId(id, type));
  }

  async #shapeOfId(id: number, type: string): Promise<MessageShape | null> {
    const { files, message } = await this.#registry.schema(id);
    // A text of strangers is parsed in a thread first, within limits.
    await this.#registry.prepared(id, type);
    return shapeOf(createCatalog(files).root, message);
  }

  /** Answers from what is kept, or asks. An error of the server is not kept. */
  async #ask(
    kept: Map<string, Promise<Answer>>,
    key: string,
    find: () => Promise<MessageShape | null>,
  ): Promise<MessageShape | null> {
    const known = await kept.get(key);
    if (known && monotonicMs() < known.untilMs) return known.shape;
    const forEver = kept === this.#byId;
    const asking = find().then(
      (shape): Answer => ({
        shape,
        untilMs: forEver && shape !== null ? Infinity : monotonicMs() + FRESH_MS,
      }),
      (error: unknown): Answer => {
        const isServer = error instanceof UnknownOutcomeError || error instanceof RedisReplyError;
        // Unknown, damaged, or refused: other events of the page can be shown all the same.
        if (isServer || !(error instanceof MillraceError)) throw error;
        return { shape: null, untilMs: monotonicMs() + FRESH_MS };
      },
    );
    kept.delete(key);
    if (kept.size >= KEPT) kept.delete(kept.keys().next().value as string);
    kept.set(key, asking);
    asking.catch(() => {
      if (kept.get(key) === asking) kept.delete(key);
    });
    return (await asking).shape;
  }
}
