/**
 * Sends the first commands on a connection. ioredis would send most of them. But it goes on after a
 * refused SELECT (in database 0), a refused CLIENT, and some refusals of AUTH. Here every refused
 * step refuses the connection.
 */
import { ConnectionSetupError, RedisReplyError } from '../core/errors/server-errors.ts';
import { replyCode } from '../core/redis-replies.ts';
import { packageVersion } from '../core/package-info.ts';
import type { RedisTarget } from './redis-url.ts';

const NAMING = 'CLIENT SETNAME';
/** Every step is refused in this way where no password was given. */
const NO_PASSWORD =
  'The server wants a password, and REDIS_URL has none: redis://:password@host, or redis://user:password@host';

export interface SetupOptions {
  readonly login: Pick<RedisTarget, 'username' | 'password'>;
  /** Name of the server in messages. */
  readonly display: string;
  /** Steps behind the login; a Cluster needs none. */
  readonly rest?: {
    readonly db: number;
    /** Name for CLIENT SETNAME. */
    readonly name?: string | undefined;
    /** Whether a replica is refused, because a server of this address has refused writes as one. */
    readonly master: boolean;
  };
}

/**
 * Sends one command on the new connection.
 * @throws RedisReplyError, UnknownOutcomeError
 */
export type SendSetup = (name: string, args: readonly (string | number)[]) => Promise<unknown>;

interface Step {
  /** Name of the step, without secrets. */
  readonly label: string;
  readonly advice: string;
  readonly reply: Promise<unknown>;
}

/**
 * Sends all steps together. The first refused step in their order is told.
 * @throws ConnectionSetupError naming the step
 * @throws UnknownOutcomeError where the connection ended meanwhile
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
    // The replies are looked at in order. Until then nobody handles a refusal.
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
      NAMING,
      'The ACL user of REDIS_URL needs the right +client|setname',
      'CLIENT',
      'SETNAME',
      rest.name.replace(/[^!-~]+/g, '-'),
    );
  }
  if (rest) introduce(send);
  // Not every server grants INFO. PING also finds a server that loads its data, or wants a
  // password.
  if (rest) step('PING', 'Check the server', 'PING');
  // HELLO without arguments changes nothing, needs no right, and tells the role.
  const hello = rest?.master ? send('HELLO', []).catch(() => null) : null;

  for (const { label, advice, reply } of steps) {
    try {
      await reply;
    } catch (error) {
      if (!(error instanceof RedisReplyError)) throw error;
      if (label === 'PING' && servesAllTheSame(error)) continue;
      if (label === NAMING && isUnknownCommand(error)) continue;
      const why = replyText(error);
      const cure = replyCode(why) === 'NOAUTH' ? NO_PASSWORD : advice;
      throw new ConnectionSetupError(display, label, why, cure, { cause: error });
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

/**
 * Tells the library and its version, for CLIENT LIST. Redis knows that from 7.2 on, and not every
 * user may tell it: nothing depends on the answer.
 */
function introduce(send: SendSetup): void {
  for (const [attribute, value] of [
    ['LIB-NAME', 'millrace'],
    ['LIB-VER', packageVersion()],
  ] as const)
    send('CLIENT', ['SETINFO', attribute, value]).catch(() => undefined);
}

/** A proxy may have no CLIENT: its connections have no names. */
function isUnknownCommand(error: RedisReplyError): boolean {
  return /unknown (?:sub)?command/i.test(replyText(error));
}

/**
 * Whether the server serves in spite of the refusal: it does not write (MISCONF), or does not grant
 * PING.
 */
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
