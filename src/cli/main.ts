#!/usr/bin/env node
/**
 * `millrace`: one process runs one command (program.ts). This file owns what all commands share:
 * the deployments they open, signals, a closed stdout, errors as one line, exit statuses
 * (exit-status.ts).
 */
import { existsSync } from 'node:fs';
import { CommanderError } from 'commander';
import { AuditRefusedError } from '../audit/audit-errors.ts';
import { readEnvironment, type Environment } from '../config.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import { ConfigError, SchemaNotRegisteredError } from '../core/errors/input-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { Deployment } from '../deployment.ts';
import type { Log } from '../core/log.ts';
import { sleep } from '../core/clock.ts';
import type { HealthReason } from '../core/health-reason.ts';
import { describeRefusal, isWriteRefusal } from '../redis/refused-writes.ts';
import { IncompatibleSchemaError } from '../registry/schema-errors.ts';
import type { LongRunningContext, Stop, StopReason } from './context.ts';
import { EXIT, UsageError } from './exit-status.ts';
import { printable } from './printable.ts';
import { buildProgram } from './program.ts';
import { openScreen, type TerminalScreen } from './terminal-screen.ts';

/**
 * Code of AlertRulesError: the error lists problems. The class is not loaded here, because most
 * commands need no rules.
 */
const ALERT_RULES = 'ALERT_RULES';

/** Time that an interrupted command has to close its deployments, ms. */
const CLOSE_MS = 5000;

class Shell implements LongRunningContext {
  readonly #opened: Deployment[] = [];
  readonly #opening = new Set<Promise<unknown>>();
  readonly #first = sharedAbort();
  readonly #second = sharedAbort();
  #reason: StopReason | null = null;
  #signals = 0;
  #taken = false;
  #failed = false;
  #environment: Environment | null = null;
  #emptiness: string | null = null;
  #refusals: readonly HealthReason[] = [];
  #finishing: Promise<never> | null = null;

  /** Whether the process is ending already. Any failure from now on is a consequence. */
  get ending(): boolean {
    return this.#finishing !== null;
  }

  get status(): number {
    return this.#failed ? EXIT.failed : EXIT.ok;
  }

