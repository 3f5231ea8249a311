/** A traced row as a reader may see it. */
import { differenceOf } from '../payload/difference.ts';
import { showData, type DataShape } from '../payload/show-data.ts';
import { showError, type ShownError } from '../payload/show-error.ts';
import { showDifference, showJson, type ShownDifference } from '../payload/show-json.ts';
import {
  PAGE_LIMITS,
  showUndecoded,
  type PayloadAccess,
  type Shown,
  type ShowLimits,
} from '../payload/shown-payload.ts';
import type { RowTrace, RowEvent } from './row-trace.ts';

export interface ShownTrace extends Omit<RowTrace, 'row' | 'events' | 'folded'> {
  readonly row: {
    readonly value: Shown;
    readonly revision: number;
    readonly position: string;
  } | null;
  readonly events: readonly ShownRowEvent[];
  readonly folded: {
    readonly same: boolean;
    readonly problem: { readonly position: string; readonly error: ShownError } | null;
  } | null;
}

export interface ShownRowEvent extends Omit<RowEvent, 'data' | 'bytes' | 'after'> {
  readonly data: Shown;
  /** Changes of the row by the event. Null: not folded, or not shown to this reader. */
  readonly changes: ShownDifference | null;
}

/**
 * Shows a trace. Rows have no schema, so only readers who see everything see them.
 * @param shapeOf finds the shape of a payload; null: its schema is not known
 */
export async function showTrace(
  { row, events, folded, ...rest }: RowTrace,
  shapeOf: (type: string, schema: number) => Promise<DataShape | null>,
  access: PayloadAccess,
  limits: ShowLimits = PAGE_LIMITS,
): Promise<ShownTrace> {
  const shown: ShownRowEvent[] = [];
  for (const [i, { data, bytes: _bytes, after, ...event }] of events.entries()) {
    const shape = await shapeOf(event.type, event.schema);
    const isVisible = access === 'full' && after !== undefined;
    shown.push({
      ...event,
      data: shape ? showData(shape, data, access, limits) : showUndecoded(data, access, limits),
      changes: isVisible
        ? showDifference(differenceOf(i === 0 ? null : events[i - 1]?.after, after))
        : null,
    });
  }
  return {
    ...rest,
    row: row && { ...row, value: showJson(row.value, access, limits) },
    events: shown,
    folded: folded && {
      same: folded.same,
      problem: folded.problem && {
        position: folded.problem.position,
        error: showError(folded.problem.error, access),
      },
    },
  };
}
