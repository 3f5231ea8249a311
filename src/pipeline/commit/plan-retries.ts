/** Plans the retried events: settled ones come off the heads of their parked lists. */
import { createHash } from 'node:crypto';
import type { Failure } from '../../core/thread-protocol.ts';
import { CELL } from '../../core/progress-cells.ts';
import { decodeParked, encodeParked, type ParkedRecord } from '../../wire/parked.ts';
import type { RetryUnit } from '../batch/batch.ts';
import type { CommitDraft } from './commit-draft.ts';
import type { Arg, Unsettled } from './commit-plan.ts';
import { waitOf } from './failed-attempt.ts';

/** The change of one unit's parked list. */
interface ListChange {
  /** Records taken off the head. */
  taken: number;
  /** The type of each record taken, and 'done', 'skipped' or 'dead'. */
  readonly settled: Arg[];
  /** New bytes of the list's head; '': the head stays as it is. */
  head: Buffer | '';
  /** Time to the next run of the head: see Delay. */
  delay: number | string;
}

export function planRetries(draft: CommitDraft): void {
  let index = 0;
  for (const unit of draft.batch.retries) {
    planUnit(draft, unit, index);
    index += unit.records.length;
  }
}

function planUnit(draft: CommitDraft, { unit, records }: RetryUnit, first: number): void {
  const change: ListChange = { taken: 0, settled: [], head: '', delay: '' };
  let index = first;
  const end = first + records.length;
  for (const bytes of records) {
    if (settle(draft, unit, index, bytes, change) === 'stays') break;
    index++;
  }
  // Behind a record that stays, all others stay, too.
  for (; index < end; index++) draft.staying.add(index);
  const { taken, settled, head, delay } = change;
  draft.grow(unit, -taken);
  draft.retryArgs.push(draft.numberOf(unit), taken, settled.length / 2, ...settled, head, delay);
  draft.inHand.push(describe(draft.numberOf(unit), records));
}

/** Describes the records in hand, as commit.lua checks them. */
function describe(number: number, records: readonly Buffer[]): string {
  const [first, last] = [records[0], records.at(-1)];
  if (!first || !last) return '';
  const digest = digestOf(first);
  return `${number} ${records.length} ${digest} ${last === first ? digest : digestOf(last)}`;
}

const digestOf = (record: Buffer): string => createHash('sha1').update(record).digest('hex');

function settle(
  draft: CommitDraft,
  unit: string,
  index: number,
  bytes: Buffer,
  change: ListChange,
): 'taken' | 'stays' {
  const state = draft.result.states[index];
  if (state === CELL.BLOCKED) return 'stays';
  const record = decodeParked(bytes);
  const unsettled = draft.unsettledOf(index);
  if (unsettled) return stayUnsettled(draft, bytes, record, unsettled, change);
  if (state === CELL.DONE || state === CELL.SKIP) {
    draft.done++;
    change.taken++;
    change.settled.push(record.type, state === CELL.DONE ? 'done' : 'skipped');
    return 'taken';
  }
  // checkOutcomes has made sure that the event's state is FAILED.
  const failure = draft.failureOf(index) as Failure;
  const next = draft.fail(failure.ref, unit, record, failure);
  if (next) {
    change.head = encodeParked(next.record);
    change.delay = next.delay;
    return 'stays';
  }
  change.taken++;
  change.settled.push(record.type, 'dead');
  return 'taken';
}

/** The event's handler runs, or died without blame: the event stays the head of its list. */
function stayUnsettled(
  draft: CommitDraft,
  bytes: Buffer,
  record: ParkedRecord,
  { ref, isolate, delayMs }: Unsettled,
  change: ListChange,
): 'stays' {
  const same = isolate === record.isolate;
  const head = same ? bytes : encodeParked({ ...record, isolate });
  draft.unsettled.set(ref.index, head);
  if (!same) change.head = head;
  change.delay = waitOf(delayMs);
  return 'stays';
}
