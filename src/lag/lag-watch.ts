/**
 * Keeps the readings of the last minute, so that the lag has rates. The process that shows rates
 * keeps them: one with an admin server, or a command between two looks.
 */
import { monotonicMs } from '../core/clock.ts';
import type { RedisSource } from '../redis/source.ts';
import { readLag, type LagReport } from './lag.ts';
import { rateLag, type RatedLag } from './rates.ts';

/** Time that rates look back, ms. */
const WINDOW_MS = 60_000;
/** Shortest time between two readings that are kept, ms. So at most 13 are. */
const SPACING_MS = 5000;

export class LagWatch {
  readonly #source: RedisSource;
  readonly #maxBacklogs: () => Promise<ReadonlyMap<string, number>>;
  /** Readings of the last minute, oldest first; at least the last one. */
  readonly #readings: { readonly atMs: number; readonly report: LagReport }[] = [];

  /** @param maxBacklogs reads the backlog limits of the types */
  constructor(source: RedisSource, maxBacklogs: () => Promise<ReadonlyMap<string, number>>) {
    this.#source = source;
    this.#maxBacklogs = maxBacklogs;
  }

  /**
   * Reads the lag, with the rates since the readings before.
   * @throws UnknownOutcomeError, RedisReplyError
   */
  async read(): Promise<RatedLag> {
    const [report, maxBacklogs] = await Promise.all([readLag(this.#source), this.#maxBacklogs()]);
    const before = this.#readings.map((reading) => reading.report);
    this.#keep(report);
    const { partitions } = this.#source;
    return rateLag([...before, report], { partitions, maxBacklogs });
  }

  #keep(report: LagReport): void {
    const atMs = monotonicMs();
    const readings = this.#readings;
    if (atMs - (readings.at(-1)?.atMs ?? -Infinity) < SPACING_MS) return;
    readings.push({ atMs, report });
    while (atMs - (readings[0]?.atMs ?? atMs) > WINDOW_MS) readings.shift();
  }
}
