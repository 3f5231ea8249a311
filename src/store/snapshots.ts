/**
 * States kept so that a load need not replay all of a history. Only ever a shortcut: a snapshot
 * that is missing, of another version, or that cannot be read costs a replay, and one that cannot
 * be written costs nothing but a line in the log.
 *
 * Written beside the way of an append, by put-snapshot.lua, which never lets an older one overwrite
 * a newer one.
 */
import { isUtf8 } from 'node:buffer';
import { isDeepStrictEqual } from 'node:util';
import { CorruptDataError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import type { Aggregate, SnapshotPolicy } from '../define/define-aggregate.ts';
import { withRetry } from '../redis/retry.ts';
import { defineScript } from '../redis/script.ts';
import { emptiedByJson } from '../wire/plain-value.ts';
import type { HistoryAddress, HistorySource } from './read-history.ts';

const script = defineScript({ url: new URL('./put-snapshot.lua', import.meta.url), keys: 2 });

const EVERY = 100;
const MAX_BYTES = 1_048_576;
/** Snapshots being written; beyond it they are left out. */
const MAX_WRITING = 64;
/** Keys kept in mind, so that each is said once. */
const MOST_SAID = 1000;

/** What a snapshot is of: it fits only what has the same. */
export function schemaOf(policy: { readonly version: number }): string {
  return `v${policy.version}`;
}

/** A state as it was folded from events. */
export interface Folded<State> {
  readonly state: State;
  /** Of the last event. */
  readonly revision: number;
  /** Of the last snapshot that could be read. */
  readonly snapshotRevision: number;
}

export class Snapshots {
  readonly #source: HistorySource;
  readonly #log: Log;
  readonly #writing = new Set<Promise<void>>();
  readonly #closing = sharedAbort();
  /** Categories whose states JSON cannot hold: said once each. */
  readonly #said = new Set<string>();
  /** Keys of snapshots that cannot be read: said once each. */
  readonly #unreadable = new Set<string>();

  constructor(source: HistorySource, log: Log) {
    this.#source = source;
    this.#log = log;
  }

  /** @returns undefined where it does not fit */
  read<State>(
    aggregate: Aggregate<State, never>,
    at: HistoryAddress,
    bytes: Buffer,
  ): { readonly state: State } | undefined {
    try {
      if (!isUtf8(bytes)) throw new CorruptDataError('decode', 'it is not valid UTF-8');
      const value: unknown = JSON.parse(bytes.toString('utf8'));
      const { decode } = aggregate.snapshot as SnapshotPolicy<State>;
      return { state: decode ? decode(value) : (value as State) };
    } catch (error) {
      this.leftAside(at, error);
      return undefined;
    }
  }

  /**
   * It is said once per key; the next snapshot overwrites the record. @param error an Error, or
   * what is wrong
   */
  leftAside({ partition, category, id }: HistoryAddress, error: unknown): void {
    const key = this.#source.keys.snapshot(partition, category, id);
    if (this.#unreadable.has(key)) return;
    if (this.#unreadable.size >= MOST_SAID) this.#unreadable.clear();
    this.#unreadable.add(key);
    this.#log(
      'warn',
      'a snapshot cannot be read: the state is loaded from the events, and the next snapshot replaces it',
      { category, id, key, err: error },
    );
  }

  /**
   * Takes one if it is time for one. The state is encoded before this returns, written afterwards.
   * @param overwrite the one that is kept cannot be read
   * @returns whether one is taken
   */
  offer<State>(
    aggregate: Aggregate<State, never>,
    at: HistoryAddress,
    { state, revision, snapshotRevision }: Folded<State>,
    overwrite = false,
  ): boolean {
    const policy = aggregate.snapshot;
    const events = revision - snapshotRevision;
    if (policy === undefined || events <= 0 || this.#writing.size >= MAX_WRITING) return false;
    try {
      if (!(policy.when ? policy.when(state, events) : events >= (policy.every ?? EVERY)))
        return false;
      const text = encode(policy, state);
      if (text === null)
        return this.#refuse(
          at.category,
          `JSON does not give this state back as it is${lostOf(policy, state)}: give snapshot.encode and snapshot.decode`,
        );
      if (Buffer.byteLength(text) > MAX_BYTES)
        return this.#refuse(at.category, `the state takes more than ${MAX_BYTES} bytes`);
      const writing = this.#write(at, [
        revision,
        text,
        schemaOf(policy),
        overwrite ? '1' : '',
      ]).finally(() => this.#writing.delete(writing));
      this.#writing.add(writing);
      return true;
    } catch (error) {
      return this.#refuse(at.category, `when or encode failed: ${(error as Error).message}`);
    }
  }

  /**
   * Resolves when nothing is being written any more. What Redis does not take now is not sent
   * again.
   */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#writing);
  }

  async #write(at: HistoryAddress, args: readonly (string | number)[]): Promise<void> {
    const { connection, keys, deadlineMs } = this.#source;
    const named = [
      keys.history(at.partition, at.category, at.id),
      keys.snapshot(at.partition, at.category, at.id),
    ];
    try {
      // Sent again it changes nothing: an older snapshot never replaces a newer one.
      await withRetry((_attempt, untilMs) => script.run(connection.until(untilMs), named, args), {
        deadlineMs,
        minDelayMs: 20,
        signal: this.#closing.signal,
      });
    } catch (error) {
      this.#log('debug', 'a snapshot was not written', {
        category: at.category,
        id: at.id,
        err: error,
      });
    }
  }

  #refuse(category: string, why: string): false {
    if (!this.#said.has(category)) {
      this.#said.add(category);
      this.#log('warn', `no snapshots are taken: ${why}`, { category });
    }
    return false;
  }
}

/**
 * Null where what comes back would be another state: a replay and a snapshot must lead to the same.
 */
function encode<State>(policy: SnapshotPolicy<State>, state: State): string | null {
  const value = policy.encode ? policy.encode(state) : state;
  const text = JSON.stringify(value) as string | undefined;
  return text !== undefined && isDeepStrictEqual(JSON.parse(text), value) ? text : null;
}

/** Which part of the state JSON leaves out, where that is known. */
function lostOf<State>(policy: SnapshotPolicy<State>, state: State): string {
  const value = policy.encode ? policy.encode(state) : state;
  const emptied = emptiedByJson(value, JSON.stringify(value) ?? '');
  if (emptied === null) return '';
  return emptied.path === ''
    ? ` (it is ${emptied.what})`
    : ` (its field ${emptied.path} is ${emptied.what})`;
}
