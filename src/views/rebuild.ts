/**
 * A new generation of a view is built by its own lanes, from the beginning of the streams, beside
 * the live one (where they are trimmed first from the histories: history-pass.ts). What is left to
 * do here: say how far it is, tell when it has caught up, verify it. Nothing of the progress is
 * kept here: it is the lanes' own, so whoever is killed goes on where the last commit was, and
 * nothing is folded twice.
 */
import { isDeepStrictEqual } from 'node:util';
import { monotonicMs, sleep } from '../core/clock.ts';
import { CorruptDataError, RedisReplyError } from '../core/errors.ts';
import { compareEntryIds } from '../core/position.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import type { Deployment } from '../deployment.ts';
import { readLag } from '../lag/lag.ts';
import { readPartitions, type PartitionState } from '../pipeline/dead/registered-functions.ts';
import type { RedisConnection } from '../redis/connection.ts';
import { decodeStoredRow, indexMember, parseMember, type StoredRow } from '../wire/view-row.ts';
import { indexSize, type Generation } from './generations.ts';
import type { ViewFold } from './history-pass.ts';
import { findCategories, readSubject, type HistoryEvent } from './history-walk.ts';
import { Pace } from './pace.ts';

export interface RebuildProgress {
  readonly from: 'histories' | 'streams';
  /** Events appended for it so far. */
  readonly appended: number;
  /** Folded, or dead-lettered. */
  readonly settled: number;
  readonly parked: number;
  readonly dead: number;
  readonly eventsPerSecond: number;
  /** Null: not to be told yet. */
  readonly etaMs: number | null;
}

export interface Verification {
  readonly events: number;
  readonly rows: number;
  /** Rows whose index entries were looked up. */
  readonly checkedRows: number;
  /** Rows that were compared with a fold over their histories. */
  readonly refoldedRows: number;
  /** What is wrong; empty: it may go live. */
  readonly problems: readonly string[];
}

const LOOK_MS = 200;
/** Caught up: what had been appended when this phase began was folded within so long. */
const CLOSE_MS = 2000;
const CHECKED_ROWS = 64;
/** Per partition: folded anew. Of longer histories it would be too much work for a look. */
const REFOLDED_ROWS = 8;
const REFOLDED = { events: 2000, bytes: 2_097_152 } as const;

/**
 * Resolves when the generation has caught up with what is appended. Its lanes must run somewhere.
 * @param signal ends it early: rejects with its reason
 */
export async function followRebuild(
  source: Deployment,
  generation: Generation,
  progress: (now: RebuildProgress) => void,
  signal: AbortSignal,
): Promise<void> {
  let goal: { readonly appended: number; readonly sinceMs: number } | null = null;
  let pace: Pace | null = null;
  for (;;) {
    signal.throwIfAborted();
    const { appended, settled, parked, dead } = await countEvents(source, generation);
    const now = monotonicMs();
    const left = appended - settled - parked;
    pace ??= new Pace(settled);
    progress({ from: 'streams', appended, settled, parked, dead, ...pace.look(settled, left) });
    if (left <= 0) return;
    goal ??= { appended, sinceMs: now };
    if (settled + parked >= goal.appended) {
      if (now - goal.sinceMs <= CLOSE_MS) return;
      goal = { appended, sinceMs: now };
    }
    await sleep(LOOK_MS, signal);
  }
}

async function countEvents(
  source: Deployment,
  { name, types }: Generation,
): Promise<{ appended: number; settled: number; parked: number; dead: number }> {
  const sum = { appended: 0, settled: 0, parked: 0, dead: 0 };
  for (const { counters } of await readPartitions(source)) {
    const count = (field: string): number => Number(counters.get(field) ?? 0);
    for (const type of types) {
      sum.appended += count(`appended:${type}`) - count(`base:${name}:${type}`);
      const dead = count(`dead:${name}:${type}`);
      sum.settled += count(`done:${name}:${type}`) + dead + count(`purged:${name}:${type}`);
      sum.dead += dead;
      sum.parked += count(`parked:${name}:${type}`);
    }
  }
  return sum;
}

/**
 * Counts; and for some rows of each partition whether every index has them where they say they are,
 * and whether they are what their histories come to.
 * @param fold to fold some anew; null: that is left out
 */
