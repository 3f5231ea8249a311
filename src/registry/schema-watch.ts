/**
 * Keeps a process's schemas in the registry. A process knows the ids of its schemas from its start
 * on. Meanwhile the registry may be lost, by FLUSHALL, an older backup or a failover. Each process
 * then registers its schemas again, with their former ids and versions. An id is a part of the
 * schema's own hash (fingerprint.ts). So no id comes to mean another schema, whichever process
 * registers first.
 *
 * The watch looks once a second, after every new connection, and when a publisher finds that Redis
 * has lost its flushes.
 */
import { sleep } from '../core/clock.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import type { Log } from '../core/log.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Catalog } from '../wire/catalog.ts';
import { describeFindings, IncompatibleSchemaError } from './schema-errors.ts';
import type { RegisteredBy } from './registered-by.ts';
import type { SchemaRegistry } from './registry.ts';
import type { SchemaDraft } from './schema-draft.ts';

const INTERVAL_MS = 1000;
/** Longest wait of stop() for the last look, ms. */
const LAST_LOOK_MS = 1000;

export interface SchemaWatchOptions {
  readonly registry: SchemaRegistry;
  readonly connection: Pick<RedisConnection, 'on'>;
  readonly catalog: Catalog;
  /** Schemas of the process. An entry is replaced if its schema gets another id, or is refused. */
  readonly schemas: Map<string, LocalSchema>;
  readonly registeredBy: () => Promise<RegisteredBy>;
  readonly log: Log;
}

export class SchemaWatch implements Lifecycle {
  readonly #changed = new Map<string, LocalSchema>();
  readonly #options: SchemaWatchOptions;
  readonly #loop: Loop;
  /**
   * Ids that only other subjects have in the registry, and that mean this process's schema all the
   * same.
   */
  readonly #sound = new Set<number>();
  #looking: Promise<void> | null = null;
  #failing = false;
  #stopped: Promise<void> | null = null;
  #closed = false;

  constructor(options: SchemaWatchOptions) {
    this.#options = options;
    this.#loop = new Loop({
      pass: () => this.check(),
      pauseMs: () => INTERVAL_MS,
      pausesFirst: true,
      failed: (error) => this.#failed(error),
    });
    options.connection.on('up', () => void this.check());
  }

  start(): void {
    if (this.#options.schemas.size > 0) this.#loop.start();
  }

  /** Schemas with another id or version than at the start of the process. */
  get changed(): ReadonlyMap<string, LocalSchema> {
    return this.#changed;
  }

  /**
   * Registers the schemas that the registry has lost. Never rejects: after a failure the next look
   * tries again.
   */
  check(): Promise<void> {
    if (this.#closed || this.#options.schemas.size === 0) return Promise.resolve();
    return (this.#looking ??= this.#look()
      .then(
        () => void (this.#failing = false),
        (error: unknown) => this.#failed(error),
      )
      .finally(() => (this.#looking = null)));
  }

  /** Looks one last time: a process must not leave events behind whose schema is lost. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    const late = new AbortController();
    await Promise.race([
      Promise.all([this.#loop.stop(), this.check()]),
      sleep(LAST_LOOK_MS, late.signal),
    ]);
    late.abort();
    this.#closed = true;
  }

  /** Logged once, until a look succeeds. */
  #failed(error: unknown): void {
    if (!this.#failing && !this.#closed)
      this.#options.log('warn', 'the schema registry cannot be read', { err: error });
    this.#failing = true;
  }

  async #look(): Promise<void> {
    const { registry, schemas } = this.#options;
    const known = [...schemas].filter(([, schema]) => schema.refused === undefined);
    const uses = await registry.store.usesOf(known.map(([, schema]) => schema.id));
    for (const [i, [subject, schema]] of known.entries()) {
      const found = uses[i];
      const own = found?.filter((use) => use.subject === subject) ?? [];
      const version = own.at(-1)?.version;
      if (version !== undefined) {
        if (!own.some((use) => use.version === schema.version))
          await this.#renumbered(subject, schema, version);
        continue;
      }
      if (found && this.#sound.has(schema.id)) continue;
      const draft = { subject, files: this.#options.catalog.filesOf(subject) };
      // The process's own version may have been deleted for good, on purpose. The schema is still
      // there.
      if (found && (await registry.isIdOf(schema.id, draft))) this.#sound.add(schema.id);
      else await this.#registerAgain(draft, schema);
    }
  }

  /** Sets a schema that the registry had lost. */
  #change(subject: string, had: LocalSchema, now: LocalSchema): void {
    this.#set(subject, { ...now, lost: (had.lost ?? 0) + 1 });
  }

  #set(subject: string, schema: LocalSchema): void {
    this.#options.schemas.set(subject, schema);
    this.#changed.set(subject, schema);
  }

  /**
   * The process's own version is gone, and the schema is another version. Either the version was
   * deleted for good, or the registry was lost and another process registered the schema first.
   */
  async #renumbered(subject: string, had: LocalSchema, version: number): Promise<void> {
    const { gone } = await this.#options.registry.store.state(subject);
    if (gone.includes(had.version)) {
      this.#set(subject, { ...had, version });
      return;
    }
    this.#change(subject, had, { ...had, version });
    this.#options.log(
      'warn',
      'LOSS: the schema registry had lost a schema; it is registered under another version',
      { type: subject, schema: had.id, version, hadVersion: had.version },
    );
  }

  async #registerAgain(draft: SchemaDraft, had: LocalSchema): Promise<void> {
    const { registry, log } = this.#options;
    const { subject } = draft;
    this.#sound.delete(had.id);
    try {
      const { id, version } = await registry.register(
        draft,
        await this.#options.registeredBy(),
        had,
      );
      // Events have the old id. It means this schema too, unless another schema has it.
      const [uses] = await registry.store.usesOf([had.id]);
      const kept = uses?.some((use) => use.subject === subject) ?? false;
      this.#change(subject, had, { id: kept ? had.id : id, version });
      log('warn', 'LOSS: the schema registry had lost a schema; it is registered again', {
        type: subject,
        schema: id,
        version,
        hadSchema: had.id,
        hadVersion: had.version,
      });
    } catch (error) {
      if (!(error instanceof IncompatibleSchemaError)) throw error;
      const why = `${subject}: the registry has lost its schema (id ${had.id}), and now holds another one that is not compatible with it (level ${error.level}):\n${describeFindings(
        error.findings,
      )
        .map((line) => `    ${line}`)
        .join('\n')}`;
      this.#change(subject, had, { ...had, refused: [why] });
      log(
        'error',
        'LOSS: the schema registry had lost a schema and refuses it now; events of the type are no longer written',
        { type: subject, err: error },
      );
    }
  }
}
