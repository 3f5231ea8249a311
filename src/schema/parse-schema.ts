/**
 * Parses what strangers send: in a thread apart, with bounds on time, heap and stack, and nothing
 * of our environment.
 *
 * Starting such a thread costs a hundred times what most schemas do, so one that behaved serves the
 * next schema too, for as long as there is one within a second. After any refusal it is thrown
 * away.
 */
import { Worker } from 'node:worker_threads';
import { checkText, InvalidSchemaError, SCHEMA_LIMITS } from './limits.ts';
import type { ParsedSchema, SchemaFile } from './model.ts';

/** Threads at once; others wait in line. */
const AT_ONCE = 2;
const IDLE_MS = 1_000;
/** Schemas per thread. */
const USES = 100;

let running = 0;
const line: (() => void)[] = [];
const idle: ParseThread[] = [];

/**
 * @param files the schema's own file first, then what it imports (not the well-known types and
 *   Millrace's own)
 * @throws InvalidSchemaError: no .proto text, a name or a size that is not accepted, or it took too
 *   long
 */
export async function parseSchema(
  files: readonly SchemaFile[],
  limits: { readonly parseMs?: number } = {},
): Promise<ParsedSchema> {
  // What the text alone shows costs no thread.
  checkText(files);
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
    // Loaders and hooks of the process have no business here, and may take longer to start than the
    // time there is.
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: SCHEMA_LIMITS.heapMb, stackSizeMb: 4 },
  });
  /** Its code runs. What the machine takes to start a thread is not the schema's fault. */
  readonly #online = new Promise<void>(
    (resolve) => void this.#worker.once('online', resolve).once('exit', () => resolve()),
  );
  #uses = 0;
  #idleTimer: NodeJS.Timeout | null = null;

  constructor() {
    // Also what comes when nobody listens any more.
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
