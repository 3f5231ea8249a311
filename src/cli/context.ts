/** What a command gets from `main.ts`: the deployment on demand, and where to print. No command touches process.stdout itself. */
import type { Deployment } from '../deployment.ts';

export interface CliContext {
  /**
   * Opens the deployment of this folder and environment. `main.ts` closes it when the command has ended, however it ends;
   * closing it earlier is allowed.
   *
   * `protoDir` undefined: the bundled types and those of `./proto` where that folder exists. A folder: it must exist. Null: no types.
   *
   * @throws ConfigError naming every problem
   */
  open(options?: { protoDir?: string | null }): Promise<Deployment>;
  /** One line of data to stdout; the line break is added. */
  out(text: string): void;
  /** One line for humans (warnings, progress, summaries) to stderr; the line break is added. */
  err(text: string): void;
}
