/**
 * The tokens of the admin server, one for each role, from the environment or from files. A file is
 * read at each request, so that a token may be exchanged without a restart.
 */
import { readFileSync } from 'node:fs';
import type { Environment } from '../config.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { RoleToken } from './access.ts';

const SETTINGS = [
  ['read', 'MILLRACE_READ_TOKEN', 'MILLRACE_READ_TOKEN_FILE'],
  ['operate', 'MILLRACE_OPERATE_TOKEN', 'MILLRACE_OPERATE_TOKEN_FILE'],
  ['admin', 'MILLRACE_TOKEN', 'MILLRACE_TOKEN_FILE'],
] as const;

/**
 * Returns the tokens of the settings.
 * @throws ConfigError naming every problem: a token given twice, a file that has none, one token
 *   for two roles
 */
export function roleTokens(environment: Environment): readonly RoleToken[] {
  const problems: string[] = [];
  const tokens: RoleToken[] = [];
  const owners = new Map<string, string>();
  for (const [role, name, fileName] of SETTINGS) {
    const [text, path] = [environment[name], environment[fileName]];
    if (text !== undefined && path !== undefined)
      problems.push(`${name} and ${fileName} give the same token: set one of them`);
    const token: RoleToken | null =
      text !== undefined
        ? { role, current: () => text }
        : path !== undefined
          ? { role, current: () => readToken(path) }
          : null;
    if (token === null) continue;
    const setting = text === undefined ? fileName : name;
    const now = token.current();
    if (now === null) problems.push(`${setting}: the file ${path} cannot be read, or is empty`);
    else if (owners.has(now))
      problems.push(`${setting} is the token of ${owners.get(now)}: each role needs its own`);
    else owners.set(now, setting);
    tokens.push(token);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return tokens;
}

/** Returns null where the file has no token now: then nobody has the role. */
function readToken(path: string): string | null {
  try {
    const token = readFileSync(path, 'utf8').trim();
    return token === '' ? null : token;
  } catch {
    return null;
  }
}
