/**
 * The reasons for which a process gets nothing done, each with its cure. Probes, metrics, the log,
 * the service manager and the command line tell them in these words.
 */
import { MillraceError } from './errors/millrace-error.ts';
import {
  ConnectionSetupError,
  GroupLostError,
  RedisReplyError,
  ServerUnreachableError,
  UnknownOutcomeError,
  WritesRefusedError,
} from './errors/server-errors.ts';
import { meaningOf } from './redis-replies.ts';

/**
 * Place of the cause.
 * - `phase`: the process starts or stops, or others do its work. Nothing is wrong.
 * - `server`: Redis, or the way to it.
 * - `deployment`: another process, a downstream, or data in Redis.
 * - `process`: this process. A restart may cure it.
 */
export type ReasonCause = 'phase' | 'server' | 'deployment' | 'process';

export interface ReasonKind {
  readonly cause: ReasonCause;
  /** Meaning, in Markdown. */
  readonly meaning: string;
  /** Cure, as one or two sentences. */
  readonly cure: string;
}

const FREE_DISK = "Free space on the disk of Redis, and look at Redis' log";

/** All reasons by their code, which is the label of the metric. */
export const HEALTH_REASONS = {
  starting: {
    cause: 'phase',
    meaning: 'functions are loaded and registered, and lanes are asked for',
    cure: 'The start ends by itself',
  },
  stopping: {
    cause: 'phase',
    meaning: 'the dispatcher drains, or has stopped',
    cure: 'Start the process again',
  },
  'lanes-elsewhere': {
    cause: 'phase',
    meaning: 'other holders still have all lanes of its share',
    cure: 'The holders give the lanes back as their turns end, or their leases run out',
  },
  'writes-readonly': {
    cause: 'server',
    meaning: 'the server is a replica (READONLY)',
    cure: 'Lead the address in REDIS_URL to the master',
  },
  'writes-misconf': {
    cause: 'server',
    meaning: 'the server cannot write its files, mostly for a full disk (MISCONF)',
    cure: FREE_DISK,
  },
  'writes-oom': {
    cause: 'server',
    meaning: 'the server is at its `maxmemory` (OOM)',
    cure: 'Raise maxmemory (CONFIG SET maxmemory), or let retention free memory (millrace limits)',
  },
  'writes-noreplicas': {
    cause: 'server',
    meaning: 'fewer replicas are connected than `min-replicas-to-write` (NOREPLICAS)',
    cure: 'Bring the replicas back, or lower min-replicas-to-write',
  },
  'writes-noperm': {
    cause: 'server',
    meaning: 'the ACL user lacks a right (NOPERM)',
    cure: 'Grant the right with ACL SETUSER: docs/operations.md lists those that are needed',
  },
  'login-refused': {
    cause: 'server',
    meaning: 'the server refuses user name or password (WRONGPASS, NOAUTH)',
    cure: 'Set user name and password in REDIS_URL, and start the process again',
  },
  'not-serving': {
    cause: 'server',
    meaning: 'the server loads its data, has lost its master or some slots, or runs a long script',
    cure: "Wait for the server to load, or look at Redis' log and at INFO replication",
  },
  unreachable: {
    cause: 'server',
    meaning: 'there is no connection, or the server does not answer',
    cure: 'Check that the server runs and that REDIS_URL leads to it',
  },
  'lanes-unowned': {
    cause: 'deployment',
    meaning: 'it holds no lanes, although there are lanes that nobody owns',
    cure: 'Another dispatcher announces itself and takes no lanes: look at its health, or end it',
  },
  'events-unserved': {
    cause: 'deployment',
    meaning: 'events lie in partitions that the deployment does not have',
    cure: 'Set MILLRACE_PARTITIONS to one number everywhere, and publish the events again',
  },
  'outbox-stalled': {
    cause: 'deployment',
    meaning: 'emitted events have not left an outbox for `MILLRACE_STALL_MS`',
    cure: 'The target partition takes nothing: see millrace outbox, and the log',
  },
  'setup-failing': {
    cause: 'deployment',
    meaning: 'the `setup` of a function fails for `MILLRACE_STALL_MS`',
    cure: 'Mend the cause that the error names. The setup is tried again by itself',
  },
  'lane-refused': {
    cause: 'deployment',
    meaning: 'a lane stalls, because a key has another type (WRONGTYPE) or cannot be read',
    cure: 'Rename the key that the error names (RENAME), or delete it. Then the lane goes on',
  },
  'lease-refused': {
    cause: 'deployment',
    meaning: 'leases end, because a key has another type (WRONGTYPE) or cannot be read',
    cure: 'Rename the key that the error names (RENAME), or delete it. Then the leases are taken',
  },
  'share-not-held': {
    cause: 'process',
    meaning: 'nobody holds some lanes of its share for `MILLRACE_LEASE_MS`',
    cure: 'The log says why leases cannot be taken. A restart helps where handlers never end',
  },
  'lease-overdue': {
    cause: 'process',
    meaning: 'the last renewal or commit of a lane is older than its lease, and Redis answers',
    cure: 'The process is overloaded or stuck: fewer WORKERS, a longer lease, or a restart',
  },
  'lane-stalled': {
    cause: 'process',
    meaning: 'a lane has work and gets nothing done for `MILLRACE_STALL_MS`',
    cure: 'See millrace explain and the log. A restart helps where the lane hangs',
  },
  'settings-changed': {
    cause: 'process',
    meaning: 'the settings of the deployment have changed, and the dispatcher has stopped',
    cure: 'Set MILLRACE_PARTITIONS to the same number everywhere, and start the process again',
  },
} as const satisfies Readonly<Record<string, ReasonKind>>;

