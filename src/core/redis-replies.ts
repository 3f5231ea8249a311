/**
 * Meanings of Redis' error replies: for each code, the state of the server and the consequence.
 * Replies are judged only here. All other code asks RedisReplyError for `retryable`, `refuses` and
 * `reconnect`.
 */

/**
 * Extent of a refusal. `call`: this call alone. `writes`: the server answers reads, and takes no
 * writes. `everything`: neither.
 */
export type Refusal = 'call' | 'writes' | 'everything';

export interface ReplyMeaning {
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean;
  readonly refuses: Refusal;
  /**
   * Whether to connect anew and to resolve the address again: another server behind the same
   * address may serve us.
   */
  readonly reconnect: boolean;
  /** Meaning of the reply, and the cure: one or two sentences. '' where the reply says enough. */
  readonly cure: string;
}

type Refused = Omit<ReplyMeaning, 'refuses'>;

const lasting = { retryable: false, reconnect: false } as const;
/** The refusal passes by itself, or by an operator's action on this server. */
const passing = { retryable: true, reconnect: false } as const;
const elsewhere = { retryable: true, reconnect: true } as const;

const calls: Record<string, Refused> = {
  NOPERM: {
    ...lasting,
    cure: 'The ACL user of REDIS_URL lacks a right: docs/operations.md lists those that are needed',
  },
  TRYAGAIN: { ...passing, cure: 'The keys move to another node of the Cluster' },
};

const writes: Record<string, Refused> = {
  READONLY: {
    ...elsewhere,
    cure: 'The server is a replica now: the address has to lead to the master',
  },
  OOM: {
    ...passing,
    cure: 'The server is at its maxmemory: raise it, or let retention free memory',
  },
  MISCONF: {
    ...passing,
    cure: 'The server cannot write its files: free space on its disk, and look at its log',
  },
  NOREPLICAS: {
    ...passing,
    cure: 'Fewer replicas are connected than min-replicas-to-write asks for',
  },
};

const everything: Record<string, Refused> = {
  LOADING: { ...elsewhere, cure: 'The server loads its data set' },
  MASTERDOWN: {
    ...elsewhere,
    cure: 'The server is a replica without its master: the address has to lead to the master',
  },
  CLUSTERDOWN: {
    ...elsewhere,
    cure: 'The Cluster does not serve all slots: look at CLUSTER INFO and CLUSTER NODES',
  },
  // Redis unblocks blocked calls when the server becomes a replica.
  UNBLOCKED: { ...elsewhere, cure: 'The server has changed its role' },
  NOAUTH: { ...elsewhere, cure: 'The server wants a password: put it into REDIS_URL' },
  WRONGPASS: {
    ...elsewhere,
    cure: 'The user name or the password in REDIS_URL is not, or no longer, valid',
  },
  BUSY: { ...passing, cure: 'A script runs longer than busy-reply-threshold: SCRIPT KILL ends it' },
};

const told = (refuses: Refusal, codes: Record<string, Refused>): [string, ReplyMeaning][] =>
  Object.entries(codes).map(([code, meaning]) => [code, { ...meaning, refuses }]);

/** Meaning by code. A code without an entry refuses one call for good. */
export const REPLY_MEANINGS: ReadonlyMap<string, ReplyMeaning> = new Map([
  ...told('call', calls),
  ...told('writes', writes),
  ...told('everything', everything),
]);

const OTHER: ReplyMeaning = { ...lasting, refuses: 'call', cure: '' };

export function meaningOf(code: string): ReplyMeaning {
  return REPLY_MEANINGS.get(code) ?? OTHER;
}

/** Prefix of an error inside a script, before Redis 7 and with some proxies. PLACE follows it. */
const WRAPPED = /^-?ERR Error (?:running|compiling) script \([^)]*\): */;
const PLACE = /^-?(?:(?:@?\w*script|@enable_strict_lua):? *\d+: *)/;

/** A script's call that the ACL user may not make. It has the code ERR, or none before Redis 7. */
const DENIED_IN_SCRIPT =
  /^-?(?:ERR )?(?:The user executing the script (?:can't|is lacking) |ACL failure in script: )/;

/**
 * Returns the code of an error reply: its first word if that is in capitals, else `ERR`. For a
 * script's error, returns the code of the inner error. Two forms: `OOM … script: <sha>, on
 * @user_script:5.` (Redis 7 and later), or `ERR Error running script (call to f_<sha>):
 * @user_script:5: @user_script: 5: -OOM …` (before).
 * Before Redis 7 a script that hands the inner error on has the second form without its prefix.
 */
export function replyCode(message: string): string {
  let text = message.replace(WRAPPED, '');
  while (PLACE.test(text)) text = text.replace(PLACE, '');
  if (DENIED_IN_SCRIPT.test(text)) return 'NOPERM';
  return /^-?([A-Z][A-Z0-9_]*)(?=\s|$)/.exec(text)?.[1] ?? 'ERR';
}
