/** Findings where the deployment cannot even be opened. */
import { ConfigError } from '../core/errors/input-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { ConnectionSetupError } from '../core/errors/server-errors.ts';
import type { Diagnosis } from './diagnosis.ts';

/**
 * Returns the findings of an error of opening.
 * @throws the error, where it is none of Millrace's
 */
export function judgeUnopened(error: unknown): Diagnosis[] {
  if (error instanceof ConfigError)
    return error.problems.map((problem) => ({
      code: 'settings-invalid',
      severity: 'error',
      about: null,
      problem: 'A setting of the environment is wrong',
      evidence: problem,
      cure: 'Change the variable. millrace start --help lists all of them',
      command: 'millrace start --help',
    }));
  if (!(error instanceof MillraceError)) throw error;
  return [
    {
      code: 'server-unreachable',
      severity: 'error',
      about: null,
      problem:
        error instanceof ConnectionSetupError
          ? `The server refuses the connection: ${error.reply}`
          : 'The server cannot be reached',
      evidence: error.message,
      cure: 'Start the server, or correct REDIS_URL (address, user, password, database)',
      command: 'redis-cli -u "$REDIS_URL" PING',
    },
  ];
}