  /**
   * Says that the deployment is empty, or that its server takes no writes, after the command's own
   * output. Not said after an error.
   */
  tellState(): void {
    if (this.#emptiness !== null) this.err(this.#emptiness);
    for (const { text, cure } of this.#refusals) this.err(`millrace: ${text}. ${cure}`);
  }

  /**
   * Explains a refused write with the server's own problem and the place of its files, if that is
   * the cause.
   */
  async explained(error: unknown): Promise<unknown> {
    const refusal = error instanceof AuditRefusedError ? error.cause : error;
    if (!isWriteRefusal(refusal) || refusal.reply !== 'MISCONF') return error;
    const connection = this.#opened.at(-1)?.connection;
    return connection
      ? new Error(await describeRefusal(connection, refusal), { cause: error })
      : error;
  }

  /** Whether errors are printed with their stacks. */
  get detailed(): boolean {
    try {
      return ['debug', 'trace'].includes(this.environment().LOG_LEVEL);
    } catch {
      // The settings themselves are wrong.
      return false;
    }
  }

  environment(): Environment {
    this.#environment ??= readEnvironment();
    return this.#environment;
  }

  async open(options: Parameters<LongRunningContext['open']>[0] = {}): Promise<Deployment> {
    const environment: Environment = { ...this.environment(), ...options.environment };
    const protoDir =
      options.protoDir === undefined ? (existsSync('proto') ? 'proto' : null) : options.protoDir;
    const opening = import('../deployment.ts').then(({ openDeployment }) =>
      openDeployment({
        environment,
        protoDir,
        log: options.log ?? this.#lineLog(environment.LOG_LEVEL),
        name: options.name ?? 'cli',
        settleSchemas: options.settleSchemas ?? false,
        failFast: options.failFast ?? 'refused',
        ...(options.whenRefused ? { whenRefused: options.whenRefused } : {}),
        ...(options.unfit ? { unfit: options.unfit } : {}),
      }),
    );
    this.#opening.add(opening);
    const deployment = await opening.finally(() => this.#opening.delete(opening));
    this.#opened.push(deployment);
    // The module is loaded by now: the deployment needs it.
    const { serverRefusals } = await import('../redis/capability.ts');
    this.#refusals = serverRefusals(deployment.server);
    if (!deployment.settled && options.anew !== true) {
      this.#emptiness = `millrace: there is nothing yet: no function was started and no event published in the namespace "${environment.MILLRACE_NAMESPACE}" of ${deployment.connection.target}`;
    }
    return deployment;
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

  screen(): TerminalScreen | null {
    return openScreen(process);
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
      // The reader is gone (| head): this is the ordinary end of a pipe, not a failure.
      this.#reason ??= 'stdout closed';
      if (this.#taken) this.#first.abort();
      else void this.finish(EXIT.ok);
    });
    // No output is left for a message to the user.
    process.stderr.on('error', () => {});
  }

  /** Closes the open deployments and ends the process. */
  finish(status: number): Promise<never> {
    this.#finishing ??= this.#finish(status);
    return this.#finishing;
  }

  async #finish(status: number): Promise<never> {
    const close = async (): Promise<void> => {
      // An embedded server that is just starting has to be stopped too.
      await Promise.allSettled(this.#opening);
      await Promise.allSettled(this.#opened.map((deployment) => deployment.close()));
    };
    // An embedded server saves its file before it ends. A user who pressed Ctrl-C does not wait for
    // that: the server ends on its own.
    await (this.#signals > 0 ? Promise.race([close(), sleep(CLOSE_MS)]) : close());
    await Promise.all(
      [process.stdout, process.stderr].map(
        (stream) =>
          new Promise<void>((resolve) => {
            if (stream.writable) stream.write('', () => resolve());
            else resolve();
          }),
      ),
    );
    process.exit(status);
  }

  /**
   * Prints log messages as lines on stderr. Debug messages need LOG_LEVEL debug. Info messages need
   * that too, or a terminal.
   */
  #lineLog(level: Environment['LOG_LEVEL']): Log {
    const detailed = level === 'debug' || level === 'trace';
    const quiet = level === 'fatal' || level === 'silent';
    return (at, message, fields) => {
      if (
        quiet ||
        (at === 'debug' && !detailed) ||
        (at === 'info' && !detailed && !process.stderr.isTTY)
      )
        return;
      if (at === 'warn' && level === 'error') return;
      const details = Object.entries(fields ?? {}).map(
        ([key, value]) =>
          ` ${key}=${value instanceof Error ? value.message : typeof value === 'string' ? value : JSON.stringify(value)}`,
      );
      this.err(`millrace: ${at === 'info' ? '' : `${at}: `}${message}${details.join('')}`);
    };
  }
}

/** Keeps the indent of the line. */
function printableLine(line: string): string {
  return `${/^ */.exec(line)?.[0] ?? ''}${printable(line, 2000)}`;
}

function describe(error: unknown, detailed: boolean): string {
  if (!(error instanceof Error)) return printable(String(error), 2000);
  if (detailed) return error.stack ?? error.message;
  if (error instanceof MillraceError && error.code === ALERT_RULES)
    return error.message.split('\n').map(printableLine).join('\n');
  // A list of problems keeps its lines. Any other message becomes one line.
  return error instanceof ConfigError ||
    error instanceof SchemaNotRegisteredError ||
    error instanceof IncompatibleSchemaError
    ? error.message
    : printable(error.message, 2000);
}

function statusOf(error: unknown, shell: Shell): number {
  if (shell.ending) return EXIT.failed;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  shell.err(`millrace: ${describe(error, shell.detailed)}`);
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}

const shell = new Shell();
shell.listen();
let status: number;
try {
  await (await buildProgram(shell, process.argv[2])).parseAsync(process.argv);
  shell.tellState();
  status = shell.status;
} catch (error) {
  status = statusOf(await shell.explained(error), shell);
}
await shell.finish(status);
