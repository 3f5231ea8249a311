/**
 * The type of every key, as src/redis/keys.ts describes them. Used to name a key that another
 * program has written.
 */

const OF_PARTITION: Readonly<Record<string, string>> = {
  events: 'stream',
  parked: 'list',
  due: 'zset',
  held: 'hash',
  arrived: 'zset',
  setup: 'string',
  dead: 'stream',
  groups: 'hash',
  lease: 'string',
  helpers: 'set',
  producer: 'string',
  ids: 'set',
  inbox: 'set',
  scheduled: 'zset',
  outbox: 'stream',
  relayed: 'hash',
  clock: 'hash',
  counters: 'hash',
  history: 'list',
  histories: 'zset',
  appends: 'hash',
  snapshot: 'hash',
  losses: 'stream',
  trial: 'string',
  view: 'string',
  index: 'zset',
  pass: 'string',
};

/** The keys of the trend, whose streams may have the name of a function behind them. */
const OF_TREND: Readonly<Record<string, string>> = {
  lease: 'string',
  state: 'hash',
  marks: 'stream',
  '1m': 'stream',
  '10m': 'stream',
};

/** Returns the type that a key of Millrace has; null for an unknown key. */
export function expectedType(key: string): string | null {
  if (key.endsWith(':{alerts}:lease')) return 'string';
  if (/:\{alerts\}:(?:state|silences)$/.test(key)) return 'hash';
  const [, ofTrend] = /^[^:{}]+:\{trend\}:(lease|state|marks|1m|10m)(?::|$)/.exec(key) ?? [];
  if (ofTrend !== undefined) return OF_TREND[ofTrend] ?? null;
  const [, name, rest] = /:\{\d+\}:([a-z]+)(?::(.*))?$/s.exec(key) ?? [];
  if (name === undefined) {
    if (/^[^:{}]+:audit$/.test(key)) return 'stream';
    if (/^[^:{}]+:members:/.test(key)) return 'zset';
    if (/^[^:{}]+:(?:presence|replay):/.test(key)) return 'string';
    return key.includes(':registry:') ? 'hash' : null;
  }
  if (name === 'scheduled' && rest === 'events') return 'hash';
  return OF_PARTITION[name] ?? null;
}

/** Names of a partition's keys. */
export const PARTITION_KEYS: readonly string[] = Object.keys(OF_PARTITION);

/** Returns the key that the text of a refusal names. Null: it is another refusal. */
export function parseWrongType(
  text: string,
): { readonly key: string; readonly found: string; readonly wanted: string } | null {
  const [, key, found, wanted] =
    /WRONGTYPE (\S+) is a (\w+), not the (\w+) that it should be/.exec(text) ?? [];
  return key === undefined || found === undefined || wanted === undefined
    ? null
    : { key, found, wanted };
}

/** Returns the text of the refusal: the key, its present type, and the remedy. */
export function wrongTypeText(key: string, found: string, expected: string): string {
  return (
    `WRONGTYPE ${key} is a ${found}, not the ${expected} that it should be: somebody else has written it. ` +
    'Rename the key, or delete it, then what waits for it goes on'
  );
}
