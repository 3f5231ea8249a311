/** The result of an append. An append that is made again gets the result of the first time. */
import { formatPosition } from '../core/position.ts';
import type { NewEvent } from '../define/define-aggregate.ts';
import type { AppendAnswer } from './append-history.ts';
import { parseElement, readPage, type HistoryAddress, type HistorySource } from './read-history.ts';
import { EventIdReusedError } from './store-errors.ts';

export interface AppendedEvent {
  readonly id: string;
  /** Place of the event in the history, from 1. */
  readonly revision: number;
  /** Address of the event in the streams: `partition/entry id/position`. */
  readonly position: string;
}

export interface AppendResult {
  /** Revision of the history right after these events. */
  readonly revision: number;
  readonly events: readonly AppendedEvent[];
  /** Whether the events were appended before. If so, this is the result of the first time. */
  readonly repeated: boolean;
}

type Answer<Kind> = Extract<AppendAnswer, { readonly kind: Kind }>;

/** @param place place of the first event in its entry */
export function appendedResult(
  { partition }: HistoryAddress,
  { revision, entryId }: Answer<'appended'>,
  place: number,
  ids: readonly string[],
): AppendResult {
  const first = revision - ids.length + 1;
  return {
    revision,
    repeated: false,
    events: ids.map((id, i) => ({
      id,
      revision: first + i,
      position: formatPosition({ partition, entryId, position: place + i }),
    })),
  };
}

/**
 * Reads the result of the first time, for an append that is made again.
 * @throws EventIdReusedError if the first time had other events
 */
export async function firstResult(
  source: HistorySource,
  at: HistoryAddress,
  { before, events }: Answer<'remembered'>,
  given: readonly NewEvent<string>[],
): Promise<AppendResult> {
  const appended: AppendedEvent[] = [];
  while (appended.length < events) {
    const from = before + appended.length + 1;
    const page = await readPage(source, at, { first: from, last: before + events });
    if (page.elements.length === 0) break;
    page.elements.forEach((bytes, i) => {
      const { header, entryId } = parseElement(bytes, at, from + i);
      appended.push({
        id: header.id,
        revision: from + i,
        position: formatPosition({ partition: at.partition, entryId, position: header.position }),
      });
    });
  }
  const same =
    appended.length === given.length &&
    appended.every(({ id }, i) => given[i]?.id === undefined || given[i]?.id === id);
  if (!same) throw new EventIdReusedError(at.category, at.id, given[0]?.id ?? '', before + 1);
  return { revision: before + events, events: appended, repeated: true };
}
