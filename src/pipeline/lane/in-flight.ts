/**
 * Slow events: their handlers run beside the lane's turns, because their turn has ended without
 * them.
 *
 * The turn's commit parks a slow event, as the head of its unit's list, with its attempts as they
 * were. Later events of its subject queue behind it. When its handler has settled, a turn commits
 * the outcome like that of a retry.
 *
 * The counters' field `running:<f>` lists the slow events: JSON {"lease", "units": [[unit, ms since
 * 1970, attempt], ...]}. Every commit that changes the list writes it. The lane's next owner makes
 * all of them due at once (release-running.lua); so does an owner that starts over.
 *
 * A slow event is parked until long after its handler's time is over, so that its retry does not
 * become due meanwhile. Where it becomes due all the same, this owner leaves the event alone.
 *
 * Owned here: the list of slow events. Everything that must survive is in Redis.
 */
import type { EventRef, Failure } from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';
import { CELL, moveTo } from '../../core/progress-cells.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import type { Unsettled } from '../commit/commit-plan.ts';
import type { BatchResult, Ended } from '../run/batch-result.ts';

const script = defineScript({ url: new URL('./release-running.lua', import.meta.url), keys: 3 });

/**
 * Most handlers of a lane that may run beside its turns, and most bytes of the batches they came
 * with. A thread keeps those bytes.
 */
export const IN_FLIGHT = { events: 64, bytes: 16 * 1024 * 1024 } as const;
/** Time for which a slow event stays parked after its handler's time is over, ms. */
const SLACK_MS = 30_000;

/** Time for which a slow event is parked, ms. */
export const parkedForMs = (timeoutMs: number): number => timeoutMs + SLACK_MS;

export interface InFlight {
  readonly unit: string;
  /** Its record in the parked list. */
  readonly record: Buffer;
  readonly attempt: number;
  /** Start of its handler, ms since 1970. */
  readonly sinceMs: number;
  readonly ended: Promise<Ended>;
  readonly ref: EventRef;
  /** Its batch. Events of one batch share the object. */
  readonly batch: { readonly bytes: number };
  /** Outcome of its handler. Null: the handler runs. */
  end: Ended | null;
}

export class InFlights {
  readonly #byUnit = new Map<string, InFlight>();
  readonly #rang: () => void;

  /** @param rang told when a handler has ended */
  constructor(rang: () => void) {
    this.#rang = rang;
  }

