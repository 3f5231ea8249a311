/** Findings where the deployment cannot even be opened. */
import { wallClockMs } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { ConnectionSetupError, RedisReplyError } from '../core/errors/server-errors.ts';
import { parseWrongType } from '../redis/key-types.ts';
import { judgeDamagedKey } from './damaged-keys.ts';
import type { Diagnosis } from './diagnosis.ts';
import { tlsOptions, type Login } from './redis-cli.ts';

/**
 * Returns the findings of an error of opening.
 * @param environment empty: the settings themselves are wrong
 * @throws the error, where it is none of Millrace's
 */
export function judgeUnopened(error: unknown, environment: Login = {}): Diagnosis[] {
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
  const damage = error instanceof RedisReplyError ? parseWrongType(error.message) : null;
  if (damage !== null) {
    const cli = cliOf(environment);
    return [judgeDamagedKey(damage, wallClockMs(), cli && ((_, command) => cli(command)))];
  }
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
      // Redis' own text holds the cure of a refusal. Nothing on the server cures a wrong login.
      cure:
        error instanceof ConnectionSetupError
          ? 'Correct REDIS_URL as the evidence says (user, password, database)'
          : 'Start the server, or correct the address in REDIS_URL',
      command:
        error instanceof ConnectionSetupError ? null : (cliOf(environment)?.('PING') ?? null),
    },
  ];
}

/** Null: no server with an address was asked for. */
function cliOf(environment: Login): ((command: string) => string) | null {
  if (!/^\s*rediss?:/i.test(environment.REDIS_URL ?? '')) return null;
  return (command) => `redis-cli -u "\${REDIS_URL%%,redis*}"${tlsOptions(environment)} ${command}`;
}
