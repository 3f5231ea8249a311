/**
 * What a command gets from `main.ts`: the deployment on demand, and where to print. No command
 * touches process.stdout itself.
 */
import type { Environment } from '../config.ts';
import type { Deployment } from '../deployment.ts';
import type { Log } from '../core/log.ts';
import type { WaitForWrites } from '../redis/refused-writes.ts';

export interface CliContext {
  /**
   * Opens the deployment of this folder and environment. `main.ts` closes it when the command has
   * ended, however it ends; closing it earlier is allowed.
   *
   * `protoDir` undefined: `./proto` where that folder exists, else no types. A folder: it must
   * exist. Null: no types.
   *
   * `settleSchemas`: compare the types with the registry first, as whatever publishes or consumes
   * must. Default false: opening writes nothing.
   *
   * `anew`: the command has a use where nobody has started anything yet. Default false: that is
   * said on stderr.
   *
   * @throws ConfigError naming every problem
   */
  open(options?: {
    protoDir?: string | null;
    settleSchemas?: boolean;
    anew?: boolean;
  }): Promise<Deployment>;
  /** One line of data to stdout; the line break is added. */
  out(text: string): void;
  /** One line for humans (warnings, progress, summaries) to stderr; the line break is added. */
  err(text: string): void;
}

/** Why a command is to end early. */
export type StopReason = NodeJS.Signals | 'stdout closed';

export interface Stop {
  /** Aborts at the first SIGINT or SIGTERM, or when nobody reads stdout any more. */
  readonly first: AbortSignal;
  /** Aborts at the second signal. A third one ends the process wherever it is. */
  readonly second: AbortSignal;
  /** Null until `first` has aborted. */
  readonly reason: StopReason | null;
}

/** For the commands that run long: own log, other settings, an orderly end. */
export interface LongRunningContext extends CliContext {
  open(options?: {
    protoDir?: string | null;
    settleSchemas?: boolean;
    anew?: boolean;
    /** Default: reject where Redis takes no writes and some are needed. */
    whenRefused?: WaitForWrites;
    /** Default: warnings and errors as lines on stderr. */
    log?: Log;
    /** Shown in CLIENT LIST. Default `cli`. */
    name?: string;
    environment?: Partial<Environment>;
  }): Promise<Deployment>;
  /**
   * From now on this command ends itself when asked to; otherwise the first signal closes what is
   * open and exits with 1, and a closed stdout does so with 0.
   */
  takeStop(): Stop;
  /** Settings, checked. @throws ConfigError naming every problem */
  environment(): Environment;
  /** The command has failed, but has said so itself. */
  fail(): void;
}
