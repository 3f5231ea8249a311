import { DecisionError } from '../core/errors/input-errors.ts';
import type { NewEvent } from './define-aggregate.ts';

/**
 * Returns a decision as a list of events.
 * @throws DecisionError for a Promise, for nothing, and for a value that is no event
 */
export function decidedEvents<T extends string>(
  category: string,
  decided: readonly NewEvent<T>[] | NewEvent<T>,
): readonly NewEvent<T>[] {
  if (typeof (decided as { then?: unknown } | null | undefined)?.then === 'function') {
    // The DecisionError below reports the Promise already, so its rejection is ignored.
    void Promise.resolve(decided).catch(() => undefined);
    throw new DecisionError(
      category,
      'decide returned a Promise. It must not wait: look up what it needs before, and put that into the command',
    );
  }
  if (decided === undefined || decided === null) {
    throw new DecisionError(
      category,
      `decide returned ${String(decided)}. It must return an event or a list of events; [] where there is nothing to do`,
    );
  }
  const events = Array.isArray(decided)
    ? (decided as readonly NewEvent<T>[])
    : [decided as NewEvent<T>];
  const wrong = events.findIndex(
    (event) => typeof event !== 'object' || event === null || typeof event.type !== 'string',
  );
  if (wrong >= 0)
    throw new DecisionError(
      category,
      `decide returned a value that is no event${events.length > 1 ? ` (number ${wrong + 1})` : ''}: an event is an object with type and data`,
    );
  return events;
}
