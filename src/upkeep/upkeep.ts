/**
 * The upkeep of a dispatcher beside its lanes, every MILLRACE_UPKEEP_MS, in the partitions where it
 * owns a lane:
 * - it counts the events of foreign producers,
 * - it notices entries that have vanished,
 * - it trims the streams to the limits of their types,
 * - it looks whether parked events are parked for a reason.
 *
 * Several dispatchers may do so at once: each step is one script that changes nothing twice.
 */
import { wallClockMs } from '../core/clock.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { failureLevel, type Log } from '../core/log.ts';
import { cut } from '../core/well-formed.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { counterFields } from '../redis/counters.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { noteLoss } from '../lag/losses.ts';
import { describeUnserved, findUnserved, type Unserved } from '../lag/unserved.ts';
import { ParkedSweep, type SweptLane } from './parked-sweep.ts';
import { retain } from './retention.ts';
import { noteSpoilt } from './spoilt-counts.ts';
import { readTypeLimits, type TypeLimits } from './type-limits.ts';

export interface UpkeepOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
  readonly everyMs: number;
  /** Lanes that run here now. */
  readonly lanes: () => readonly SweptLane[];
  readonly log: Log;
}

/** Shortest time between two repeats of one alarm, ms. */
const REPEAT_MS = 60_000;

export class Upkeep implements Lifecycle {
  readonly #options: UpkeepOptions;
  readonly #told = new Map<string, number>();
  readonly #sweep: ParkedSweep;
  readonly #loop: Loop;
  #unserved: readonly Unserved[] = [];

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#sweep = new ParkedSweep(options.connection, options.keys);
    this.#loop = new Loop({
      pass: () => this.#round(),
      // The random part keeps dispatchers from looking at the same moment.
      pauseMs: () => options.everyMs * (0.75 + Math.random() / 2),
      pausesFirst: true,
      failed: (error) =>
        options.log(failureLevel(error), 'upkeep failed, trying again', { err: error }),
    });
  }

  /** Events in partitions that the deployment does not have, as of the last round. */
  get unserved(): readonly Unserved[] {
    return this.#unserved;
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  async #round(): Promise<void> {
    const limits = await readTypeLimits(this.#options);
    const partitions = new Map<number, Set<string>>();
    for (const lane of this.#options.lanes()) {
      const types = partitions.get(lane.partition) ?? new Set(limits.keys());
      for (const type of lane.types) types.add(type);
      partitions.set(lane.partition, types);
    }
    for (const [partition, types] of partitions) {
      for (const type of types) {
        if (this.#loop.signal.aborted) return;
        await this.#stream(partition, type, limits.get(type));
      }
      await this.#counts(partition);
    }
    for (const lane of this.#options.lanes()) {
      if (this.#loop.signal.aborted) return;
      await this.#parked(lane);
    }
    await this.#lookBeyond(new Set([...partitions.values()].flatMap((types) => [...types])));
    // A problem that has ended and comes again is told at once.
    for (const [key, atMs] of this.#told)
      if (wallClockMs() - atMs > 2 * REPEAT_MS) this.#told.delete(key);
  }

  async #lookBeyond(types: ReadonlySet<string>): Promise<void> {
    const { partitions, log } = this.#options;
    this.#unserved = await findUnserved(this.#options, types);
    if (this.#unserved.length > 0 && this.#tell('unserved'))
      log('error', `UNSERVED: ${describeUnserved(partitions, this.#unserved)}`, {
        streams: this.#unserved.slice(0, 20),
      });
  }

  async #stream(partition: number, type: string, limits: TypeLimits | undefined): Promise<void> {
    const { connection, keys, log } = this.#options;
    const { lost } = await adoptForeign(connection, keys, partition, type);
    if (lost > 0)
      log(
        'error',
        'LOSS: entries have vanished from a stream although retention did not take them; "millrace losses" has the range',
        { type, partition, entries: lost },
      );
    if (limits === undefined) return;
    const { events, held } = await retain(
      this.#options,
      partition,
      type,
      limits,
      this.#loop.signal,
    );
    if (events > 0) log('info', 'trimmed', { type, partition, events });
    if (held && this.#tell(`held ${type} ${held.function}`)) {
      log(
        'warn',
        'RETENTION HELD: a stream stays above its limit because a function has not settled its events',
        {
          type,
          partition,
          function: held.function,
          entryId: held.entryId,
          ageMs: wallClockMs() - held.sinceMs,
          remedy: 'let it catch up; or, if it is deployed no more: millrace functions remove',
        },
      );
    }
  }

  async #counts(partition: number): Promise<void> {
    const { connection, keys, log } = this.#options;
    const counters = await noteSpoilt(connection, keys, partition);
    if (counters.length > 0)
      log('error', 'LOSS: counters held no number, and count on from 0', {
        partition,
        counters: counters.slice(0, 20),
      });
  }

  async #parked(lane: SweptLane): Promise<void> {
    const { connection, keys, log } = this.#options;
    const { fn, partition } = lane;
    const { wedged, missing, corrected } = await this.#sweep.sweep(lane);
    for (const { unit, why, events } of wedged) {
      const message = `a parked subject had no reason to wait (${why}) and has been set free: ${cut(unit, 200)}`;
      log('error', `WEDGED: ${message}`, { function: fn, partition, events });
      await noteLoss(connection, keys, partition, {
        kind: 'wedged',
        function: fn,
        from: '',
        to: '',
        count: events,
        message,
      });
    }
    if (corrected !== 0) {
      const message = `the count of parked events was ${corrected} too low and has been corrected. Redis has applied a transaction in part (a torn append-only file), or somebody has changed the counters`;
      log('error', `LOSS: ${message}`, { function: fn, partition });
      await noteLoss(connection, keys, partition, {
        kind: 'counts',
        function: fn,
        from: '',
        to: '',
        count: corrected,
        message,
      });
    }
    if (missing === 0) return;
    // The counter keeps the loss from being told again, also after the lane has moved.
    const field = counterFields.unparked(fn);
    const known = Number((await connection.command('HGET', keys.counters(partition), field)) ?? 0);
    if (missing > known) {
      const message = `${missing} events are counted as parked and are in no list`;
      log('error', `LOSS: ${message}`, { function: fn, partition });
      await noteLoss(connection, keys, partition, {
        kind: 'parked',
        function: fn,
        from: '',
        to: '',
        count: missing - known,
        message,
      });
      await connection.command('HSET', keys.counters(partition), field, missing);
    }
  }

  #tell(key: string): boolean {
    const now = wallClockMs();
    if (now - (this.#told.get(key) ?? -Infinity) < REPEAT_MS) return false;
    this.#told.set(key, now);
    return true;
  }
}
