/**
 * What is said on a connection before anything else. ioredis would do most of it, but goes on after
 * a refused SELECT (in database 0) and CLIENT, and after some refusals of AUTH: here every refused
 * step refuses the connection.
 */
import { ConnectionSetupError, RedisReplyError } from '../core/errors.ts';
import type { RedisTarget } from './redis-url.ts';

export interface SetupOptions {
  readonly login: Pick<RedisTarget, 'username' | 'password'>;
  /** How messages call the server. */
  readonly display: string;
  /** What comes behind the login; a Cluster needs nothing more. */
  readonly rest?: {
    readonly db: number;
    /** For CLIENT SETNAME. */
    readonly name?: string | undefined;
    /** A replica is refused: a server of this address has refused writes as one. */
    readonly master: boolean;
  };
}

/** Sends one command on the new connection. @throws RedisReplyError, UnknownOutcomeError */
export type SendSetup = (name: string, args: readonly (string | number)[]) => Promise<unknown>;

interface Step {
  /** Without what is secret. */
  readonly label: string;
  readonly advice: string;
  readonly reply: Promise<unknown>;
}

/**
 * All steps leave together; the first that is refused, in their order, is told.
 * @throws ConnectionSetupError naming the step; UnknownOutcomeError where the connection ended
 *   meanwhile
 */
export async function setUp(send: SendSetup, options: SetupOptions): Promise<void> {
  const {
    login: { username, password },
    display,
    rest,
  } = options;
  const steps: Step[] = [];
  const step = (
    label: string,
    advice: string,
    command: string,
    ...args: (string | number)[]
  ): void => {
    const reply = send(command, args);
    // Looked at in order: until then a refusal is nobody's.
    reply.catch(() => undefined);
    steps.push({ label, advice, reply });
  };
  if (username !== undefined || password !== undefined) {
    const login = username === undefined ? [password ?? ''] : [username, password ?? ''];
    step('AUTH', 'Check the user name and the password in REDIS_URL', 'AUTH', ...login);
  }
  if (rest && rest.db !== 0) {
    const { db } = rest;
    step(
      `SELECT ${db}`,
      `REDIS_URL asks for database ${db}: name one that the server has (its setting "databases"; a Cluster has only 0)`,
      'SELECT',
      db,
    );
  }
  if (rest?.name !== undefined) {
    step(
      'CLIENT SETNAME',
      'The ACL user of REDIS_URL needs the right +client|setname',
      'CLIENT',
      'SETNAME',
      rest.name.replace(/[^!-~]+/g, '-'),
    );
  }
  // Not every server may be asked for INFO; this one tells a server that loads its data, or wants a
  // password, as well.
  if (rest) step('PING', 'Check the server', 'PING');
  // Without arguments it changes nothing, needs no right, and tells the role.
  const hello = rest?.master ? send('HELLO', []).catch(() => null) : null;

  for (const { label, advice, reply } of steps) {
    try {
      await reply;
    } catch (error) {
      if (!(error instanceof RedisReplyError)) throw error;
      if (label === 'PING' && servesAllTheSame(error)) continue;
      throw new ConnectionSetupError(display, label, replyText(error), advice, { cause: error });
    }
  }
  if (isReplica(await hello)) {
    throw new ConnectionSetupError(
      display,
      'writes',
      'READONLY it is a replica',
      'Its address has to lead to the master',
    );
  }
}

/** The server is there, but does not write (MISCONF), or does not grant PING. */
function servesAllTheSame(error: RedisReplyError): boolean {
  return error.refuses === 'writes' || error.reply === 'NOPERM';
}

function isReplica(hello: unknown): boolean {
  if (!Array.isArray(hello)) return false;
  const at = hello.indexOf('role');
  return at >= 0 && (hello[at + 1] === 'replica' || hello[at + 1] === 'slave');
}

function replyText(error: RedisReplyError): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
