/** Bugs put into a dispatcher on purpose. The checker must catch each of them. */
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { CELL } from '../../src/core/progress-cells.ts';
import { turnIdOf, withoutLastTurn } from '../../src/core/turn-id.ts';
import type { Batch, StreamEntry } from '../../src/pipeline/batch/batch.ts';
import type { CommitPlan } from '../../src/pipeline/commit/commit-plan.ts';
import type { LaneStages } from '../../src/pipeline/lane/lane-stages.ts';
import type { BatchResult } from '../../src/pipeline/run/batch-result.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { COMMIT_ARGS, plannedEntries, type LaneName } from './recorder.ts';

export const BUGS = [
  'acknowledge before running',
  'drop 1 in 10,000',
  'apply twice',
  'swap two of one subject',
  'lose the dead letter',
  'ignore the fencing epoch',
  'skip the own-pending read',
  'lose what is emitted',
  'emit twice',
  'return an entry for the wrong group',
] as const;
export type Bug = (typeof BUGS)[number];

/**
 * Bugs of the server, not of a dispatcher. The server starts as Redis does by itself, and keeps the
 * end of a torn file.
 */
export const SERVER_BUGS = ['keep the torn end'] as const;
export type ServerBug = (typeof SERVER_BUGS)[number];

export const isServerBug = (bug: Bug | ServerBug): bug is ServerBug =>
  (SERVER_BUGS as readonly string[]).includes(bug);

/** The bugs' view of Redis. */
export interface Look {
  /** Returns the present lease, by which a dispatcher that ignores fencing commits. */
  currentLease(lane: LaneName): Promise<string | null>;
  /** Returns the entries that are pending in the lane's streams. */
  pendingIds(lane: LaneName): Promise<string[]>;
}

export function plantBug(bug: Bug, look: Look): (stages: LaneStages, lane: LaneName) => LaneStages {
  switch (bug) {
    case 'acknowledge before running':
      return acknowledgeFirst;
    case 'drop 1 in 10,000':
      return dropOne();
    case 'apply twice':
      return (stages) => ({
        ...stages,
        async run(...batch) {
          await stages.run(...batch);
          return stages.run(...batch);
        },
      });
    case 'swap two of one subject':
      return (stages) => ({ ...stages, reader: around(stages, (entries) => swapTwo(entries)) });
    case 'lose the dead letter':
      return loseLetters;
    case 'ignore the fencing epoch':
      return (stages, lane) => ({
        ...stages,
        async commit(plan) {
          // A process that is stopped is then stopped in front of a commit. Behind a handler, the
          // keeper would notice the lost lease before the commit.
          await delay(HESITATION_MS);
          const args = [...plan.args];
          args[COMMIT_ARGS.leaseValue] = (await look.currentLease(lane)) ?? lane.leaseValue;
          // The turn that the dispatcher takes for the last one is ignored, too.
          args[COMMIT_ARGS.turnId] = withoutLastTurn(String(args[COMMIT_ARGS.turnId]));
          return stages.commit({ ...plan, args }, new AbortController().signal);
        },
      });
    case 'skip the own-pending read':
      return (stages, lane) => skipPending(stages, lane, look.pendingIds);
    case 'lose what is emitted':
      return (stages) => ({
        ...stages,
        plan: (batch, result, context) => stages.plan(batch, { ...result, emitted: [] }, context),
      });
    case 'emit twice':
      return (stages) => ({
        ...stages,
        plan: (batch, result, context) =>
          stages.plan(
            batch,
            { ...result, emitted: [...(result.emitted ?? []), ...(result.emitted ?? [])] },
            context,
          ),
      });
    case 'return an entry for the wrong group':
      return mixGroups();
  }
}

function around(
  stages: LaneStages,
  change: (entries: readonly StreamEntry[]) => readonly StreamEntry[],
): LaneStages['reader'] {
  const { reader } = stages;
  return {
    reset: () => reader.reset(),
    get drained() {
      return reader.drained;
    },
    get pendingLeft() {
      return reader.pendingLeft;
    },
    async take(leaseValue, budget) {
      const taken = await reader.take(leaseValue, budget);
      return taken.kind === 'ok' ? { ...taken, entries: change(taken.entries) } : taken;
    },
  };
}

/**
 * Gives a lane the entries that a neighbour has taken, behind its own: a joined take that confuses
 * the groups. All functions name the type of these entries first.
 */
function mixGroups(): (stages: LaneStages, lane: LaneName) => LaneStages {
  const last = new Map<number, { readonly fn: string; readonly entries: readonly StreamEntry[] }>();
  return (stages, { fn, partition }) => ({
    ...stages,
    reader: around(stages, (own) => {
      if (own.length === 0) return own;
      const before = last.get(partition);
      last.set(partition, { fn, entries: own });
      if (!before || before.fn === fn) return own;
      const ids = new Set(own.map(({ id }) => id));
      return [...own, ...before.entries.filter(({ id, type }) => type === 0 && !ids.has(id))];
    }),
  });
}

