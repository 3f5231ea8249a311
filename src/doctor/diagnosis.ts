/** The findings of `millrace doctor`: their codes, and the order in which people read them. */
import { grouped } from '../core/option-rule.ts';

/** Codes of the findings, with their meanings. Programs rely on the codes. */
export const DIAGNOSES = {
  'settings-invalid': 'a setting of the environment is wrong',
  'admin-open': 'the admin server asks for no token, and is not bound to loopback',
  'proto-invalid': 'the event types under proto/ cannot be read',
  'server-unreachable': 'no server answers at the address, or it refuses the connection',
  'server-unfit': 'Millrace refuses to start on this server',
  server: 'program, version, mode and role of each server',
  'server-replica': 'the server is a replica and takes no writes',
  'server-old': 'the version of the server is too low',
  'writes-refused': 'the server answers, but refuses writes',
  persistence: 'forms in which the server keeps data on disk',
  'persistence-none': 'the server writes nothing to disk',
  'persistence-snapshots': 'the server writes snapshots only',
  'fsync-no': 'nobody asks the disk to keep the append-only file',
  'aof-failing': 'the append-only file cannot be written',
  'snapshot-failing': 'the last snapshot failed',
  'disk-low': 'the disk of the server is nearly full',
  'memory-policy': 'the server deletes events when its memory ends',
  memory: 'memory of each server, and its limit',
  'memory-low': 'the memory of the server is nearly used up',
  'memory-unlimited': 'the server has no maxmemory',
  rights: 'rights of the user of REDIS_URL',
  'rights-missing': 'the user of REDIS_URL may not call commands that Millrace needs',
  clock: 'difference between the clocks of this machine and the server',
  'clock-skewed': 'the clocks of this machine and the server differ',
  latency: 'round trips to the server',
  'latency-high': 'round trips to the server are long',
  deployment: 'size of the deployment',
  'deployment-empty': 'nothing was published here, and no function started',
  'partitions-differ': 'MILLRACE_PARTITIONS is not the number of the deployment',
  'partitions-unserved': 'events lie in partitions that the deployment does not have',
  'type-unread': 'no function reads an event type, and its events stay',
  'type-silent': 'a function reads an event type of which nothing was ever published',
  'function-unserved': 'no dispatcher serves a function',
  'lanes-unowned': 'lanes of a served function have no owner',
  'setup-failing': 'the setup of a function fails',
  'owners-died': 'dispatchers died in a row while they worked on a lane',
  'group-missing': 'the consumer group of a function is gone',
  'group-foreign': 'another program has a consumer group on a stream',
  'key-damaged': 'another program has written a key of Millrace, with another type',
  'counts-differ': 'the states of a function do not add up to its appended events',
  losses: 'the deployment has lost data',
  'dead-letters': 'a function has dead letters',
  'outbox-stuck': 'emitted events do not leave an outbox',
  'schema-unregistered': 'a schema under proto/ is not registered',
  'schema-incompatible': 'a schema under proto/ contradicts the registered ones',
  'subjects-held': 'dead letters hold subjects',
  'subjects-wedged': 'parked subjects wait without a reason',
  'subjects-overdue': 'parked subjects are due, and nobody runs them',
  'history-big': 'a history has very many events',
  'limits-none': 'no event type has limits',
  'limit-missing': 'an event type has no limit',
  'retention-held': 'a function keeps a stream above its limit',
  'backlog-beyond': 'a function is further behind than the backlog limit of a type',
  unknown: 'something could not be found out, with the reason',
} as const;

export type DiagnosisCode = keyof typeof DIAGNOSES;
export type Severity = 'error' | 'warning' | 'info';

export interface Diagnosis {
  readonly code: DiagnosisCode;
  /** `error`: events are lost, or do not move. `warning`: they will. `info`: a fact. */
  readonly severity: Severity;
  /** Name of the server, function, type or subject concerned. Null: the whole deployment. */
  readonly about: string | null;
  readonly problem: string;
  /** Facts that the finding stands on. */
  readonly evidence: string;
  /** Remedy in words. Null: nothing is to be done. */
  readonly cure: string | null;
  /** Command that makes the remedy, or its first step. Null: there is none. */
  readonly command: string | null;
}

export const SEVERITIES: readonly Severity[] = ['error', 'warning', 'info'];

/** Returns an `info`: a fact without a remedy. */
export function fact(code: DiagnosisCode, about: string | null, evidence: string): Diagnosis {
  return {
    code,
    severity: 'info',
    about,
    problem: DIAGNOSES[code],
    evidence,
    cure: null,
    command: null,
  };
}

/** Returns an `info`: the thing is unknown. */
export function unknown(
  about: string,
  reason: string,
  cure: string | null = null,
  command: string | null = null,
): Diagnosis {
  return {
    code: 'unknown',
    severity: 'info',
    about,
    problem: `${about}: unknown`,
    evidence: reason,
    cure,
    command,
  };
}

/** Sorts findings: the most severe first, else in the order of the checks. */
export function bySeverity(found: readonly Diagnosis[]): Diagnosis[] {
  return SEVERITIES.flatMap((severity) => found.filter((one) => one.severity === severity));
}

/** Returns some of the names, and the number of the others. */
export function someOf(names: readonly string[], most = 5): string {
  const more = names.length - most;
  return names.slice(0, most).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Returns the number with its noun. */
export function counted(count: number, one: string): string {
  return `${grouped(count)} ${one}${count === 1 ? '' : 's'}`;
}

/** Returns a time stamp, ms since 1970, as ISO 8601; '-' for a number that is no date. */
export function isoOf(ms: number): string {
  return ms > 0 && ms <= 8.64e15 ? new Date(ms).toISOString() : '-';
}

/** Groups the items by a text of each. */
export function grouping<T>(items: readonly T[], by: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(by(item));
    if (group) group.push(item);
    else groups.set(by(item), [item]);
  }
  return groups;
}
