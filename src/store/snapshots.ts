/**
 * States that are kept, so that a load need not replay all of a history. A snapshot is never more
 * than a shortcut. One that is missing, of another version or unreadable costs a replay. One that
 * cannot be written costs a line in the log.
 *
 * Snapshots are written after the append has answered, by put-snapshot.lua. The script never lets
 * an older snapshot overwrite a newer one.
 */
import { isUtf8 } from 'node:buffer';
import { isDeepStrictEqual } from 'node:util';
import { CorruptDataError } from '../core/errors/data-errors.ts';
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
/** Snapshots being written at the same time. Further ones are left out. */
const MAX_WRITING = 64;
/** Keys remembered, so that each is logged once. */
const MOST_SAID = 1000;

/** The schema of a snapshot. A snapshot fits only an aggregate with the same schema. */
export function schemaOf(policy: { readonly version: number }): string {
  return `v${policy.version}`;
}

/** A state folded from events. */
export interface FoldedState<State> {
  readonly state: State;
  /** Revision of the last event. */
  readonly revision: number;
  /** Revision of the last snapshot that could be read. */
  readonly snapshotRevision: number;
}

export class Snapshots {
  readonly #source: HistorySource;
  readonly #log: Log;
  readonly #writing = new Set<Promise<void>>();
  readonly #closing = sharedAbort();
  /** Categories whose states JSON cannot hold; each is logged once. */
  readonly #said = new Set<string>();
  /** Keys of unreadable snapshots; each is logged once. */
  readonly #unreadable = new Set<string>();

  constructor(source: HistorySource, log: Log) {
    this.#source = source;
    this.#log = log;
  }

  /** @returns undefined if the snapshot cannot be read */
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
   * Logs an unreadable snapshot, once per key. The next snapshot overwrites the record.
   * @param error an Error, or a description of the damage
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
   * Takes a snapshot if it is due. The state is encoded before this returns, and written
   * afterwards.
   * @param overwrite whether the kept snapshot cannot be read
   * @returns whether a snapshot is taken
   */
  offer<State>(
    aggregate: Aggregate<State, never>,
    at: HistoryAddress,
    { state, revision, snapshotRevision }: FoldedState<State>,
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
          `JSON does not keep this state as it is${lostOf(policy, state)}: give snapshot.encode and snapshot.decode`,
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
   * Resolves when no snapshot is being written any more. A write that fails now is not repeated.
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
      // A repeated write changes nothing: an older snapshot never replaces a newer one.
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
 * Returns null if decoding would give another state: a replay and a snapshot must lead to the same
 * state.
 */
function encode<State>(policy: SnapshotPolicy<State>, state: State): string | null {
  const value = policy.encode ? policy.encode(state) : state;
  const text = JSON.stringify(value) as string | undefined;
  return text !== undefined && isDeepStrictEqual(JSON.parse(text), value) ? text : null;
}

/** Names the part of the state that JSON leaves out, if it is known. */
function lostOf<State>(policy: SnapshotPolicy<State>, state: State): string {
  const value = policy.encode ? policy.encode(state) : state;
  const emptied = emptiedByJson(value, JSON.stringify(value) ?? '');
  if (emptied === null) return '';
  return emptied.path === ''
    ? ` (it is ${emptied.what})`
    : ` (its field ${emptied.path} is ${emptied.what})`;
}
