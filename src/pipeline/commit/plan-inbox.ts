/** What an inbox is to remember of a commit: the identities of the events that it settles. */
import { CELL } from '../../core/progress-cells.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { CommitDraft } from './commit-draft.ts';
import type { Arg } from './commit-plan.ts';

/** Groups: the retries (entry 0), then each entry, where something of it is told. */
export function planInbox(draft: CommitDraft): readonly Arg[] {
  const { batch, result, context } = draft;
  const { dedupe } = context.spec;
  if (!result.ids || !dedupe) return [];
  const groups: Arg[] = [];
  let count = addGroup(groups, draft, 0, 0, batch.retryEvents);
  for (let at = 0; at < batch.entries.length; at++) {
    const first = batch.firsts[at] as number;
    count += addGroup(groups, draft, at + 1, first, (batch.entries[at] as StreamEntry).count);
  }
  return count > 0 ? ['inbox', dedupe.windowMs, dedupe.maxIds, count, ...groups] : [];
}

/** @returns groups added: 0 where nothing is told */
function addGroup(
  groups: Arg[],
  { result, died, staying }: CommitDraft,
  entry: number,
  first: number,
  events: number,
): 0 | 1 {
  const settled: string[] = [];
  let skipped = 0;
  for (let i = first; i < first + events; i++) {
    const state = result.states[i];
    const id = result.ids?.[i] ?? '';
    if (state === CELL.SKIP) skipped++;
    else if (id !== '' && !staying.has(i) && (state === CELL.DONE || died.has(i))) settled.push(id);
  }
  if (skipped === 0 && settled.length === 0) return 0;
  // Skipped retries are told with their units' settled records.
  groups.push(entry, entry === 0 ? 0 : skipped, settled.length, ...settled);
  return 1;
}
