/**
 * The state of the deployment at the last look, as far as marks need it: a mark is a difference to
 * this state. It stands in Redis, so that a process that takes over makes no mark twice.
 *
 * A part that is null was never read. Its first reading makes no marks.
 */
import type { RedisMaster } from './redis-master.ts';

export interface Known {
  /** Time of the look by the server's clock, ms since 1970. */
  readonly atMs: number;
  /** Functions that have a trend, with the versions that ran last. */
  readonly functions: ReadonlyMap<string, readonly string[]> | null;
  /** Number of functions beyond the bound. */
  readonly untracked: number;
  /** Dispatchers, with the time since when they are missing; 0: they are there. */
  readonly dispatchers: ReadonlyMap<string, number> | null;
  /** Last version of each subject of the registry. */
  readonly subjects: ReadonlyMap<string, number> | null;
  readonly masters: readonly KnownMaster[] | null;
  /** Alerts that have fired, by fingerprint. */
  readonly alerts: ReadonlyMap<string, KnownAlert> | null;
  /** Id of the last record of the audit log that was read. */
  readonly audit: string | null;
  /** By partition: id of the last loss that was read. */
  readonly losses: readonly string[] | null;
}

/**
 * Returns the state at a moment when all keys were gone. Losses and changes that are recorded since
 * are new.
 */
export function emptyKnown(atMs: number, partitions: number): Known {
  return {
    atMs,
    functions: null,
    untracked: 0,
    dispatchers: null,
    subjects: null,
    masters: null,
    alerts: null,
    audit: '0-0',
    losses: Array.from({ length: partitions }, () => '0-0'),
  };
}

export type KnownMaster = Pick<RedisMaster, 'node' | 'runId' | 'replId' | 'version'>;

export interface KnownAlert {
  readonly firedMs: number;
  readonly ended: boolean;
  /** Text and function of its marks. */
  readonly text: string;
  readonly function: string | null;
}

/** Parts of the state: fields of the hash, in JSON. */
const PARTS = [
  'atMs',
  'functions',
  'untracked',
  'dispatchers',
  'subjects',
  'masters',
  'alerts',
  'audit',
  'losses',
] as const satisfies readonly (keyof Known)[];

/** Returns the state as fields of the hash. */
export function packKnown(known: Known): Map<string, string> {
  return new Map(
    PARTS.map((part) => {
      const value = known[part];
      return [part, JSON.stringify(value instanceof Map ? [...value] : value)];
    }),
  );
}

/**
 * Reads the state. A part that cannot be read is null, and costs itself only.
 * @returns null: there is none
 */
export function unpackKnown(fields: ReadonlyMap<string, string>): Known | null {
  const atMs = parsed(fields.get('atMs'));
  if (typeof atMs !== 'number' || !Number.isFinite(atMs)) return null;
  const untracked = parsed(fields.get('untracked'));
  const audit = parsed(fields.get('audit'));
  return {
    atMs,
    functions: mapOf(parsed(fields.get('functions')), (value) =>
      Array.isArray(value) ? value.map(String) : null,
    ),
    untracked: typeof untracked === 'number' ? untracked : 0,
    dispatchers: mapOf(parsed(fields.get('dispatchers')), numberOrNull),
    subjects: mapOf(parsed(fields.get('subjects')), numberOrNull),
    masters: listOf(parsed(fields.get('masters')), isMaster),
    alerts: mapOf(parsed(fields.get('alerts')), alertOrNull),
    audit: typeof audit === 'string' && ENTRY_ID.test(audit) ? audit : null,
    losses: listOf(parsed(fields.get('losses')), (id): id is string => ENTRY_ID.test(String(id))),
  };
}

const ENTRY_ID = /^\d+-\d+$/;

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Null: the value is no list of pairs, or one of them cannot be read. */
function mapOf<T>(value: unknown, read: (value: unknown) => T | null): Map<string, T> | null {
  if (!Array.isArray(value)) return null;
  const map = new Map<string, T>();
  for (const pair of value as unknown[]) {
    if (!Array.isArray(pair)) return null;
    const [key, one] = pair as [unknown, unknown];
    const found = read(one);
    if (typeof key !== 'string' || found === null) return null;
    map.set(key, found);
  }
  return map;
}

function listOf<T>(value: unknown, isOne: (one: unknown) => one is T): T[] | null {
  return Array.isArray(value) && value.every(isOne) ? value : null;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function isMaster(value: unknown): value is KnownMaster {
  const { node, runId, replId, version } = (value ?? {}) as Partial<KnownMaster>;
  return [node, runId, replId, version].every((one) => typeof one === 'string');
}

function alertOrNull(value: unknown): KnownAlert | null {
  const { firedMs, ended, text, function: fn } = (value ?? {}) as Partial<KnownAlert>;
  if (typeof firedMs !== 'number' || typeof ended !== 'boolean' || typeof text !== 'string')
    return null;
  return { firedMs, ended, text, function: typeof fn === 'string' ? fn : null };
}
