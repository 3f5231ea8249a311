/**
 * The least rights of a Redis user, for each part that a process may play in a deployment.
 *
 * The keys are the bound: a user writes its part's keys only, and sees no other namespace.
 * Commands that concern the whole server (CONFIG, INFO, KEYS, FLUSHALL, …) are in Redis' categories
 * `admin` and `dangerous`, and no part has them. Redis asks for the rights of each command that a
 * script calls, too.
 */
import { createKeys } from './keys.ts';

export const PARTS = ['producer', 'dispatcher', 'admin', 'reader'] as const;
export type Part = (typeof PARTS)[number];

export interface AclOptions {
  readonly namespace: string;
  readonly part: Part;
  /** Whether processes register their schemas at start, as in MILLRACE_MODE development. */
  readonly registersSchemas: boolean;
}

/** Keys of a partition that a producer writes: streams, schedules, histories, bookkeeping. */
const OF_PRODUCERS = [
  'events:*',
  'producer:*',
  'ids:*',
  'clock',
  'counters',
  'losses',
  'scheduled',
  'scheduled:events',
  'history:*',
  'histories:*',
  'appends:*',
  'snapshot:*',
];

/** Returns the rules, as ACL SETUSER takes them. No password is among them. */
export function aclRules({ namespace, part, registersSchemas }: AclOptions): string[] {
  const keys = createKeys(namespace);
  const partition = (name: string): string => `~${namespace}:{*}:${name}`;
  const registry = `~${namespace}:registry:{schemas}:*`;
  const written: Readonly<Record<Part, readonly string[]>> = {
    producer: [...OF_PRODUCERS.map(partition), `~${keys.settings()}`],
    dispatcher: [
      partition('*'),
      `~${namespace}:members:*`,
      `~${namespace}:presence:*`,
      `~${keys.settings()}`,
      `~${keys.views()}`,
    ],
    admin: [`~${namespace}:*`],
    reader: [],
  };
  const patterns = [...written[part]];
  if (registersSchemas && (part === 'producer' || part === 'dispatcher')) patterns.push(registry);
  const writes = part !== 'reader';
  return [
    ...['resetkeys', 'resetchannels', 'clearselectors', 'nocommands'],
    ...patterns,
    ...(part === 'admin' ? [] : [`%R~${namespace}:*`]),
    ...['+@connection', '+@read', ...(writes ? ['+@write'] : [])],
    // No server-wide command remains of the categories above.
    ...['-@admin', '-@dangerous', '+time', '+cluster|slots', '+cluster|info'],
    ...['+eval_ro', '+evalsha_ro', ...(writes ? ['+eval', '+evalsha'] : [])],
  ];
}
