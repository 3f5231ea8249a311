/** Leaves handlers that still run when the rest of their batch has ended, or waits for them. */
import { monotonicMs } from '../../core/clock.ts';
import type { EventRef } from '../../core/thread-protocol.ts';
import { identityOfEvent } from '../../wire/event-identity.ts';
import { decodeParked } from '../../wire/parked.ts';
import { createBatch, type Batch } from '../batch/batch.ts';
import { EventLocator } from '../run/event-locator.ts';
import type { BatchResult, Ended, Running } from '../run/batch-result.ts';
import {
  IN_FLIGHT,
  OpenBatch,
  parkedForMs,
  type InFlight,
  type SettledBatch,
} from './in-flight.ts';
import type { LaneContext } from './lane-context.ts';

/** A handler of this turn's batch that goes on beside the next turns. */
export interface Leaving {
  readonly unit: string;
  readonly one: Running;
  readonly attempt: number;
  /** Start of the handler by the server's clock, ms since 1970. */
  readonly sinceMs: number;
}

/** Chooses the handlers that the turn does not wait for. */
export function chooseLeaving(
  lane: LaneContext,
  batch: Batch,
  running: readonly Running[],
): Leaving[] {
  const { inFlight, parked } = lane;
  const byKey = lane.options.spec.ordering === 'key';
  if (inFlight.bytes + batch.bytes > IN_FLIGHT.bytes) return [];
  const leaving: Leaving[] = [];
  const units = new Set<string>();
  const nowMs = monotonicMs();
  let locator: EventLocator | null = null;
  for (const one of running) {
    const { ref } = one;
    const unit = byKey ? ref.subject : ref.id;
    const known = units.has(unit) || inFlight.has(unit) || (ref.entry >= 0 && parked.has(unit));
    units.add(unit);
    if (known || inFlight.size + leaving.length >= IN_FLIGHT.events) continue;
    let attempt = 1;
    if (ref.entry < 0) {
      locator ??= new EventLocator(batch);
      attempt = decodeParked(locator.recordOf(ref.index)).attempts + 1;
    }
    leaving.push({ unit, one, attempt, sinceMs: lane.serverNowMs() - (nowMs - one.startedMs) });
  }
  return leaving;
}

/** Waits for the handlers that are not left to run. Null: the dispatcher has ended some. */
export async function settle(
  lane: LaneContext,
  result: BatchResult,
  running: readonly Running[],
  leaving: readonly Leaving[],
): Promise<SettledBatch | null> {
  const delayMs = parkedForMs(lane.options.spec.timeoutMs);
  const leave = new Set(leaving.map(({ one }) => one));
  const settled = new OpenBatch(result);
  for (const { one } of leaving) settled.unsettled.push({ ref: one.ref, delayMs, isolate: false });
  for (const one of running) {
    if (!leave.has(one) && !settled.end(one.ref, await one.ended)) return null;
  }
  return settled.result();
}

/** The outcomes of handlers that ran beside the turns, as a batch of retries and its result. */
export function batchOfEnded(
  { options: { spec, partition } }: LaneContext,
  ended: readonly InFlight[],
): { readonly batch: Batch; readonly result: SettledBatch } {
  const retries = ended.map(({ unit, record }) => ({ unit, records: [record], isolate: false }));
  const batch = createBatch(spec.name, partition, spec.on, retries, []);
  const settled = new OpenBatch({
    kind: 'result',
    states: new Uint8Array(batch.events),
    failures: [],
    blocked: [],
    deadEntries: [],
    effects: [],
    emitted: [],
    ages: [],
    busyMs: 0,
    deaths: 0,
  });
  const ids: string[] = [];
  ended.forEach(({ record, ref, end }, index) => {
    const { index: indexInEntry, isolate, event, batchSource } = decodeParked(record);
    if (spec.dedupe) ids.push(identityOfEvent(event, batchSource));
    const length = record.length;
    const at: EventRef = { ...ref, index, entry: -1, indexInEntry, offset: 0, length };
    settled.end(
      at,
      end?.kind === 'again' ? { ...end, isolate: end.isolate || isolate } : (end as Ended),
    );
  });
  return { batch, result: { ...settled.result(), ...(spec.dedupe ? { ids } : {}) } };
}
