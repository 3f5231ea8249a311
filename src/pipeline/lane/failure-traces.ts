/**
 * Trace contexts of failed events, for the lines about them. An event is read again only where its
 * failure has a line: an event that is done costs nothing, and needs no SDK either.
 */
import { readTraceContext, type TraceContext } from '../../core/trace-context.ts';
import type { Batch } from '../batch/batch.ts';
import type { FailedAttempt } from '../commit/commit-plan.ts';
import type { LaneStages } from './lane-stages.ts';
import { readEvent, walkBatch } from '../../wire/batch-reader.ts';
import type { EventHeader } from '../../wire/event-header.ts';
import { decodeParked } from '../../wire/parked.ts';

export class FailureTraces {
  readonly #batches = new WeakMap<FailedAttempt, Batch>();

  /** Notes the batch of each failure that the stages plan to commit. */
  around(stages: LaneStages): LaneStages {
    return {
      ...stages,
      plan: (batch, result, context) => {
        const plan = stages.plan(batch, result, context);
        for (const failure of plan.failed) this.#batches.set(failure, batch);
        return plan;
      },
    };
  }

  /** Reads the context of the failure's event. Null: the event has none. */
  readonly of = (failure: FailedAttempt): TraceContext | null => {
    const batch = this.#batches.get(failure);
    if (batch === undefined) return null;
    try {
      const event = inEntries(batch, failure) ?? inRetries(batch, failure);
      return event?.extensions ? readTraceContext(event.extensions) : null;
    } catch {
      // A record that cannot be read has a line of its own, and no context.
      return null;
    }
  };
}

function inEntries(batch: Batch, { entry, type, index }: FailedAttempt): EventHeader | null {
  const found = batch.entries.find((one) => one.id === entry && batch.types[one.type] === type);
  let event: EventHeader | null = null;
  if (found !== undefined)
    walkBatch(found.bytes, (header) => {
      if (header.index === index) event = header;
    });
  return event;
}

function inRetries(batch: Batch, { entry, type, index }: FailedAttempt): EventHeader | null {
  for (const { records } of batch.retries)
    for (const bytes of records) {
      const record = decodeParked(bytes);
      if (record.entryId === entry && record.type === type && record.index === index)
        return readEvent(record.event);
    }
  return null;
}
