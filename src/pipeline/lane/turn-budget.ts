/** Decides how much a lane's next turn reads, by the time and bytes of its last turns. */
import { EMIT_LIMITS } from '../../core/emitted.ts';
import type { Batch } from '../batch/batch.ts';
import type { ReadBudget } from '../read/lane-reader.ts';
import type { InFlights } from './in-flight.ts';
import type { ParkedCount } from './parked-count.ts';

/** Most parked units of a turn. */
const RETRY_UNITS = 64;
/** Most events of a turn in a crash search: each runs alone. */
export const SEARCH_EVENTS = 16;
/** Most events of the first turn. */
const FIRST_EVENTS = 256;
/** Most events and bytes of a small turn. */
const SMALL = { events: 512, bytes: 128 * 1024 } as const;
/** Rows of a view that a turn should read and write, in bytes. */
const ROW_BYTES = 4 * 1024 * 1024;
/** Parked events that were only not started, from which on a lane reads nothing new. */
const MOST_LEFT = 1000;
/** Weight of the last turn in a running average. */
const NEWEST = 0.2;

export interface TurnBudgetOptions {
  /** Whether the lane takes retries: helpers leave them to the owner. */
  readonly isOwner: boolean;
  readonly maxParkedPerSubject: number;
  /** Most bytes of a batch. */
  readonly batchBytes: number;
  /** Most events of a batch. */
  readonly batchEvents: number;
  /** Time for which a batch should keep a thread, ms. */
  readonly batchMs: number;
}

export class TurnBudget {
  readonly #options: TurnBudgetOptions;
  #msPerEvent = 0;
  /** Bytes of rows, read and written, per event. The figure follows a rise at once. */
  #rowBytesPerEvent = 0;
  /** Bytes emitted per event. */
  #emittedPerEvent = 0;
  #small = false;

  constructor(options: TurnBudgetOptions) {
    this.#options = options;
  }

  /**
   * Whether the next turn is a small one: the last one has read so little that a small budget holds
   * several times as much.
   */
  get small(): boolean {
    return this.#small;
  }

  /** Learns from a look. @param all whether the look has found everything there was */
  looked(events: number, bytes: number, all: boolean): void {
    this.#small = all && events <= SMALL.events / 4 && bytes <= SMALL.bytes / 4;
  }

  /** Returns the budget of the next turn. @param searching whether a crash search is under way */
  next(parked: ParkedCount, inFlight: InFlights, searching: boolean): ReadBudget {
    const { isOwner, batchEvents, batchBytes } = this.#options;
    const bytes = this.#small ? Math.min(SMALL.bytes, batchBytes) : batchBytes;
    const retryUnits = isOwner ? RETRY_UNITS + inFlight.size : 0;
    const room = this.#roomBehindRunning(parked, inFlight);
    if (parked.full || room <= 0 || parked.leftEvents >= MOST_LEFT)
      return { events: 0, bytes: 0, retryUnits };
    if (searching)
      return { events: SEARCH_EVENTS, bytes, retryUnits: Math.min(retryUnits, SEARCH_EVENTS) };
    const byTime = fitting(this.#options.batchMs, this.#msPerEvent, FIRST_EVENTS);
    const byRows = fitting(ROW_BYTES, this.#rowBytesPerEvent, Infinity);
    // The emits of a turn are bounded too. Events beyond the bound would be held, one by one.
    const byEmits = fitting(EMIT_LIMITS.turnBytes / 2, this.#emittedPerEvent, Infinity);
    const bySize = this.#small ? SMALL.events : Infinity;
    const events = Math.min(batchEvents, byTime, byRows, byEmits, room, bySize);
    return { events, bytes, retryUnits };
  }

  /** Learns from a turn that started events. */
  ran(events: number, busyMs: number, emittedBytes: number): void {
    this.#msPerEvent = averaged(this.#msPerEvent, busyMs / events);
    this.#emittedPerEvent = averaged(this.#emittedPerEvent, emittedBytes / events);
  }

  /** Learns from a view's batch. */
  weigh(batch: Batch, effects: readonly Uint8Array[]): void {
    let bytes = batch.rows?.length ?? 0;
    for (const block of effects) bytes += block.length;
    this.#rowBytesPerEvent = Math.max(bytes / batch.events, this.#rowBytesPerEvent * 0.9);
  }

  /** Events that may still queue up behind running handlers: a subject's parked list is bounded. */
  #roomBehindRunning(parked: ParkedCount, inFlight: InFlights): number {
    let room = Infinity;
    for (const unit of inFlight.units())
      room = Math.min(room, this.#options.maxParkedPerSubject - parked.of(unit));
    return room;
  }
}

/** Returns the number of events that fit, at least 1. `unknown` while nothing was measured. */
function fitting(total: number, perEvent: number, unknown: number): number {
  return perEvent > 0 ? Math.max(1, Math.floor(total / perEvent)) : unknown;
}

function averaged(before: number, now: number): number {
  return before + (now - before) * (before === 0 ? 1 : NEWEST);
}
