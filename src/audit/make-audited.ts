/**
 * Makes a change of an operator, and records it in the audit log: once before the change, and once
 * behind it.
 *
 * The first record is written before anything is changed. Where Redis does not take it, the change
 * is not made. So no change goes unrecorded. A process that dies in between leaves a record without
 * an end: the log shows such a change as open. A change that fails ends with its error.
 */
import { randomUUID } from 'node:crypto';
import { cut } from '../core/well-formed.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { defineScript } from '../redis/script.ts';
import type { RedisSpace } from '../redis/source.ts';
import { AuditRefusedError, AuditUnfinishedError } from './audit-errors.ts';

const script = defineScript({ url: new URL('./append-audit.lua', import.meta.url), keys: 1 });

/** Records kept. A change has two. */
export const AUDIT_RECORDS = 20_000;
/** Longest value of a field, in UTF-16 units. So the whole log has some 50 MB at most. */
const MAX_VALUE = 1000;
const MAX_NAME = 300;

/** The person or program that asks for a change. */
export interface Actor {
  /** Name, as far as it is known: `anna@laptop`. */
  readonly who: string;
  readonly via: 'cli' | 'http';
}

export interface Change<T> {
  /** Name of the change, such as `rewind` or `dlq purge`. */
  readonly action: string;
  /** The thing that is changed: a function, a type, a subject. Empty: the deployment. */
  readonly target: string;
  /** Arguments of the change. */
  readonly wanted?: unknown;
  /** State before the change. */
  readonly before?: unknown;
  /**
   * Data of payloads before and after the change. Only readers who see whole payloads see it, so
   * nothing else in the record may quote a payload.
   */
  readonly data?: unknown;
  make(): Promise<T>;
  /**
   * Returns the state after the change. A change of many steps may tell how far it came.
   * @param result undefined: make() has failed
   */
  after?(result: T | undefined): unknown;
  /** Returns why a result is a failure. Null: it is none. */
  problemOf?(result: T): string | null;
}

/**
 * Makes the change, and records it.
 * @throws AuditRefusedError where the change was not begun
 * @throws AuditUnfinishedError where the end of the change could not be recorded
 * @throws the error of make()
 */
export async function makeAudited<T>(
  space: RedisSpace,
  actor: Actor,
  change: Change<T>,
): Promise<T> {
  const id = randomUUID();
  const what = `${change.action} ${change.target}`.trim();
  const key = space.keys.audit();
  await record(space, [...beginOf(id, actor, change)]).catch((cause: unknown) => {
    throw new AuditRefusedError(what, key, cause);
  });
  let result: T | undefined;
  let failure: Error | null = null;
  try {
    result = await change.make();
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  const problem = failure === null ? (change.problemOf?.(result as T) ?? null) : failure.message;
  try {
    const after = await change.after?.(failure === null ? result : undefined);
    await record(space, [
      ...['change', id, 'stage', 'ended', 'outcome', problem === null ? 'done' : 'failed'],
      ...(after === undefined ? [] : ['after', valueText(after)]),
      ...(problem === null ? [] : ['error', cut(problem, MAX_VALUE)]),
    ]);
  } catch (cause) {
    throw new AuditUnfinishedError(what, key, failure, cause);
  }
  if (failure !== null) throw failure;
  return result as T;
}

function beginOf<T>(id: string, actor: Actor, change: Change<T>): string[] {
  const values = { wanted: change.wanted, before: change.before, data: change.data };
  return [
    ...['change', id, 'stage', 'begun'],
    ...['who', cut(actor.who, MAX_NAME), 'via', actor.via],
    ...['action', cut(change.action, MAX_NAME), 'target', cut(change.target, MAX_NAME)],
    ...Object.entries(values).flatMap(([name, value]) =>
      value === undefined ? [] : [name, valueText(value)],
    ),
  ];
}

/** Sends the record again where its fate is not known: a repeated record changes nothing. */
async function record({ connection, keys }: RedisSpace, fields: readonly string[]): Promise<void> {
  await withRetry(() => script.run(connection, [keys.audit()], [AUDIT_RECORDS, ...fields]), {
    deadlineMs: DEADLINE_MS,
  });
}

function valueText(value: unknown): string {
  return cut(JSON.stringify(value) ?? 'null', MAX_VALUE);
}
