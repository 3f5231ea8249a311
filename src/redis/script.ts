/**
 * One .lua file as a function. It is sent as EVALSHA, and once as EVAL where the server does not
 * know it yet. Its SHA-1 is computed when the module is loaded, so the call itself costs no more
 * than the command.
 *
 * Order: calls on one connection run in the order in which they were made. There is one exception:
 * the server has just lost its scripts (restart, SCRIPT FLUSH). Then a call that has to be sent
 * again may be overtaken. Await the earlier call where that matters.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RedisArg, RedisSender, ScriptCall } from './contract.ts';

export interface ScriptDefinition {
  /** URL of the file: `new URL('./x.lua', import.meta.url)`. */
  readonly url: URL;
  /**
   * Files with local functions, put in front of the script. Each comes once, in the order of the
   * first mention.
   */
  readonly with?: URL | readonly (URL | readonly URL[])[];
  /** Number of its keys. */
  readonly keys: number | 'variable';
  /** Whether it writes nothing. Default false. */
  readonly readOnly?: boolean;
}

export interface RedisScript {
  /** File name, as errors show it: `commit.lua`. */
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  /** Resolves with the reply, its texts as strings. */
  run(
    connection: RedisSender,
    keys: readonly string[],
    args: readonly RedisArg[],
  ): Promise<unknown>;
  /** Resolves with the reply, its texts as Buffers. */
  runBuffer(
    connection: RedisSender,
    keys: readonly string[],
    args: readonly RedisArg[],
  ): Promise<unknown>;
  /**
   * Sends `follow` (WAIT, WAITAOF) right behind the script, on the same connection. Resolves with
   * both replies. The timeout of `follow` must be shorter than the connection's replyTimeoutMs.
   * After a rejection the script may have been executed.
   */
  runThen(
    connection: RedisSender,
    keys: readonly string[],
    args: readonly RedisArg[],
    follow: readonly [string, ...RedisArg[]],
  ): Promise<[unknown, unknown]>;
}

export function defineScript(definition: ScriptDefinition): RedisScript {
  const files = new Set([definition.with ?? [], definition.url].flat(2).map(({ href }) => href));
  const source = [...files].map((href) => readFileSync(new URL(href), 'utf8')).join('');
  const name = basename(fileURLToPath(definition.url));
  const sha = createHash('sha1').update(source).digest('hex');
  const call = (keys: readonly string[], args: readonly RedisArg[]): ScriptCall => {
    if (definition.keys !== 'variable' && keys.length !== definition.keys) {
      throw new TypeError(`${name} takes ${definition.keys} keys, not ${keys.length}`);
    }
    return { name, sha, source, keys, args, readOnly: definition.readOnly ?? false };
  };
  return {
    name,
    sha,
    source,
    run: (connection, keys, args) => connection.script(call(keys, args), false),
    runBuffer: (connection, keys, args) => connection.script(call(keys, args), true),
    runThen: (connection, keys, args, follow) =>
      connection.scriptThen(call(keys, args), follow, false),
  };
}
