/**
 * Finds out which of Millrace's commands the user of REDIS_URL may not call. Nothing is written.
 *
 * ACL DRYRUN tells where the user may call it. Elsewhere a script asks, which cannot write: see
 * try-rights.lua. Where neither is granted, the rights are not known.
 */
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import type { RedisSpace } from '../redis/source.ts';

const script = defineScript({
  url: new URL('./try-rights.lua', import.meta.url),
  keys: 'variable',
  readOnly: true,
});

/**
 * `look`: commands that only read. `publish`: what publishers call. `run`: what dispatchers call
 * beside it. `register`: writes of the schema registry.
 */
export type Role = 'look' | 'publish' | 'run' | 'register' | 'optional';

export interface MissingRight {
  readonly role: Role;
  /** Name as ACL SETUSER takes it: `xadd`, `xgroup|create`. */
  readonly command: string;
  /** Redis' refusal. */
  readonly refusal: string;
}

export interface RightsFacts {
  /** Null: the server does not tell. */
  readonly user: string | null;
  /** Means of asking. Null: the rights are not known. */
  readonly means: 'ACL DRYRUN' | 'a script' | null;
  /** Reason why the rights are not known. Null: they are. */
  readonly hidden: string | null;
  /** Number of commands that were asked for. */
  readonly asked: number;
  readonly missing: readonly MissingRight[];
  /**
   * Part that the user plays, as its granted writes show. A dispatcher alone may write the keys of
   * leases. Null: nothing is known.
   */
  readonly part: 'reader' | 'producer' | 'dispatcher' | null;
}

/** Examples of commands. Words such as `due` stand for keys. */
const EXAMPLES: Readonly<Record<Role, readonly string[]>> = {
  look: [
    'HGETALL counters',
    'HMGET counters f',
    'HGET counters f',
    'XLEN events',
    'XRANGE events - +',
    'XREVRANGE events + -',
    'XINFO GROUPS events',
    'XPENDING events g',
    'GET lease',
    'LRANGE parked 0 0',
    'LLEN parked',
    'ZRANGE due 0 0',
    'ZCARD due',
    'ZSCORE due u',
    'HSCAN held 0',
    'EXISTS counters',
    'TYPE counters',
    'SMEMBERS helpers',
    'TIME',
  ],
  publish: [
    'EVAL script 1 counters',
    'EVALSHA script 1 counters',
    'XADD events * b v',
    'HSET counters f v',
    'HINCRBY counters f 1',
    'HDEL counters f',
    'HSET settings f v',
    'SADD ids v',
    'SET producer v',
    'ZADD scheduled 1 v',
  ],
  run: [
    'XREADGROUP GROUP g c STREAMS events >',
    'XREAD COUNT 1 STREAMS events 0',
    'XACK events g 1-1',
    'XDEL events 1-1',
    'XTRIM events MINID 0',
    'XGROUP CREATE events g 0',
    'ZADD due 1 u',
    'ZREM due u',
    'ZREMRANGEBYSCORE members 0 0',
    'ZRANGEBYSCORE due 0 0',
    'RPUSH parked v',
    'LPUSH parked v',
    'LTRIM parked 0 0',
    'LSET parked 0 v',
    'LREM parked 1 v',
    'SMISMEMBER ids v',
    'SET lease v',
    'PEXPIRE lease 1',
    'DEL lease',
    'UNLINK lease',
  ],
  register: ['HSET registry f v'],
  optional: ['INFO', 'CONFIG GET save', 'WAIT 0 1', 'CLIENT SETNAME n', 'SCAN 0'],
};

/** Commands that a script may not call, or that say nothing about a script's key. */
const NOT_IN_SCRIPTS = new Set(['EVAL', 'EVALSHA', 'WAIT', 'CLIENT', 'CONFIG', 'XREADGROUP']);
/** Commands among the work that a user may call who only looks. */
const READS = new Set(['EVAL', 'EVALSHA', 'SMISMEMBER', 'XREAD', 'ZRANGEBYSCORE']);
const CONTAINERS = new Set(['XINFO', 'XGROUP', 'CONFIG', 'CLIENT']);

interface Example {
  readonly role: Role;
  readonly words: readonly string[];
}

