/**
 * Parses schemas of strangers in a thread of its own. Time, heap and stack of the thread are
 * bounded, and it gets nothing of our environment.
 *
 * Starting a thread costs a hundred times as much as parsing most schemas. So a thread parses the
 * next schema too, if it comes within a second. After a refusal the thread is thrown away.
 */
import { Worker } from 'node:worker_threads';
import { checkSchemaText, InvalidSchemaError, SCHEMA_LIMITS } from './limits.ts';
import type { ParsedSchema, SchemaFile } from './model.ts';

/** Threads at the same time; further schemas wait in line. */
const AT_ONCE = 2;
const IDLE_MS = 1_000;
/** Schemas per thread. */
const USES = 100;

let running = 0;
const line: (() => void)[] = [];
const idle: ParseThread[] = [];

/**
 * @param files the schema's own file first, then its imports, without the well-known types and
 *   Millrace's own
 * @throws InvalidSchemaError: the text is no .proto, a name or a size is not accepted, or parsing
 *   took too long
 */
export async function parseSchema(
  files: readonly SchemaFile[],
  limits: { readonly parseMs?: number } = {},
): Promise<ParsedSchema> {
  // A fault in the text alone is found without a thread.
  checkSchemaText(files);
  if (running >= AT_ONCE) await new Promise<void>((resolve) => line.push(resolve));
  running++;
  try {
    const thread = idle.pop() ?? new ParseThread();
    return await thread.parse(files, limits.parseMs ?? SCHEMA_LIMITS.parseMs);
  } finally {
    running--;
    line.shift()?.();
  }
}

class ParseThread {
  readonly #worker = new Worker(new URL('./parse-thread.js', import.meta.url), {
    env: {},
    // Loaders and hooks of the process are not needed here. They could take longer to start than
    // the schema's time allows.
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: SCHEMA_LIMITS.heapMb, stackSizeMb: 4 },
  });
  /**
   * Resolves when the thread's code runs. The schema's time begins then: the start of a thread
   * depends on the machine.
   */
  readonly #online = new Promise<void>(
    (resolve) => void this.#worker.once('online', resolve).once('exit', () => resolve()),
  );
  #uses = 0;
  #idleTimer: NodeJS.Timeout | null = null;

  constructor() {
    // A listener for errors that come when nobody waits any more.
    this.#worker.on('error', () => undefined);
    this.#worker.on('exit', () => this.#forget());
  }

  parse(files: readonly SchemaFile[], parseMs: number): Promise<ParsedSchema> {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      let over = false;
      void this.#online.then(() => {
        if (!over)
          timer = setTimeout(
            () => refuse(new InvalidSchemaError(`it was not parsed within ${parseMs} ms`)),
            parseMs,
          );
      });
      const quiet = (): void => {
        over = true;
        clearTimeout(timer);
        this.#worker.off('message', answered).off('error', failed).off('exit', exited);
      };
      const refuse = (error: InvalidSchemaError): void => {
        quiet();
        void this.#worker.terminate();
        reject(error);
      };
      const answered = ({
        model,
        problem,
      }: {
        readonly model?: ParsedSchema;
        readonly problem?: string;
      }): void => {
        if (!model) return refuse(new InvalidSchemaError(problem ?? 'it could not be parsed'));
        quiet();
        this.#rest();
        resolve(model);
      };
      const failed = (error: Error): void =>
        refuse(
          new InvalidSchemaError(`it could not be parsed: ${error.message}`, { cause: error }),
        );
      const exited = (): void =>
        refuse(new InvalidSchemaError('it could not be parsed: its thread ended'));
      this.#worker.on('message', answered).on('error', failed).on('exit', exited);
      this.#worker.postMessage(files.map(({ name, text }) => ({ name, text })));
    });
  }

  /** Neither the thread nor its timer keeps the process alive. */
  #rest(): void {
    if (++this.#uses >= USES) return void this.#worker.terminate();
    this.#worker.unref();
    idle.push(this);
    this.#idleTimer = setTimeout(() => {
      this.#forget();
      void this.#worker.terminate();
    }, IDLE_MS).unref();
  }

  #forget(): void {
    const at = idle.indexOf(this);
    if (at >= 0) idle.splice(at, 1);
  }
}
