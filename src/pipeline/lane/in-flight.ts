/**
 * Events whose handlers run beside the lane's turns: their turn has ended without them. Each is
 * parked by that turn's commit, as the head of its unit's list, with its attempts as they were;
 * later events of its subject queue behind it. When its handler has settled, a turn commits what it
 * came to, as that of a retry.
 *
 * `running:<f>` in the counters names them: JSON {"lease", "units": [[unit, ms since 1970,
 * attempt], ...]}, written with every commit that changes them. Whoever owns the lane next, or
 * starts over, makes them due at once (release-running.lua). They are parked until long after their
 * time is over, so that nothing takes them for due meanwhile; where that happens all the same, this
 * owner leaves them alone.
 *
 * Owned here: which they are. Everything that must survive is in Redis.
 */
import type { EventRef, Failure } from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import type { Unsettled } from '../commit/commit.ts';
import type { BatchResult, Ended } from '../run/run-isolating.ts';

const script = defineScript({ url: new URL('./release-running.lua', import.meta.url), keys: 3 });

/**
 * Handlers of a lane that may run beside its turns, and bytes of the batches they came with (a
 * thread keeps those).
 */
export const IN_FLIGHT = { events: 64, bytes: 16 * 1024 * 1024 } as const;
/** Behind the end of an event's time, its commit must be late by this before it looks due. */
const SLACK_MS = 30_000;

/** How long an event whose handler runs is parked for, in ms. */
export const parkedForMs = (timeoutMs: number): number => timeoutMs + SLACK_MS;

export interface InFlight {
  readonly unit: string;
  /** Its parked record. */
  readonly record: Buffer;
  readonly attempt: number;
  /** Wall clock, ms. */
  readonly sinceMs: number;
  readonly ended: Promise<Ended>;
  readonly ref: EventRef;
  /** Of its batch: shared by the events of one. */
  readonly batch: { readonly bytes: number };
  /** Null: its handler runs. */
  end: Ended | null;
}

export class InFlights {
  readonly #byUnit = new Map<string, InFlight>();
  readonly #rang: () => void;

  /** @param rang told when one has ended */
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

  /** Those that have ended and whose end is not committed. */
  ended(): InFlight[] {
    return [...this.#byUnit.values()].filter(({ end }) => end !== null && end.kind !== 'stopped');
  }

  /** Its end is committed. */
  settle(unit: string): void {
    this.#byUnit.delete(unit);
  }

  /** Resolves when none of their handlers runs any more. What they came to is forgotten. */
  async drop(): Promise<void> {
    await Promise.all([...this.#byUnit.values()].map(({ ended }) => ended));
    this.#byUnit.clear();
  }

  /** For `running:<f>`, once those without are settled and those to come run too; '-': none. */
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

/** What `running:<f>` says. Empty where it cannot be read. */
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
 * Of owners before this one. Before the first turn.
 * @returns how many there were; null: the lease is lost
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

/** What a batch has come to, handlers that are not waited for among it. */
export interface SettledBatch extends Omit<BatchResult, 'running'> {
  readonly unsettled?: readonly Unsettled[];
  /** Of `blocked`: what was only not started. */
  readonly left?: ReadonlySet<number>;
  /** Of a function with an inbox: the events' identities. */
  readonly ids?: readonly string[];
}

/** A batch of which handlers still end. */
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

  /** @returns false: the dispatcher has ended it, and nothing is known of its event */
  end(ref: EventRef, end: Ended): boolean {
    const { states } = this.#from;
    if (end.kind === 'stopped') return false;
    if (end.kind === 'done') {
      states[ref.index] = CELL.DONE;
      if (end.emitted) this.#emitted.push(end.emitted);
      for (const n of end.ages) this.#ages.push(n);
    } else if (end.kind === 'failed') {
      states[ref.index] = CELL.FAILED;
      this.#failures.push({ ...end.failure, ref });
    } else {
      states[ref.index] = CELL.RUNNING;
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