function acknowledgeFirst(stages: LaneStages, lane: LaneName): LaneStages {
  let turn = 1_000_000;
  return {
    ...stages,
    async run(batch, ...more) {
      const made: Pick<BatchResult, 'states' | 'failures' | 'blocked' | 'deadEntries'> = {
        states: new Uint8Array(batch.events).fill(CELL.DONE),
        failures: [],
        blocked: [],
        deadEntries: [],
      };
      const plan = stages.plan(
        batch,
        { ...made, kind: 'result', effects: [], emitted: [], ages: [], busyMs: 0, deaths: 0 },
        {
          leaseValue: lane.leaseValue,
          turnId: turnIdOf(lane.leaseValue, ++turn),
          nowMs: Date.now(),
          parkedOf: () => 0,
        },
      );
      await stages.commit(plan, new AbortController().signal);
      return stages.run(batch, ...more);
    },
    commit: () =>
      Promise.resolve({
        kind: 'ok',
        repeated: false,
        nextDueMs: null,
        missing: [],
        emptied: [],
        outbox: null,
        noIndexes: [],
      }),
  };
}

/** Time between the end of a run and its commit, ms. */
const HESITATION_MS = 200;
const DROP_AT = 4321;

/**
 * Drops one event between reading and running, and counts it as done, so that the counters balance.
 */
function dropOne(): (stages: LaneStages) => LaneStages {
  let seen = 0;
  let dropped: string | null = null;
  return (stages) => ({
    ...stages,
    reader: around(stages, (entries) =>
      entries.map((entry) => {
        seen += entry.count;
        if (dropped !== null || seen < DROP_AT || entry.count < 2) return entry;
        dropped = entry.id;
        return withoutLast(entry);
      }),
    ),
    plan(batch, ...more) {
      const plan = stages.plan(batch, ...more);
      const at = batch.entries.findIndex((entry) => entry.id === dropped);
      return at < 0 ? plan : countOneMore(plan, at);
    },
  });
}

function withoutLast(entry: StreamEntry): StreamEntry {
  let start = 0;
  let length = 0;
  walkBatch(entry.bytes, (header) => {
    start = header.offset;
    length = header.length;
  });
  // The message's tag and length stand before it.
  const prefix = 1 + (length < 128 ? 1 : length < 16_384 ? 2 : 3);
  const bytes = Buffer.concat([
    entry.bytes.subarray(0, start - prefix),
    entry.bytes.subarray(start + length),
  ]);
  return { ...entry, bytes, count: entry.count - 1, n: entry.count - 1, crc: crc32(bytes) };
}

function countOneMore(plan: CommitPlan, entry: number): CommitPlan {
  const { from, to, entries } = plannedEntries(plan);
  const runs = entries.flatMap(([stream, id, done], i) => [
    stream,
    i === entry ? done + 1 : done,
    1,
    id,
  ]);
  return { ...plan, args: [...plan.args.slice(0, from), ...runs, ...plan.args.slice(to)] };
}

/** Exchanges two entries of different flushes that hold events of one subject. */
function swapTwo(entries: readonly StreamEntry[]): readonly StreamEntry[] {
  for (let i = 0; i < entries.length; i++) {
    const first = entries[i] as StreamEntry;
    const subjects = subjectsOf(first);
    const j = entries.findIndex(
      (entry, at) =>
        at > i &&
        entry.id !== first.id &&
        [...subjectsOf(entry)].some((subject) => subjects.has(subject)),
    );
    if (j < 0) continue;
    const swapped = [...entries];
    swapped[i] = entries[j] as StreamEntry;
    swapped[j] = first;
    return swapped;
  }
  return entries;
}

function subjectsOf(entry: StreamEntry): Set<string> {
  const out = new Set<string>();
  walkBatch(entry.bytes, (header) => out.add(header.subject));
  return out;
}

/** Counts events as done that would be dead, so that the counters balance. */
function loseLetters(stages: LaneStages): LaneStages {
  return {
    ...stages,
    plan(batch: Batch, result, context) {
      const lost = new Set(
        stages
          .plan(batch, result, context)
          .failed.filter(({ nextMs }) => nextMs === null)
          .map(({ eventId }) => eventId),
      );
      const states = Uint8Array.from(result.states);
      for (const { ref } of result.failures) if (lost.has(ref.id)) states[ref.index] = CELL.DONE;
      return stages.plan(
        batch,
        { ...result, states, failures: result.failures.filter(({ ref }) => !lost.has(ref.id)) },
        context,
      );
    },
  };
}

/** Leaves the unfinished entries of the former owner: the first read is for new entries. */
function skipPending(
  stages: LaneStages,
  lane: LaneName,
  pendingIds: Look['pendingIds'],
): LaneStages {
  let skipped = new Set<string>();
  return {
    ...stages,
    async beginSearch() {
      skipped = new Set(await pendingIds(lane));
      return null;
    },
    reader: around(stages, (entries) => entries.filter((entry) => !skipped.has(entry.id))),
  };
}
