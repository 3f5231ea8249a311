/**
 * Services of one deployment in one process, each with its own proto folder and functions, as in a
 * rollout.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { connect, type Millrace } from '../../src/millrace.ts';
import type { Dispatcher } from '../../src/dispatcher.ts';
import type { Environment } from '../../src/config.ts';
import { linkPackage } from '../cli/run-cli.ts';
import { testDir } from '../../scripts/lab/dispatcher-process.ts';
import type { TestLike } from '../../scripts/lab/redis-server.ts';
import { orderProto } from './open-registry.ts';

export interface Seen {
  readonly fn: string;
  readonly id: string;
  readonly subject: string;
  readonly attempt: number;
  readonly schema: number;
  readonly data: Record<string, unknown>;
}

export class Shop {
  readonly dir: string;
  readonly #t: TestLike;
  readonly #url: string;
  readonly #environment: Partial<Environment>;
  /** Log lines of level warning and above. */
  readonly logged: Record<string, unknown>[] = [];
  /** Files beside orders.proto in each proto folder, from path to text. */
  vendored: Readonly<Record<string, string>> = {};
  #folders = 0;
  readonly #seen: Seen[] = [];
  /** Bytes of the history that are in #seen. */
  #read = 0;

  constructor(t: TestLike, url: string, environment: Partial<Environment> = {}) {
    this.#t = t;
    this.#url = url;
    this.#environment = environment;
    this.dir = testDir(t);
    linkPackage(this.dir);
  }

  write(name: string, text: string): string {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  /** @param proto text of orders.proto, or the fields of order.created */
  async connect(
    proto: string | readonly string[],
    more: Partial<Environment> = {},
  ): Promise<Millrace> {
    const folder = `proto-${++this.#folders}`;
    this.write(`${folder}/orders.proto`, typeof proto === 'string' ? proto : orderProto(...proto));
    for (const [name, text] of Object.entries(this.vendored)) this.write(`${folder}/${name}`, text);
    const millrace = await connect({
      environment: {
        REDIS_URL: this.#url,
        MILLRACE_PARTITIONS: 2,
        WORKERS: 1,
        MILLRACE_LEASE_MS: 1000,
        ...this.#environment,
        ...more,
      },
      protoDir: join(this.dir, folder),
      logger: pino(
        { level: 'warn' },
        { write: (line) => void this.logged.push(JSON.parse(line) as Record<string, unknown>) },
      ),
      name: 'test',
    });
    this.#t.teardown(() => millrace.close());
    return millrace;
  }

  /**
   * Runs functions. They are given as name -> source of the options of defineFunction, without name
   * and on. `seen(event, ctx)` records what a handler got.
   */
  async dispatch(
    millrace: Millrace,
    functions: Readonly<Record<string, string>>,
  ): Promise<Dispatcher> {
    const folder = `functions-${++this.#folders}`;
    for (const [name, options] of Object.entries(functions)) {
      this.write(
        `${folder}/${name}.mjs`,
        `
import { appendFileSync } from 'node:fs';
import { defineFunction, upcast } from 'millrace/define';
const seen = (event, attempt = 1) => appendFileSync(${JSON.stringify(this.history)}, JSON.stringify({
  fn: ${JSON.stringify(name)}, id: event.id, subject: event.subject, schema: event.schema, attempt, data: event.data }) + '\\n');
export default defineFunction({ name: ${JSON.stringify(name)}, on: ['order.created'], ${options} });
`,
      );
    }
    const dispatcher = millrace.dispatcher({ functionsDir: join(this.dir, folder) });
    await dispatcher.start();
    return dispatcher;
  }

  /** Path of the file that the handlers write to. */
  get history(): string {
    return join(this.dir, 'history.ndjson');
  }

  /** Returns the records of the handlers so far. */
  seen(fn?: string): readonly Seen[] {
    if (existsSync(this.history)) {
      const file = openSync(this.history, 'r');
      const more = Buffer.alloc(fstatSync(file).size - this.#read);
      readSync(file, more, 0, more.length, this.#read);
      closeSync(file);
      const whole = more.subarray(0, more.lastIndexOf(10) + 1);
      this.#read += whole.length;
      for (const line of whole.toString('utf8').split('\n'))
        if (line !== '') this.#seen.push(JSON.parse(line) as Seen);
    }
    return fn === undefined ? this.#seen : this.#seen.filter((one) => one.fn === fn);
  }
}

export const HANDLE = 'handle(event, ctx) { seen(event, ctx.attempt); }';
export const HANDLE_BATCH =
  'async handleBatch(events, ctx) { for (const event of events) seen(event, ctx.attemptOf(event)); }';
