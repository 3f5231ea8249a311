/** Plans the inbox: it remembers the identities of the events that a commit settles. */
import { CELL } from '../../core/progress-cells.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { CommitDraft } from './commit-draft.ts';
import type { Arg } from './commit-plan.ts';

/**
 * Lists one group for the retries (entry 0), and one per entry. A group with nothing to tell is
 * left out.
 */
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

/** @returns number of groups added: 0 where the group has nothing to tell */
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
  // Skipped retries are counted with the settled records of their units.
  groups.push(entry, entry === 0 ? 0 : skipped, settled.length, ...settled);
  return 1;
}
