/** The address of a history: its category, its id, and the partition that they lead to. */
import { NAME_PATTERN } from '../core/function-spec.ts';
import { partitionOf } from '../core/partition.ts';
import { textProblem } from '../core/well-formed.ts';
import { checkBytes, LIMITS } from '../wire/event-attributes.ts';
import type { HistoryAddress } from './read-history.ts';
import { StoreInputError } from './store-errors.ts';

/** @throws StoreInputError, OversizeError */
export function historyAddress(partitions: number, category: string, id: string): HistoryAddress {
  checkCategory(category);
  if (typeof id !== 'string' || id === '')
    throw new StoreInputError(`the id of a history of ${category}`, 'is missing or empty');
  const problem = textProblem(id);
  if (problem !== null) throw new StoreInputError(`the id of a history of ${category}`, problem);
  checkBytes(category, 'id of the history', id, LIMITS.subject);
  return { partition: partitionOf(id, partitions), category, id };
}

/** @throws StoreInputError */
export function checkCategory(category: string): void {
  if (typeof category !== 'string' || !NAME_PATTERN.test(category))
    throw new StoreInputError(
      'the category',
      `must match ${NAME_PATTERN.source}, it is ${JSON.stringify(category)}`,
    );
}
