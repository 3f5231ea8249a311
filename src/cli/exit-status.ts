/** Exit statuses of every command. docs/cli.md states them. */
export const EXIT = {
  ok: 0,
  /** The command was understood, but what it should do failed. */
  failed: 1,
  /**
   * The command was not understood: unknown command or option, missing or malformed argument.
   * Nothing was done.
   */
  usage: 2,
} as const;

/** The command line is wrong: reported as one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