export async function verifyGeneration(
  source: Deployment,
  generation: Generation,
  fold: ViewFold | null,
): Promise<Verification> {
  const { connection, keys, partitions } = source;
  const problems: string[] = [];
  const lag = (await readLag(source)).functions.find((fn) => fn.name === generation.name);
  if (!lag) problems.push(`no dispatcher has registered ${generation.name}`);
  else {
    if (!lag.conserved)
      problems.push(
        'the states of its events do not add up to what was appended: see millrace lag',
      );
    if (lag.parked > 0)
      problems.push(
        `${lag.parked} events are parked: they could not be folded, or wait behind such`,
      );
    if (lag.dead - lag.purged > 0)
      problems.push(
        `${lag.dead - lag.purged} events were dead-lettered: see millrace dlq list ${generation.name}`,
      );
  }
  const refold = fold ? await createRefold(source, generation, fold) : null;
  let rows = 0;
  let checkedRows = 0;
  let refoldedRows = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const all = keys.viewIndex(partition, generation.name, ALL_ROWS);
    const size = await indexSize(connection, all);
    if (size === null)
      problems.push(
        `the index of all rows is none in partition ${partition}: its key ${all} is of another type`,
      );
    if (size === null || size === 0) continue;
    rows += size;
    const members = (await connection.commandBuffer('ZRANDMEMBER', all, CHECKED_ROWS)) as Buffer[];
    const found = await readSample(source, generation, partition, members);
    problems.push(...found.problems);
    for (const [i, { id, bytes, stored }] of found.rows.entries()) {
      const key = keys.viewRow(partition, generation.name, id);
      // It may just have moved: the row decides.
      const moved = async (): Promise<boolean> => {
        const now = (await connection.commandBuffer('GET', key)) as Buffer | null;
        return now === null ? bytes !== null : bytes === null || !now.equals(bytes);
      };
      const entries = stored?.ix ?? [];
      for (const [at, index] of generation.indexes.entries()) {
        const entry = entries[at];
        if (!entry) continue;
        const there = await isThere(
          connection,
          keys.viewIndex(partition, generation.name, index),
          indexMember(entry, id),
        );
        if (!there && !(await moved())) problems.push(`row ${id} is not in its index "${index}"`);
      }
      checkedRows++;
      if (!stored || i >= REFOLDED_ROWS) continue;
      const same = await refold?.(partition, id, stored);
      if (same === undefined || same === null) continue;
      refoldedRows++;
      if (!same && !(await moved()))
        problems.push(`row ${id} is not what its histories come to, folded anew`);
    }
  }
  return { events: lag?.appended ?? 0, rows, checkedRows, refoldedRows, problems };
}

interface SampleRow {
  readonly id: string;
  /** Null: it is not there. */
  readonly bytes: Buffer | null;
  readonly stored: StoredRow | null;
}

/** Rows of a sample of the index of all rows. What cannot be read is a problem. */
async function readSample(
  { connection, keys }: Deployment,
  { name }: Generation,
  partition: number,
  members: readonly Buffer[],
): Promise<{ rows: SampleRow[]; problems: string[] }> {
  const rows: SampleRow[] = [];
  const problems: string[] = [];
  const attempt = <T>(what: string, read: () => T): T | null => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      problems.push(`${what} cannot be read: ${error.message}`);
      return null;
    }
  };
  for (const member of members) {
    const entry = attempt(`an entry of ${keys.viewIndex(partition, name, ALL_ROWS)}`, () =>
      parseMember(member),
    );
    if (entry === null) continue;
    const { id } = entry;
    const [bytes = null] = (await connection.commandBuffer(
      'MGET',
      keys.viewRow(partition, name, id),
    )) as (Buffer | null)[];
    const kind =
      bytes === null
        ? String(await connection.command('TYPE', keys.viewRow(partition, name, id)))
        : 'string';
    if (kind !== 'none' && kind !== 'string')
      problems.push(`row ${id} cannot be read: its key is of another type: ${kind}`);
    rows.push({
      id,
      bytes,
      stored: bytes === null ? null : attempt(`row ${id}`, () => decodeStoredRow(bytes)),
    });
  }
  return { rows, problems };
}

/** Of a key that is no index: it is not. */
async function isThere(connection: RedisConnection, key: string, member: Buffer): Promise<boolean> {
  try {
    return (await connection.command('ZSCORE', key, member)) !== null;
  } catch (error) {
    if (error instanceof RedisReplyError && error.reply === 'WRONGTYPE') return false;
    throw error;
  }
}

/** Whether a row is what its histories come to; null: that cannot be told of it. */
type Refold = (partition: number, id: string, stored: StoredRow) => Promise<boolean | null>;

/**
 * Where all events of the view's types went through histories, and none was left out: in a
 * partition in which so many were appended to histories as were appended at all, of a view whose
 * rows wait for their dead events, without a purged one.
 */
async function createRefold(
  source: Deployment,
  { name, types }: Generation,
  fold: ViewFold,
): Promise<Refold | null> {
  const count = ({ counters }: PartitionState, field: string): number =>
    Number(counters.get(field) ?? 0);
  const whole = new Set<number>();
  for (const state of await readPartitions(source)) {
    if (
      types.every(
        (type) =>
          count(state, `stored:${type}`) === count(state, `appended:${type}`) &&
          count(state, `purged:${name}:${type}`) === 0 &&
          count(state, `base:${name}:${type}`) === 0,
      )
    )
      whole.add(state.partition);
  }
  if (whole.size === 0 || fold.spec.onDead !== 'hold') return null;
  const categories = await findCategories(source);
  return async (partition, id, stored) => {
    if (!whole.has(partition)) return null;
    const events = await readSubject(source, partition, categories, id, REFOLDED);
    if (events === null) return null;
    const behind = stored.at.indexOf('/');
    const [entryId, position] = [stored.at.slice(0, behind), Number(stored.at.slice(behind + 1))];
    const isIn = (event: HistoryEvent): boolean =>
      (compareEntryIds(event.entryId, entryId) || event.position - position) <= 0;
    const wanted = events.filter((event) => types.includes(event.type) && isIn(event));
    if (wanted.length === 0) return false;
    const folded = await fold.fold(
      partition,
      wanted.map(({ entryId: from, type, bytes }) => ({
        entryId: from,
        type: fold.spec.on.indexOf(type),
        bytes,
      })),
      true,
    );
    if (folded.kind !== 'folded') return folded.kind === 'stopped' ? null : false;
    const text = folded.rows().get(id);
    // Compared as data: in which order a row's fields stand may depend on what came in one batch.
    return text !== undefined && isDeepStrictEqual(JSON.parse(text), stored);
  };
}
