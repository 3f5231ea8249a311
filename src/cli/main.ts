#!/usr/bin/env node
/**
 * `millrace`: one process, one command. Owns what all commands share: the deployments they open, signals, a closed stdout,
 * errors as one line, exit statuses (exit-status.ts).
 */
import { existsSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { readEnvironment, type Environment } from '../config.ts';
import { ConfigError } from '../core/errors.ts';
import { openDeployment, type Deployment, type Log } from '../deployment.ts';
import { sleep } from '../core/clock.ts';
import { IncompatibleSchemaError, SchemaNotRegisteredError } from '../registry/errors.ts';
import type { LongRunningContext, Stop, StopReason } from './context.ts';
import { EXIT, UsageError } from './exit-status.ts';
import { packageVersion } from './package-info.ts';
import { printable } from './printable.ts';
import { registerBench } from './commands/bench.ts';
import { registerDlq } from './commands/dlq.ts';
import { registerExplain } from './commands/explain.ts';
import { registerFunctions } from './commands/functions.ts';
import { registerInit } from './commands/init.ts';
import { registerLag } from './commands/lag.ts';
import { registerLimits } from './commands/limits.ts';
import { registerLosses } from './commands/losses.ts';
import { registerProto } from './commands/proto.ts';
import { registerPublish } from './commands/publish.ts';
import { registerRewind } from './commands/rewind.ts';
import { registerScheduled } from './commands/scheduled.ts';
import { registerSchema } from './commands/schema.ts';
import { registerStart } from './commands/start.ts';
import { registerTail } from './commands/tail.ts';

/** An interrupted command has this long to close what it opened. */
const CLOSE_MS = 5000;

class Shell implements LongRunningContext {
  readonly #opened: Deployment[] = [];
  readonly #opening = new Set<Promise<unknown>>();
  readonly #first = new AbortController();
  readonly #second = new AbortController();
  #reason: StopReason | null = null;
  #signals = 0;
  #taken = false;
  #failed = false;
  #environment: Environment | null = null;
  #finishing: Promise<never> | null = null;

  get status(): number {
    return this.#failed ? EXIT.failed : EXIT.ok;
  }

  /** Whether stacks are asked for. */
  get detailed(): boolean {
    try {
      return ['debug', 'trace'].includes(this.environment().LOG_LEVEL);
    } catch {
      // the settings themselves are what is wrong
      return false;
    }
  }

  environment(): Environment {
    this.#environment ??= readEnvironment();
    return this.#environment;
  }

  async open(options: Parameters<LongRunningContext['open']>[0] = {}): Promise<Deployment> {
    const environment: Environment = { ...this.environment(), ...options.environment };
    const protoDir = options.protoDir === undefined ? (existsSync('proto') ? 'proto' : null) : options.protoDir;
    const opening = openDeployment({
      environment, protoDir, log: options.log ?? this.#lineLog(environment.LOG_LEVEL), name: options.name ?? 'cli',
      settleSchemas: options.settleSchemas ?? false,
    });
    this.#opening.add(opening);
    const deployment = await opening.finally(() => this.#opening.delete(opening));
    let closing: Promise<void> | null = null;
    const once: Deployment = { ...deployment, close: () => (closing ??= deployment.close()) };
    this.#opened.push(once);
    return once;
  }

  readonly out = (text: string): void => {
    if (this.#reason !== 'stdout closed') process.stdout.write(`${text}\n`);
  };

  readonly err = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };

  takeStop(): Stop {
    this.#taken = true;
    const reason = () => this.#reason;
    return {
      first: this.#first.signal,
      second: this.#second.signal,
      get reason() {
        return reason();
      },
    };
  }

  fail(): void {
    this.#failed = true;
  }

  listen(): void {
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      process.on(name, () => {
        this.#signals++;
        if (this.#signals >= 3) process.exit(EXIT.failed);
        if (!this.#taken) {
          void this.finish(EXIT.failed);
          return;
        }
        this.#reason ??= name;
        if (this.#first.signal.aborted) this.#second.abort();
        else this.#first.abort();
      });
    }
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') {
        this.err(`millrace: stdout cannot be written: ${error.message}`);
        void this.finish(EXIT.failed);
        return;
      }
      // The reader is gone (| head): the ordinary end of a pipe, not a failure.
      this.#reason ??= 'stdout closed';
      if (this.#taken) this.#first.abort();
      else void this.finish(EXIT.ok);
    });
    // Nothing is left to tell the user with.
    process.stderr.on('error', () => {});
  }

  /** Closes what is open and ends the process. */
  finish(status: number): Promise<never> {
    this.#finishing ??= this.#finish(status);
    return this.#finishing;
  }

  async #finish(status: number): Promise<never> {
    const close = async (): Promise<void> => {
      // An embedded server that is just being started is ours to stop.
      await Promise.allSettled(this.#opening);
      await Promise.allSettled(this.#opened.map((deployment) => deployment.close()));
    };
    // An embedded server saves its file, which may take longer than a user who pressed Ctrl-C wants to wait: it ends on its own.
    await (this.#signals > 0 ? Promise.race([close(), sleep(CLOSE_MS)]) : close());
    await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => {
      if (stream.writable) stream.write('', () => resolve());
      else resolve();
    })));
    process.exit(status);
  }

  /** Warnings for the eye; the rest only where somebody asked for it or looks on. */
  #lineLog(level: Environment['LOG_LEVEL']): Log {
    const detailed = level === 'debug' || level === 'trace';
    const quiet = level === 'fatal' || level === 'silent';
    return (at, message, fields) => {
      if (quiet || (at === 'debug' && !detailed) || (at === 'info' && !detailed && !process.stderr.isTTY)) return;
      if (at === 'warn' && level === 'error') return;
      const details = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${value instanceof Error ? value.message : typeof value === 'string' ? value : JSON.stringify(value)}`);
      this.err(`millrace: ${at === 'info' ? '' : `${at}: `}${message}${details.join('')}`);
    };
  }
}

function describe(error: unknown, detailed: boolean): string {
  if (!(error instanceof Error)) return printable(String(error), 2000);
  if (detailed) return error.stack ?? error.message;
  // Its list of problems is worth its lines; any other message is one.
  return error instanceof ConfigError || error instanceof SchemaNotRegisteredError || error instanceof IncompatibleSchemaError ? error.message : printable(error.message, 2000);
}

function statusOf(error: unknown, shell: Shell): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  shell.err(`millrace: ${describe(error, shell.detailed)}`);
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}

function buildProgram(shell: Shell): Command {
  const program = new Command('millrace')
    .description('Streams in, functions out: events on Redis Streams, handled by functions in worker threads.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help; also after a command')
    .showSuggestionAfterError()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'millrace: ')),
    })
    .addHelpText('after', `
Without REDIS_URL the server of this folder is used (.millrace/): the one that runs, else one of its own while the command runs.
Exit status: 0 ok, 1 failed, 2 wrong use. Errors are one line; LOG_LEVEL=debug adds the stack.

Example:
  millrace init shop && cd shop && npm install && npm start`)
    .exitOverride();
  registerInit(program, shell);
  registerStart(program, shell);
  registerPublish(program, shell);
  registerTail(program, shell);
  registerLag(program, shell);
  registerFunctions(program, shell);
  registerLimits(program, shell);
  registerLosses(program, shell);
  registerScheduled(program, shell);
  registerDlq(program, shell);
  registerExplain(program, shell);
  registerRewind(program, shell);
  registerBench(program, shell);
  registerProto(program, shell);
  registerSchema(program, shell);
  return program;
}

const shell = new Shell();
shell.listen();
let status: number;
try {
  await buildProgram(shell).parseAsync(process.argv);
  status = shell.status;
} catch (error) {
  status = statusOf(error, shell);
}
await shell.finish(status);
