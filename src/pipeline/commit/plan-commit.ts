/**
 * Turns the outcomes of a batch into the keys and arguments of commit.lua, part by part.
 *
 * In the common case every event is done, and none was retried. A plan is then the list of its
 * entries, and the other parts stay empty.
 */
import type { Emitted } from '../../core/emitted.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import { CELL } from '../../core/progress-cells.ts';
import { MAX_SCHEDULED } from '../../core/delivery-time.ts';
import type { Batch, StreamEntry } from '../batch/batch.ts';
import { CommitDraft } from './commit-draft.ts';
import type { Arg, CommitContext, CommitPlan, ResultOfRun } from './commit-plan.ts';
import { planDeadEntries, planHeld } from './plan-held.ts';
import { planInbox } from './plan-inbox.ts';
import { planRetries } from './plan-retries.ts';

export function planCommit(batch: Batch, result: ResultOfRun, context: CommitContext): CommitPlan {
  checkOutcomes(batch, result, context);
  const draft = new CommitDraft(batch, result, context);
  if (!allDone(result)) {
    planHeld(draft);
    planDeadEntries(draft);
  }
  if (batch.retries.length > 0) planRetries(draft);
  return layOut(draft, planInbox(draft));
}

/** Whether all events of the entries are done. Retried events may be skipped. */
function allDone({ failures, blocked, unsettled, deadEntries }: ResultOfRun): boolean {
  const held = failures.length + blocked.length + (unsettled?.length ?? 0);
  return held + deadEntries.length === 0;
}

/**
 * Checks that each event has an outcome.
 *
 * This is the only loop over all events, and so a function of its own. Inside planCommit, V8
 * compiled the whole of planCommit anew whenever a failure had shown it something new: 0.3 s of a
 * core each time.
 */
function checkOutcomes(
  batch: Batch,
  result: ResultOfRun,
  { spec, partition }: CommitContext,
): void {
  for (let i = 0; i < batch.events; i++) {
    const state = result.states[i];
    if (state === CELL.RUNNING && result.unsettled) continue;
    if (
      state !== CELL.DONE &&
      state !== CELL.FAILED &&
      state !== CELL.BLOCKED &&
      !(state === CELL.SKIP && result.ids)
    ) {
      throw new Error(
        `event ${i} of a batch of ${spec.name}/${partition} has no outcome (state ${String(state)}); nothing is committed`,
      );
    }
  }
}

/** Lays out keys and arguments in the order of commit.lua's header. */
function layOut(draft: CommitDraft, inbox: readonly Arg[]): CommitPlan {
  const { batch, result, context, units } = draft;
  const emitted = result.emitted ?? [];
  const emittedTypes = typesOf(emitted);
  const { keys, emittedFrom } = keysOf(draft, emittedTypes, inbox.length > 0);
  const { spec } = context;
  const args: Arg[] = [
    context.leaseValue,
    context.leaseTtlMs,
    spec.name,
    context.turnId,
    batch.types.length,
    units.length,
    batch.entries.length,
    draft.parked,
    draft.letters,
    batch.retries.length,
    result.effects.length,
    emittedTypes.length,
    emitted.length,
    MAX_SCHEDULED,
    emittedFrom,
    spec.ordering === 'none' ? (context.consumer ?? OWNER) : '',
  ];
  append(args, batch.types);
  append(args, units);
  append(args, emittedTypes);
  for (const { block } of emitted) args.push(asBuffer(block));
  appendEntries(args, draft);
  append(args, draft.parkArgs);
  append(args, draft.letterArgs);
  append(args, draft.retryArgs);
  if (context.running !== undefined) args.push('running', context.running);
  append(args, inbox);
  append(args, draft.inHand);
  for (const block of result.effects) args.push(asBuffer(block));
  return {
    partition: context.partition,
    keys,
    args,
    done: draft.done,
    retried: draft.retried,
    dead: draft.dead,
    parked: draft.growth,
    unsettled: draft.unsettled,
    left: draft.left,
    failed: draft.failed,
  };
}

/** @returns the keys, and `emittedFrom`: the number of keys before those of emitted events */
function keysOf(
  { batch, result, context, units, letters }: CommitDraft,
  emittedTypes: readonly string[],
  inbox: boolean,
): { readonly keys: readonly string[]; readonly emittedFrom: number } {
  const { keys: of, partition, spec } = context;
  const fn = spec.name;
  const keys = [
    of.lease(partition, laneName(fn, context.consumer ?? OWNER)),
    of.counters(partition),
    of.due(partition, fn),
    of.dead(partition, fn),
    of.held(partition, fn),
    of.arrived(partition, fn),
  ];
  for (const type of batch.types) keys.push(of.events(partition, type));
  for (const unit of units) keys.push(of.parked(partition, fn, unit));
  if (result.effects.length > 0) append(keys, batch.effectKeys);
  if (letters > 0) keys.push(of.groups(partition, fn));
  const emittedFrom = keys.length;
  if ((result.emitted?.length ?? 0) > 0)
    keys.push(
      of.clock(partition),
      of.outbox(partition),
      of.scheduled(partition),
      of.scheduledEvents(partition),
    );
  for (const type of emittedTypes) keys.push(of.events(partition, type));
  if (inbox) keys.push(of.settledIds(partition, fn, 0), of.settledIds(partition, fn, 1));
  return { keys, emittedFrom };
}

/** Appends the entries in runs of one stream and one number of events done. */
function appendEntries(args: Arg[], draft: CommitDraft): void {
  const { entries } = draft.batch;
  const notDone = allDone(draft.result) ? null : notDoneOf(draft);
  let stream = -1;
  let doneEach = -1;
  let sizeAt = 0;
  for (let i = 0; i < entries.length; i++) {
    const { type, id, count } = entries[i] as StreamEntry;
    const done = notDone === null ? count : count - (notDone[i] as number);
    draft.done += done;
    if (type !== stream || done !== doneEach) {
      stream = type;
      doneEach = done;
      sizeAt = args.push(type + 1, done, 0) - 1;
    }
    args[sizeAt] = (args[sizeAt] as number) + 1;
    args.push(id);
  }
}

/** Counts the events of each entry that failed, wait, or still run. */
function notDoneOf(draft: CommitDraft): number[] {
  const { batch, result } = draft;
  const notDone = new Array<number>(batch.entries.length).fill(0);
  const add = (entry: number): void => {
    if (entry >= 0) notDone[entry] = (notDone[entry] as number) + 1;
  };
  for (const { ref } of result.failures) add(ref.entry);
  for (const ref of result.blocked) add(ref.entry);
  for (const { ref } of draft.allUnsettled()) add(ref.entry);
  for (const { entry } of result.deadEntries)
    notDone[entry] = (batch.entries[entry] as StreamEntry).count;
  return notDone;
}

function typesOf(emitted: readonly Emitted[]): readonly string[] {
  if (emitted.length === 0) return [];
  return [...new Set(emitted.flatMap(({ types }) => types))];
}

function append<T>(to: T[], items: readonly T[]): void {
  for (let i = 0; i < items.length; i++) to.push(items[i] as T);
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
