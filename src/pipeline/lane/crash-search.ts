/**
 * An event that kills the whole dispatcher (a native crash, the kernel's out-of-memory killer)
 * leaves nobody to isolate it. So the search for it is written down in Redis: how many owners of
 * the lane died in a row with the same entries pending; from the third on its next owner runs what
 * was pending one by one, each event marked before it runs. A mark that is found again is an
 * attempt of that event, and of no other.
 *
 * One event at a time is run so in the whole process, whichever lane it is of: else the one that
 * kills would have the others' marks found again as well. The mark of one that was survived no
 * longer counts.
 *
 * A lane whose owner gives its lease back in order forgets all of it: a shutdown is charged to
 * nobody. Nor is a lease that ended while its owner lived (a stall, a pause of Redis, a jump of the
 * clock): that one says so as soon as it learns of it (not-dead.lua).
 */
import { laneName, OWNER } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { HOLDS_LEASE } from '../../wire/entries-lua.ts';

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

/** Of this process: what dies is the process. */
let line: Promise<unknown> = Promise.resolve();

/** Owners that died in a row at the same place before events are run one by one. */
const CRASHES = 3;

export interface CrashSearchOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly fn: string;
  readonly partition: number;
  readonly types: readonly string[];
  /** Default: the lane's owner. */
  readonly consumer?: string;
  readonly leaseValue: string;
  readonly leaseTtlMs: number;
  /**
   * Lease value of the owner before, where that never gave it back and is not this dispatcher; else
   * ''.
   */
  readonly presumedDead: string;
}

export class CrashSearch {
  readonly #options: CrashSearchOptions;
  /**
   * Address of the event that was running alone when the owner before died, and how often that has
   * happened.
   */
  readonly suspect: { readonly address: string; readonly deaths: number } | null;

  #leaseLost = false;
  #marked = '';

  private constructor(options: CrashSearchOptions, mark: string) {
    this.#options = options;
    const [, deaths, address] = /^(\d+) (.+)$/.exec(mark) ?? [];
    this.suspect = deaths && address ? { address, deaths: Number(deaths) } : null;
  }

  /** @returns null where there is nothing to search for; 'stale' where the lease is lost */
  static async begin(options: CrashSearchOptions): Promise<CrashSearch | null | 'stale'> {
    const {
      connection,
      keys,
      fn,
      partition,
      types,
      consumer = OWNER,
      leaseValue,
      leaseTtlMs,
      presumedDead,
    } = options;
    const lane = laneName(fn, consumer);
    const reply = (await noteCrash.run(
      connection,
      [
        keys.lease(partition, lane),
        keys.counters(partition),
        ...types.map((type) => keys.events(partition, type)),
      ],
      [leaseValue, leaseTtlMs, fn, lane, consumer, presumedDead],
    )) as [string, number, string];
    if (reply[0] === 'stale') return 'stale';
    // A mark: the search was under way, and may have passed the place where it began.
    return Number(reply[1]) >= CRASHES || String(reply[2]) !== ''
      ? new CrashSearch(options, String(reply[2]))
      : null;
  }

  /** A mark was refused: somebody else owns the lane now. */
  get leaseLost(): boolean {
    return this.#leaseLost;
  }

  /** Address of the event that runs marked, '' while none does. */
  get marked(): string {
    return this.#marked;
  }

  /**
   * Owners that died of the event at this address, as far as is known now: one that was presumed
   * dead may have come again.
   */
  async deathsOf(address: string): Promise<number> {
    return this.suspect?.address === address ? Math.max(0, await this.#write('look', address)) : 0;
  }

  /**
   * Runs the event at this address, marked. @returns false where the lease is lost: it was not run
   */
  async alone<T>(address: string, run: () => Promise<T>): Promise<T | false> {
    const before = line;
    let leave!: () => void;
    line = new Promise<void>((resolve) => (leave = resolve));
    try {
      await before;
      if ((await this.#write('begin', address)) < 0) return false;
      this.#marked = address;
      const result = await run();
      if ((await this.#write('survived', address)) < 0) return false;
      this.#marked = '';
      return result;
    } finally {
      leave();
    }
  }

  /** What was pending has been passed. */
  async end(): Promise<boolean> {
    return (await this.#write('end', '')) >= 0;
  }

  async #write(what: 'begin' | 'survived' | 'look' | 'end', address: string): Promise<number> {
    const {
      connection,
      keys,
      fn,
      partition,
      consumer = OWNER,
      leaseValue,
      leaseTtlMs,
    } = this.#options;
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
