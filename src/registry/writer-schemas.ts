/**
 * The schemas that events were written with, for the pool's threads. Each schema is fetched once
 * and kept, because the schema under an id never changes. An unknown schema is logged, and is asked
 * for again after a second, because it may be registered meanwhile.
 *
 * Versions may get other numbers once the registry was lost. So a loss voids all that is kept.
 */
import type { SchemaAnswer, SchemaKey, WriterSchema } from '../core/thread-protocol.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { monotonicMs } from '../core/clock.ts';
import type { Distribution } from '../core/distribution.ts';
import type { Log } from '../core/log.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import { UnknownSchemaError, UnknownSubjectError, UnknownVersionError } from './schema-errors.ts';
import type { SchemaRegistry } from './registry.ts';

const UNKNOWN_MS = 1000;
const ALARM_MS = 60_000;
/** Answers kept; the oldest is removed first. */
const KEPT = 4096;

export interface WriterSchemasOptions {
  readonly registry: SchemaRegistry;
  /** Schemas of this process. They count the losses of the registry. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
  /** Time that events wait for an unknown schema, ms. Named in the alarm. */
  readonly schemaWaitMs: number;
  /** Counts the seconds that threads wait for a schema that is not kept here. */
  readonly waits?: Distribution;
  readonly log: Log;
}

export class WriterSchemas {
  readonly #options: WriterSchemasOptions;
  readonly #known = new Map<SchemaKey, WriterSchema>();
  /** Unknown schemas: the times of the last question and of the last alarm, ms. */
  readonly #unknown = new Map<SchemaKey, { askedMs: number; saidMs: number }>();
  readonly #asking = new Map<SchemaKey, Promise<SchemaAnswer>>();
  /** Losses of the registry up to the last question. */
  #losses = 0;

  constructor(options: WriterSchemasOptions) {
    this.#options = options;
  }

  /**
   * Never rejects. If the registry cannot be reached, the answer is null, and the event waits as
   * for an unknown schema.
   */
  readonly find = (key: SchemaKey): Promise<SchemaAnswer> => {
    this.#forgetLost();
    const known = this.#known.get(key);
    if (known) return Promise.resolve(known);
    const unknown = this.#unknown.get(key);
    if (unknown && monotonicMs() - unknown.askedMs < UNKNOWN_MS) return Promise.resolve(null);
    let asking = this.#asking.get(key);
    if (!asking) {
      const askedMs = monotonicMs();
      const asked = this.#ask(key).finally(() => {
        if (this.#asking.get(key) === asked) this.#asking.delete(key);
        this.#options.waits?.observe((monotonicMs() - askedMs) / 1000);
      });
      asking = asked;
      this.#asking.set(key, asking);
    }
    return asking;
  };

  #forgetLost(): void {
    let losses = 0;
    for (const { lost = 0 } of this.#options.schemas.values()) losses += lost;
    if (losses === this.#losses) return;
    this.#losses = losses;
    this.#known.clear();
    this.#unknown.clear();
    this.#asking.clear();
  }

  async #ask(key: SchemaKey): Promise<SchemaAnswer> {
    const losses = this.#losses;
    try {
      const schema = await this.#fetch(key);
      if (schema === null) {
        this.#alarm(key);
        return null;
      }
      this.#unknown.delete(key);
      if (losses === this.#losses) keep(this.#known, key, schema);
      return schema;
    } catch (error) {
      if (error instanceof CorruptDataError) this.#alarm(key, error);
      else this.#options.log('warn', 'the schema registry could not be asked', { key, err: error });
      return null;
    }
  }

  /** @param key such as `id:7`, `text:7`, `text:order.created/2` */
  async #fetch(key: SchemaKey): Promise<SchemaAnswer> {
    const { registry } = this.#options;
    const withText = key.startsWith('text:');
    const name = key.slice(key.indexOf(':') + 1);
    try {
      const slash = name.lastIndexOf('/');
      const id =
        slash < 0
          ? Number(name)
          : (await registry.version(name.slice(0, slash), Number(name.slice(slash + 1)), true)).id;
      const schema = await registry.schema(id);
      const uses = await registry.store.uses(id);
      // The text passes the checks of a registration, because a thread makes code of it.
      if (withText) await registry.prepared(id, uses[0]?.subject ?? '');
      return { id, message: schema.message, uses, files: withText ? schema.files : [] };
    } catch (error) {
      if (
        error instanceof UnknownSchemaError ||
        error instanceof UnknownSubjectError ||
        error instanceof UnknownVersionError
      )
        return null;
      throw error;
    }
  }

  /** @param error the schema is there, but cannot be read */
  #alarm(key: SchemaKey, error?: CorruptDataError): void {
    const now = monotonicMs();
    const before = this.#unknown.get(key);
    const say = before === undefined || now - before.saidMs >= ALARM_MS;
    keep(this.#unknown, key, { askedMs: now, saidMs: say ? now : before.saidMs });
    if (!say) return;
    this.#options.log(
      'error',
      'UNKNOWN SCHEMA: events have a schema id that the registry does not know; they are parked, and dead-lettered unless the schema is registered in time',
      {
        schema: key.slice(key.indexOf(':') + 1),
        waitMs: this.#options.schemaWaitMs,
        ...(error ? { err: error } : {}),
      },
    );
  }
}

function keep<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  if (map.size >= KEPT) map.delete(map.keys().next().value as K);
  map.set(key, value);
}