  get size(): number {
    return this.#byUnit.size;
  }
  has(unit: string): boolean {
    return this.#byUnit.has(unit);
  }
  units(): IterableIterator<string> {
    return this.#byUnit.keys();
  }
  /** Bytes of the batches that the slow events came with. */
  get bytes(): number {
    let bytes = 0;
    for (const batch of new Set([...this.#byUnit.values()].map((one) => one.batch)))
      bytes += batch.bytes;
    return bytes;
  }

  add(one: InFlight): void {
    this.#byUnit.set(one.unit, one);
    void one.ended.then((end) => {
      one.end = end;
      this.#rang();
    });
  }

  /** Handlers that run. */
  get running(): number {
    let running = 0;
    for (const { end } of this.#byUnit.values()) if (end === null) running++;
    return running;
  }

  /** Events whose handler has ended and whose outcome is not committed. */
  ended(): InFlight[] {
    return [...this.#byUnit.values()].filter(({ end }) => end !== null && end.kind !== 'stopped');
  }

  /** The outcome of the unit's event is committed. */
  settle(unit: string): void {
    this.#byUnit.delete(unit);
  }

  /** Resolves when no handler runs any more. Their outcomes are forgotten. */
  async drop(): Promise<void> {
    await Promise.all([...this.#byUnit.values()].map(({ ended }) => ended));
    this.#byUnit.clear();
  }

  /**
   * Describes the slow events after a commit, for `running:<f>`. '-': there are none.
   * @param without units that the commit settles
   * @param toCome events that the commit leaves to run beside the turns
   */
  describe(
    lease: string,
    without: readonly string[],
    toCome: readonly Pick<InFlight, 'unit' | 'sinceMs' | 'attempt'>[],
  ): string {
    const left = [...this.#byUnit.values()].filter(({ unit }) => !without.includes(unit));
    const units = [...left, ...toCome].map(({ unit, sinceMs, attempt }) => [
      unit,
      Math.round(sinceMs),
      attempt,
    ]);
    return units.length === 0 ? '-' : JSON.stringify({ lease, units });
  }
}

export interface RunningUnit {
  readonly unit: string;
  readonly sinceMs: number;
  readonly attempt: number;
}

/** Reads the field `running:<f>`. Empty where the field cannot be read. */
export function readRunning(text: string | undefined): {
  readonly lease: string;
  readonly units: readonly RunningUnit[];
} {
  const none = { lease: '', units: [] };
  if (text === undefined) return none;
  try {
    const { lease, units } = JSON.parse(text) as { lease?: unknown; units?: unknown };
    if (typeof lease !== 'string' || !Array.isArray(units)) return none;
    return {
      lease,
      units: (units as unknown[][]).map(([unit, sinceMs, attempt]) => ({
        unit: String(unit),
        sinceMs: Number(sinceMs),
        attempt: Number(attempt),
      })),
    };
  } catch {
    return none;
  }
}

export interface ReleaseOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly fn: string;
  readonly partition: number;
  readonly leaseValue: string;
  readonly leaseTtlMs: number;
}

/**
 * Makes the slow events of earlier owners due. To be called before the first turn.
 * @returns their number; null: the lease is lost
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function releaseRunning(options: ReleaseOptions): Promise<number | null> {
  const { connection, keys, fn, partition, leaseValue, leaseTtlMs } = options;
  const reply = (await script.run(
    connection,
    [keys.lease(partition, fn), keys.counters(partition), keys.due(partition, fn)],
    [leaseValue, leaseTtlMs, fn],
  )) as [string, number];
  return reply[0] === 'stale' ? null : Number(reply[1]);
}

/** Result of a batch, with the handlers that were left to run. */
export interface SettledBatch extends Omit<BatchResult, 'running'> {
  /** Events without an outcome: their handlers were left to run, or they run again. */
  readonly unsettled?: readonly Unsettled[];
  /** Indices of the events in `blocked` that were only not started. */
  readonly left?: ReadonlySet<number>;
  /** Identities of the events. Absent: the function has no inbox. */
  readonly ids?: readonly string[];
}

/** A batch some of whose handlers have not ended yet. */
export class OpenBatch {
  readonly unsettled: Unsettled[] = [];
  readonly #from: SettledBatch;
  readonly #failures: Failure[];
  readonly #emitted: Emitted[];
  readonly #ages: number[];

  constructor(from: BatchResult) {
    this.#from = from;
    this.#failures = [...from.failures];
    this.#emitted = [...from.emitted];
    this.#ages = [...from.ages];
  }

  /**
   * Adds the outcome of a handler.
   * @returns false: the dispatcher has ended the handler, and the event has no outcome
   */
  end(ref: EventRef, end: Ended): boolean {
    const { states } = this.#from;
    if (end.kind === 'stopped') return false;
    if (end.kind === 'done') {
      moveTo(states, ref.index, CELL.DONE);
      if (end.emitted) this.#emitted.push(end.emitted);
      for (const n of end.ages) this.#ages.push(n);
    } else if (end.kind === 'failed') {
      moveTo(states, ref.index, CELL.FAILED);
      this.#failures.push({ ...end.failure, ref });
    } else {
      moveTo(states, ref.index, CELL.RUNNING);
      this.unsettled.push({ ref, delayMs: 0, isolate: end.isolate });
    }
    return true;
  }

  result(): SettledBatch {
    return {
      ...this.#from,
      failures: this.#failures,
      emitted: this.#emitted,
      ages: this.#ages,
      unsettled: this.unsettled,
    };
  }
}
