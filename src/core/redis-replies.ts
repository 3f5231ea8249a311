/**
 * The error replies of Redis: their code, what each says about the server, and what follows from
 * that. The one place where replies are judged: everybody else asks RedisReplyError for
 * `retryable`, `refuses` and `reconnect`.
 */

/**
 * What the server does not do now. `call`: this call alone is refused. `writes`: it answers reads,
 * and takes no writes. `everything`: neither.
 */
export type Refusal = 'call' | 'writes' | 'everything';

export interface ReplyMeaning {
  /** The same call may succeed later, unchanged. */
  readonly retryable: boolean;
  readonly refuses: Refusal;
  /**
   * This server cannot serve us now, another one behind the same address may: connect anew, and
   * resolve the address again.
   */
  readonly reconnect: boolean;
  /**
   * What it means and what to do about it: one or two sentences. '' where the reply says enough.
   */
  readonly cure: string;
}

type Refused = Omit<ReplyMeaning, 'refuses'>;

const lasting = { retryable: false, reconnect: false } as const;
/** It passes by itself, or by what somebody does to this server. */
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
  // A blocked call, at the moment in which the server becomes a replica.
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

/** Code to meaning. What is not listed refuses one call for good. */
export const REPLY_MEANINGS: ReadonlyMap<string, ReplyMeaning> = new Map([
  ...told('call', calls),
  ...told('writes', writes),
  ...told('everything', everything),
]);

const OTHER: ReplyMeaning = { ...lasting, refuses: 'call', cure: '' };

export function meaningOf(code: string): ReplyMeaning {
  return REPLY_MEANINGS.get(code) ?? OTHER;
}

/**
 * Before Redis 7, and with some proxies, an error inside a script comes behind this, and behind
 * where it was raised.
 */
const WRAPPED = /^-?ERR Error (?:running|compiling) script \([^)]*\): */;
const PLACE = /^(?:(?:@?\w*script|@enable_strict_lua):? *\d+: *)/;

/**
 * The code of an error reply: its first word if that is in capitals, else `ERR`. Script errors have
 * the code of what went wrong inside, in each form: `OOM … script: <sha>, on @user_script:5.`
 * (Redis 7 and later), or `ERR Error running script (call to f_<sha>): @user_script:5:
 * @user_script: 5: -OOM …` (before).
 */
export function replyCode(message: string): string {
  let text = message;
  if (WRAPPED.test(text)) {
    text = text.replace(WRAPPED, '');
    while (PLACE.test(text)) text = text.replace(PLACE, '');
  }
  return /^-?([A-Z][A-Z0-9_]*)(?=\s|$)/.exec(text)?.[1] ?? 'ERR';
}