export type ReasonCode = keyof typeof HEALTH_REASONS;

export const REASON_CODES = Object.keys(HEALTH_REASONS) as readonly ReasonCode[];

/** A reason that holds now. */
export interface HealthReason {
  readonly code: ReasonCode;
  /** The facts, with numbers and names. */
  readonly text: string;
  readonly cure: string;
}

/** @param cure default: that of the code */
export function reasonFor(
  code: ReasonCode,
  text: string,
  cure: string = HEALTH_REASONS[code].cure,
): HealthReason {
  return { code, text, cure };
}

export function causeOf(code: ReasonCode): ReasonCause {
  return HEALTH_REASONS[code].cause;
}

const BY_REPLY: Readonly<Record<string, ReasonCode>> = {
  READONLY: 'writes-readonly',
  UNBLOCKED: 'writes-readonly',
  MISCONF: 'writes-misconf',
  OOM: 'writes-oom',
  NOREPLICAS: 'writes-noreplicas',
  NOPERM: 'writes-noperm',
  NOAUTH: 'login-refused',
  WRONGPASS: 'login-refused',
};

/**
 * Whether Redis refuses a call for good, for the data that it finds. Neither a restart nor time
 * cures it.
 */
export function isLastingRefusal(error: unknown): error is RedisReplyError {
  return error instanceof RedisReplyError && !error.retryable && reasonCodeOf(error.reply) === null;
}

/** Code of a server's refusal by the code of its reply. Null: the reply refuses one call. */
export function reasonCodeOf(reply: string): ReasonCode | null {
  return BY_REPLY[reply] ?? (meaningOf(reply).refuses === 'everything' ? 'not-serving' : null);
}

/**
 * Tells why the server is at fault for an error. Null: the error has another cause.
 * @param text default: the error's message
 */
export function serverReason(error: unknown, text?: string): HealthReason | null {
  if (
    error instanceof RedisReplyError ||
    error instanceof GroupLostError ||
    error instanceof ConnectionSetupError ||
    error instanceof WritesRefusedError
  ) {
    const code = reasonCodeOf(error.reply);
    return code === null ? null : reasonFor(code, text ?? error.message);
  }
  if (error instanceof ServerUnreachableError || error instanceof UnknownOutcomeError)
    return reasonFor('unreachable', text ?? rootMessage(error));
  // A socket's error.
  if (error instanceof Error && !(error instanceof MillraceError))
    return reasonFor('unreachable', text ?? rootMessage(error));
  return null;
}

/** A connection to Redis that may be down. */
interface DoubtfulConnection {
  readonly status: string;
  /** Failure of the last attempt to connect. Null: no attempt has failed. */
  readonly trouble: Error | null;
  readonly target: string;
}

/** Tells why a connection is not up. Null: it is up. */
export function connectionReason(connection: DoubtfulConnection): HealthReason | null {
  const { status, trouble, target } = connection;
  if (status === 'up') return null;
  const reason = trouble === null ? null : serverReason(trouble);
  return reason ?? reasonFor('unreachable', `there is no connection to ${target}`);
}

/** Message of the first cause. */
export function rootMessage(error: unknown): string {
  let last = error;
  while (last instanceof Error && last.cause instanceof Error) last = last.cause;
  // Node's error for a name with several addresses has no text of its own.
  if (last instanceof AggregateError && last.message === '')
    return last.errors.map((one) => rootMessage(one)).join(', ');
  return last instanceof Error ? last.message : String(last);
}
