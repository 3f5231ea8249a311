/**
 * The context of a command, given by `main.ts`: the deployment on demand, and the output. No
 * command touches process.stdout itself.
 */
import type { Environment } from '../config.ts';
import type { Deployment, UnfitProblem } from '../deployment.ts';
import type { Log } from '../core/log.ts';
import type { FailFast } from '../redis/contract.ts';
import type { WaitForWrites } from '../redis/refused-writes.ts';
import type { TerminalScreen } from './terminal-screen.ts';

export interface CliContext {
  /**
   * Opens the deployment of this folder and environment. `main.ts` closes it when the command has
   * ended, however it ends. The command may close it earlier.
   *
   * `protoDir`: folder of the event types, which must exist. Null: no types. Undefined: `./proto`
   * if that folder exists, else no types.
   *
   * `settleSchemas`: whether to compare the types with the registry first. Commands that publish or
   * consume must. Default false: opening writes nothing.
   *
   * `anew`: whether the command makes sense in an empty deployment. Default false: stderr says that
   * the deployment is empty.
   *
   * `failFast`: what fails at once where the server cannot serve it. Default `refused`: people wait
   * for the answer. Commands that work for long outlast a failover with `first`.
   *
   * @throws ConfigError naming every problem
   */
  open(options?: {
    protoDir?: string | null;
    settleSchemas?: boolean;
    anew?: boolean;
    /** Told of the problems that would refuse the deployment: see DeploymentOptions. */
    unfit?: (problem: UnfitProblem) => void;
    failFast?: FailFast;
  }): Promise<Deployment>;
  /** Prints one line of data to stdout. The line break is added. */
  out(text: string): void;
  /**
   * Prints one line for people to stderr: a warning, progress, a summary. The line break is added.
   */
  err(text: string): void;
}

/** Reason for a command to end early. */
export type StopReason = NodeJS.Signals | 'stdout closed';

export interface Stop {
  /** Aborts at the first SIGINT or SIGTERM, or when stdout has lost its reader. */
  readonly first: AbortSignal;
  /** Aborts at the second signal. A third signal ends the process at once. */
  readonly second: AbortSignal;
  /** Null until `first` has aborted. */
  readonly reason: StopReason | null;
}

/** Context of commands that run long: their own log, other settings, an orderly end. */
export interface LongRunningContext extends CliContext {
  open(options?: {
    protoDir?: string | null;
    settleSchemas?: boolean;
    anew?: boolean;
    unfit?: (problem: UnfitProblem) => void;
    failFast?: FailFast;
    /** Behaviour if Redis refuses writes that are needed. Default: reject. */
    whenRefused?: WaitForWrites;
    /** Default: warnings and errors as lines on stderr. */
    log?: Log;
    /** Name of the connection in CLIENT LIST. Default `cli`. */
    name?: string;
    environment?: Partial<Environment>;
  }): Promise<Deployment>;
  /**
   * Lets the command end itself: from now on signals and a closed stdout only abort the signals of
   * the stop. Otherwise the first signal closes the deployments and exits with 1, and a closed
   * stdout exits with 0.
   */
  takeStop(): Stop;
  /**
   * Opens the terminal as a screen. Null: stdin or stdout is no terminal. The screen closes with
   * the process, however the process ends.
   */
  screen(): TerminalScreen | null;
  /**
   * Reads and checks the settings.
   * @throws ConfigError naming every problem
   */
  environment(): Environment;
  /** Makes the exit status 1. The command has printed the failure itself. */
  fail(): void;
}
