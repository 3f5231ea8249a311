/** Rules for the oneofs of a message that both versions have. */
import type { Breaks, Report } from './finding.ts';
import type { IndexedMessage } from './indexed-message.ts';
import type { FieldModel } from './model.ts';

/** One field in both versions, with its message. */
export interface FieldPair {
  readonly path: string;
  readonly now: IndexedMessage;
  readonly before: IndexedMessage;
  readonly old: FieldModel;
  readonly fresh: FieldModel;
}

/** Reports a field that has joined, left or changed its oneof. */
export function compareOneof(report: Report, { path, now, before, old, fresh }: FieldPair): void {
  if (old.oneof === fresh.oneof) return;
  const was = old.oneof === null ? 'in no oneof' : `oneof ${old.oneof}`;
  const is = fresh.oneof === null ? 'in no oneof' : `oneof ${fresh.oneof}`;
  const add = (rule: string, what: string, cure: string, breaks: Breaks): void =>
    report.add(rule, { path, reader: is, writer: was }, what, cure, breaks);
  if (old.oneof === null) {
    // The oneof had other fields before, and an old event may have several of them set.
    if (before.oneofs.has(fresh.oneof as string) || now.known(fresh.oneof as string, before) > 1)
      add(
        'ONEOF_JOINED',
        `it is ${is} now: only one field is read of old events that set several`,
        'Leave it outside; put a new field into the oneof',
        'backward',
      );
    else
      add(
        'ONEOF_JOINED_ALONE',
        `it is ${is} now, which Buf's WIRE rules ban`,
        'Leave it outside; put a new field into the oneof',
        'both',
      );
  } else if (fresh.oneof === null) {
    add(
      'ONEOF_LEFT',
      `it was ${was} and is in none: older readers that find two set keep one`,
      `Leave it in ${was}`,
      'forward',
    );
  } else if (before.numbersOf(old.oneof) === now.numbersOf(fresh.oneof)) {
    add(
      'ONEOF_RENAMED',
      `its oneof was ${old.oneof} and is ${fresh.oneof}, which Buf's WIRE rules ban`,
      `Name the oneof ${old.oneof} again`,
      'both',
    );
  } else {
    add(
      'ONEOF_CHANGED',
      `it moved from oneof ${old.oneof} to ${fresh.oneof}`,
      `Leave it in ${was}`,
      'both',
    );
  }
}

/** Reports new fields in a oneof that both versions have. */
export function compareOneofMembers(
  report: Report,
  name: string,
  now: IndexedMessage,
  before: IndexedMessage,
): void {
  for (const field of now.fields) {
    if (
      field.oneof === null ||
      before.byNumber.has(field.number) ||
      !before.oneofs.has(field.oneof)
    )
      continue;
    report.warn(
      'ONEOF_MEMBER_ADDED',
      { path: `${name}.${field.name}`, reader: `oneof ${field.oneof}`, writer: '' },
      `it is new in oneof ${field.oneof}: to older readers nothing of it is set`,
      'Give older handlers a default branch first',
    );
  }
}
