/**
 * A new generation of a view is built by its own lanes, from the beginning of the streams, beside the live one. What is left to do
 * here: say how far it is, tell when it has caught up, verify it. Nothing of the progress is kept here: it is the lanes' own, so
 * whoever is killed goes on where the last commit was, and nothing is folded twice.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import type { Deployment } from '../deployment.ts';
import { readLag } from '../lag/lag.ts';
import { readPartitions } from '../pipeline/dead/registered-functions.ts';
import { indexMember, parseMember, type StoredRow } from '../wire/view-row.ts';
import type { Generation } from './generations.ts';

export interface RebuildProgress {
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
  /** What is wrong; empty: it may go live. */
  readonly problems: readonly string[];
}

const LOOK_MS = 200;
/** Caught up: what had been appended when this phase began was folded within so long. */
const CLOSE_MS = 2000;
const CHECKED_ROWS = 64;

/** Events that the streams no longer hold: a generation built from them would lack these. */
export async function trimmedEvents(source: Deployment, types: readonly string[]): Promise<number> {
  const states = await readPartitions(source);
  return states.reduce((sum, { counters }) => sum + types.reduce((inner, type) => inner + Number(counters.get(`trimmed:${type}`) ?? 0), 0), 0);
}

/**
 * Resolves when the generation has caught up with what is appended. Its lanes must run somewhere.
 * @param signal ends it early: rejects with its reason
 */
export async function followRebuild(source: Deployment, generation: Generation, progress: (now: RebuildProgress) => void, signal: AbortSignal): Promise<void> {
  let goal: { readonly appended: number; readonly sinceMs: number } | null = null;
  let before: { readonly settled: number; readonly atMs: number } | null = null;
  let rate = 0;
  for (;;) {
    signal.throwIfAborted();
    const { appended, settled, parked, dead } = await countEvents(source, generation);
    const now = monotonicMs();
    if (before && now > before.atMs) {
      const current = ((settled - before.settled) * 1000) / (now - before.atMs);
      rate = rate === 0 ? current : rate + (current - rate) * 0.3;
    }
    before = { settled, atMs: now };
    const left = appended - settled - parked;
    progress({ appended, settled, parked, dead, eventsPerSecond: rate, etaMs: rate > 0 ? (left / rate) * 1000 : null });
    if (left <= 0) return;
    goal ??= { appended, sinceMs: now };
    if (settled + parked >= goal.appended) {
      if (now - goal.sinceMs <= CLOSE_MS) return;
      goal = { appended, sinceMs: now };
    }
    await sleep(LOOK_MS, signal);
  }
}

async function countEvents(source: Deployment, { name, types }: Generation): Promise<{ appended: number; settled: number; parked: number; dead: number }> {
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

/** Counts, and for some rows of each partition whether every index has them where they say they are. */
export async function verifyGeneration(source: Deployment, generation: Generation): Promise<Verification> {
  const { connection, keys, partitions } = source;
  const problems: string[] = [];
  const lag = (await readLag(source)).functions.find((fn) => fn.name === generation.name);
  if (!lag) problems.push(`no dispatcher has registered ${generation.name}`);
  else {
    if (!lag.conserved) problems.push('the states of its events do not add up to what was appended: see millrace lag');
    if (lag.parked > 0) problems.push(`${lag.parked} events are parked: they could not be folded, or wait behind such`);
    if (lag.dead - lag.purged > 0) problems.push(`${lag.dead - lag.purged} events were dead-lettered: see millrace dlq list ${generation.name}`);
  }
  let rows = 0;
  let checkedRows = 0;
  for (let partition = 0; partition < partitions; partition++) {
    const all = keys.viewIndex(partition, generation.name, ALL_ROWS);
    const size = Number(await connection.command('ZCARD', all));
    rows += size;
    if (size === 0) continue;
    const members = (await connection.commandBuffer('ZRANDMEMBER', all, CHECKED_ROWS)) as Buffer[];
    const ids = members.map((member) => parseMember(member).id);
    const texts = (await connection.command('MGET', ...ids.map((id) => keys.viewRow(partition, generation.name, id)))) as (string | null)[];
    for (const [i, id] of ids.entries()) {
      const stored = texts[i] === null ? null : (JSON.parse(texts[i] as string) as StoredRow);
      const entries = stored?.ix ?? [];
      for (const [at, index] of generation.indexes.entries()) {
        const entry = entries[at];
        if (!entry) continue;
        const there = await connection.command('ZSCORE', keys.viewIndex(partition, generation.name, index), indexMember(entry, id));
        // It may just have moved: the row decides.
        if (there !== null) continue;
        const again = await connection.command('GET', keys.viewRow(partition, generation.name, id));
        if (again === texts[i]) problems.push(`row ${id} is not in its index "${index}"`);
      }
      checkedRows++;
    }
  }
  return { events: lag?.appended ?? 0, rows, checkedRows, problems };
}
