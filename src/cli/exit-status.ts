/** Exit statuses of every command. docs/cli.md states them. */
export const EXIT = {
  ok: 0,
  /** The command was understood, but failed. */
  failed: 1,
  /**
   * The command was not understood: unknown command or option, missing or malformed argument.
   * Nothing was done.
   */
  usage: 2,
} as const;

/** A wrong command line. It is reported as one line, with exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
