/**
 * The search for an event that kills the whole dispatcher, by a native crash or the kernel's
 * out-of-memory killer. Nobody is left to isolate such an event, so the search is written down in
 * Redis. Redis counts the lane's owners that died in a row with the same entries pending.
 *
 * From the third death on, the next owner runs the pending events one by one. It marks each event
 * before it runs. A mark that a later owner finds counts as an attempt of that event alone.
 *
 * Run one suspect at a time per process. Two at once would leave both marked after a crash, and
 * blame the innocent one. A mark that its owner survived no longer counts.
 *
 * An owner that gives its lease back in order is charged with nothing. It erases the search only
 * once all that was pending or due at its start has run. Else the next owner goes on with the
 * search.
 * A lease may also end while its owner lives: a stall, a pause of Redis, a jump of the clock. The
 * owner says so as soon as it learns of the loss (not-dead.lua), and nobody is charged.
 */
import { laneName } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { HOLDS_LEASE } from '../../redis/lua/shared.ts';
import type { HeldLane } from './lane-address.ts';

const noteCrash = defineScript({
  url: new URL('./note-crash.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 'variable',
});
const markSuspect = defineScript({
  url: new URL('./mark-suspect.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 2,
});

/** The queue of the suspects of this process: a crash ends the whole process. */
let line: Promise<unknown> = Promise.resolve();

/** Owners that died in a row at the same place, from which on events run one by one. */
const CRASHES = 3;

export interface CrashSearchOptions extends HeldLane {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly types: readonly string[];
  readonly leaseTtlMs: number;
}

export class CrashSearch {
  readonly #options: CrashSearchOptions;
  /** Address of the event that ran alone when the earlier owner died, and its deaths so far. */
  readonly suspect: { readonly address: string; readonly deaths: number } | null;

  /** Whether the pending events run one by one. Else earlier owners have died, but too few. */
  readonly underWay: boolean;

  #leaseLost = false;
  #marked = '';
  /** Deaths of the marked event, without its run. */
  #deathsBefore = 0;

  private constructor(options: CrashSearchOptions, deaths: number, mark: string) {
    this.#options = options;
    // A mark says that a search was under way. It may have passed the place where it began.
    this.underWay = deaths >= CRASHES || mark !== '';
    const [, count, address] = /^(\d+) (.+)$/.exec(mark) ?? [];
    this.suspect = count && address ? { address, deaths: Number(count) } : null;
  }

  /** @returns null: no owner has died here; 'stale': the lease is lost */
  static async begin(options: CrashSearchOptions): Promise<CrashSearch | null | 'stale'> {
    const { connection, keys, fn, partition, types, consumer } = options;
    const { leaseValue, leaseTtlMs } = options;
    const lane = laneName(fn, consumer);
    const reply = (await noteCrash.run(
      connection,
      [
        keys.lease(partition, lane),
        keys.counters(partition),
        ...types.map((type) => keys.events(partition, type)),
      ],
      [leaseValue, leaseTtlMs, fn, lane, consumer],
    )) as [string, number, string];
    if (reply[0] === 'stale') return 'stale';
    const [, deaths, mark] = reply;
    return Number(deaths) > 0 || String(mark) !== ''
      ? new CrashSearch(options, Number(deaths), String(mark))
      : null;
  }

  /** Whether a mark was refused: somebody else owns the lane now. */
  get leaseLost(): boolean {
    return this.#leaseLost;
  }

  /** Address of the event that runs marked, '' without one. */
  get marked(): string {
    return this.#marked;
  }

  /**
   * Asks how many owners died of the event at this address. An owner that was presumed dead may
   * have come again meanwhile.
   */
  async deathsOf(address: string): Promise<number> {
    return this.suspect?.address === address ? Math.max(0, await this.#write('look', address)) : 0;
  }

  /** Runs the event at this address, marked. @returns false: the lease is lost */
  async alone<T>(address: string, run: () => Promise<T>): Promise<T | false> {
    const before = line;
    let leave!: () => void;
    line = new Promise<void>((resolve) => (leave = resolve));
    try {
      await before;
      // A run that failed, or whose end could not be written, has left its mark.
      if (!(await this.#unmark())) return false;
      if (!(await this.#mark(address))) return false;
      const result = await run();
      return (await this.#unmark()) ? result : false;
    } finally {
      leave();
    }
  }

  /**
   * Marks an event. It counts as marked from here on, because the answer may be lost.
   * @returns false: the lease is lost
   */
  async #mark(address: string): Promise<boolean> {
    this.#deathsBefore = await this.#write('look', address);
    if (this.#deathsBefore < 0) return false;
    this.#marked = address;
    return (await this.#write('begin', address)) >= 0;
  }

  /**
   * Takes the mark back. Looks first, because an earlier call may have had no answer.
   * @returns false: the lease is lost
   */
  async #unmark(): Promise<boolean> {
    if (this.#marked === '') return true;
    const deaths = await this.#write('look', this.#marked);
    if (deaths < 0) return false;
    if (deaths > this.#deathsBefore && (await this.#write('survived', this.#marked)) < 0)
      return false;
    this.#marked = '';
    return true;
  }

  /** Ends the search, and forgets the deaths: all pending events have run. */
  async end(): Promise<boolean> {
    return (await this.#write('end', '')) >= 0;
  }

  async #write(what: 'begin' | 'survived' | 'look' | 'end', address: string): Promise<number> {
    const { connection, keys, fn, partition, consumer, leaseValue, leaseTtlMs } = this.#options;
    const lane = laneName(fn, consumer);
    const deaths = Number(
      await markSuspect.run(
        connection,
        [keys.lease(partition, lane), keys.counters(partition)],
        [
          leaseValue,
          leaseTtlMs,
          lane,
          what,
          address,
          this.suspect?.address === address ? this.suspect.deaths : 0,
        ],
      ),
    );
    this.#leaseLost ||= deaths < 0;
    return deaths;
  }
}