/** @throws UnknownOutcomeError, RedisReplyError for a passing refusal */
export async function readRights({ connection, keys }: RedisSpace): Promise<RightsFacts> {
  const examples = examplesFor(keys);
  const user = await whoAmI(connection);
  const asked = examples.length;
  if (user !== null) {
    const told = await unlessRefused(() => byDryRun(connection, keys, user, examples));
    if (told !== null) return { user, means: 'ACL DRYRUN', hidden: null, asked, ...told };
  }
  const inScripts = examples.filter(({ words }) => !NOT_IN_SCRIPTS.has(words[0] as string));
  const tried = await unlessRefused(() => byScript(connection, keys, inScripts));
  if (tried !== null)
    return { user, means: 'a script', hidden: null, asked: inScripts.length, ...tried };
  const hidden = 'neither ACL DRYRUN nor EVAL_RO is granted';
  return { user, means: null, hidden, asked: 0, missing: [], part: null };
}

function examplesFor(keys: Keys): Example[] {
  const named: Readonly<Record<string, string>> = {
    counters: keys.counters(0),
    due: keys.due(0, 'doctor'),
    events: keys.events(0, 'doctor'),
    held: keys.held(0, 'doctor'),
    helpers: keys.helpers(0, 'doctor'),
    ids: keys.publishedIds(0, 'doctor', 0),
    lease: keys.lease(0, 'doctor'),
    members: keys.members('doctor'),
    parked: keys.parked(0, 'doctor', 'doctor'),
    producer: keys.producer(0, 'doctor'),
    registry: keys.registry('ids'),
    scheduled: keys.scheduled(0),
    settings: keys.settings(),
  };
  return Object.entries(EXAMPLES).flatMap(([role, texts]) =>
    texts.map((text) => ({
      role: role as Role,
      words: text.split(' ').map((word) => named[word] ?? word),
    })),
  );
}

async function whoAmI(connection: RedisSpace['connection']): Promise<string | null> {
  return unlessRefused(async () => String(await connection.command('ACL', 'WHOAMI')));
}

/** Null: the server refuses the command for good. */
async function unlessRefused<T>(ask: () => Promise<T>): Promise<T | null> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof RedisReplyError && !error.retryable) return null;
    throw error;
  }
}

async function byDryRun(
  connection: RedisSpace['connection'],
  keys: Keys,
  user: string,
  examples: readonly Example[],
): Promise<Told> {
  // Each node of a Cluster has rights of its own.
  const answers = await Promise.all(
    examples.map(({ words }) => connection.commandOnMasters('ACL', 'DRYRUN', user, ...words)),
  );
  const refusalOf = (i: number): string => {
    const refused = answers[i]?.find(({ reply }) => reply !== 'OK');
    if (!refused) return '';
    return `${String(refused.reply)}${connection.isCluster ? ` (node ${refused.node})` : ''}`;
  };
  return toldOf(examples, refusalOf, keys);
}

async function byScript(
  connection: RedisSpace['connection'],
  keys: Keys,
  examples: readonly Example[],
): Promise<Told> {
  // The server may be a Cluster. There a script's keys have one slot, and the others are left out.
  const tag = keys.counters(0).replace(/:counters$/, ':');
  const own = examples.filter(({ words }) =>
    words.every((word) => !word.startsWith(`${keys.namespace}:`) || word.startsWith(tag)),
  );
  const named = [
    ...new Set(own.flatMap(({ words }) => words.filter((word) => word.startsWith(tag)))),
  ];
  const answers = (await script.run(
    connection,
    named,
    own.map(({ words }) => JSON.stringify(words)),
  )) as string[];
  return toldOf(own, (i) => String(answers[i]), keys);
}

type Told = Pick<RightsFacts, 'missing' | 'part'>;

/** @param refusalOf '': the command is granted */
function toldOf(examples: readonly Example[], refusalOf: (i: number) => string, keys: Keys): Told {
  const lease = keys.lease(0, 'doctor');
  let [writes, leases] = [false, true];
  const refused: MissingRight[] = [];
  for (const [i, example] of examples.entries()) {
    const { role, words } = example;
    const refusal = refusalOf(i);
    if (refusal !== '') refused.push(missing(example, refusal));
    if ((role !== 'publish' && role !== 'run') || READS.has(words[0] as string)) continue;
    writes ||= refusal === '';
    if (words.includes(lease)) leases &&= !isOfKey(refusal);
  }
  return { missing: refused, part: writes ? (leases ? 'dispatcher' : 'producer') : 'reader' };
}

/** Whether the refusal is of the key, and not of the command. */
export function isOfKey(refusal: string): boolean {
  return /\bkeys?\b/.test(refusal);
}

function missing({ role, words }: Example, refusal: string): MissingRight {
  const [command = '', sub = ''] = words.map((word) => word.toLowerCase());
  return {
    role,
    command: CONTAINERS.has(words[0] as string) ? `${command}|${sub}` : command,
    refusal,
  };
}
