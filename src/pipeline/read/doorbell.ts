/**
 * Wakes idle lanes: one blocking XREAD (without a group, COUNT 1) over all streams, on a connection
 * of its own. It rings for any append, ours or a foreign producer's.
 *
 * Redis is not asked while no lane is idle. Lanes that find much (hot) are rung without asking,
 * while the dispatcher's thread is busy. The pauses follow that load: an idle thread rests not at
 * all.
 *
 * `seen` only grows. Each reader of a stream says how far it has read (observe). A greater id wakes
 * the other idle lanes of that stream. So only a lane that reads again anyway can miss an entry.
 */
import { monotonicMs, sleep } from '../../core/clock.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { Loop, type Lifecycle } from '../../core/lifecycle.ts';
import { LoopLoad } from '../../core/loop-load.ts';
import { compareEntryIds } from '../../core/position.ts';
import type { RedisConnection } from '../../redis/contract.ts';

export interface Bell {
  readonly streamKeys: readonly string[];
  ring(): void;
  /** Whether it waits for a ring. */
  readonly idle: boolean;
  /** Whether its last look found so much that it may look again without a ring. */
  readonly hot: boolean;
}

export interface DoorbellOptions {
  /** A connection for blocking reads. The doorbell owns it. */
  readonly connection: RedisConnection;
  /** Longest blocking read, ms. */
  readonly blockMs: number;
  readonly failed: (error: unknown) => void;
}

/**
 * Pause between two answers under load, ms, so that a busy stream does not ring for every entry.
 */
const REST_MS = 1;
/** Pause between two rings of lanes that are hot, under full load, ms. */
const HOT_REST_MS = 4;
/** Pause after a failure, ms. */
const RETRY_MS = 200;

export class Doorbell implements Lifecycle {
  readonly #options: DoorbellOptions;
  /** The last id that a reader has seen, by stream. Null: not known yet. */
  readonly #seen = new Map<string, string | null>();
  /** Bells by stream. */
  readonly #bells = new Map<string, Set<Bell>>();
  #wake: (() => void) | null = null;
  /** Time of the last ring, by monotonicMs(). */
  #rangMs = -Infinity;
  readonly #load = new LoopLoad();
  readonly #loop: Loop;

  constructor(options: DoorbellOptions) {
    this.#options = options;
    this.#loop = new Loop({
      pass: (signal) => this.#listenOnce(signal),
      failed: (error) => this.#missed(error),
    });
  }

  add(bell: Bell): void {
    for (const key of bell.streamKeys) {
      if (!this.#seen.has(key)) this.#seen.set(key, null);
      const bells = this.#bells.get(key) ?? new Set();
      bells.add(bell);
      this.#bells.set(key, bells);
    }
    this.#wake?.();
  }

  remove(bell: Bell): void {
    for (const key of bell.streamKeys) {
      const bells = this.#bells.get(key);
      bells?.delete(bell);
      if (bells?.size === 0) {
        this.#bells.delete(key);
        this.#seen.delete(key);
      }
    }
  }

  /** Notes that a lane has read a stream up to this id. Wakes the stream's other lanes. */
  observe(streamKey: string, lastId: string, reader: Bell | null = null): void {
    const seen = this.#seen.get(streamKey);
    if (seen === undefined || (seen !== null && compareEntryIds(lastId, seen) <= 0)) return;
    this.#seen.set(streamKey, lastId);
    for (const bell of this.#bells.get(streamKey) ?? []) if (bell !== reader) bell.ring();
  }

  /** A lane has become idle. */
  nudge(): void {
    this.#wake?.();
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    const stopped = this.#loop.stop();
    this.#wake?.();
    this.#options.connection.destroy();
    await stopped;
  }

  async #listenOnce(signal: AbortSignal): Promise<void> {
    const keys = this.#streamsOfIdle();
    if (keys.length === 0) return this.#untilNudged();
    await this.#findEnds(keys);
    const hotRestMs = Math.round(HOT_REST_MS * this.#load.spacing(monotonicMs()));
    if (hotRestMs > 0 && this.#someHot()) {
      // Under load a blocking read would answer at once, with an entry's bytes for every stream,
      // and wake the lanes one by one. Waking processes and threads is the cost then. So the hot
      // lanes look for themselves, together.
      await sleep(Math.max(0, this.#rangMs + hotRestMs - monotonicMs()), signal);
      this.#rangMs = monotonicMs();
      const cold = this.#ringHot();
      if (cold.length > 0)
        for (const [key, id] of await this.#listen(cold, [])) this.observe(key, id);
      return;
    }
    for (const [key, id] of await this.#listen(keys, ['BLOCK', this.#options.blockMs]))
      this.observe(key, id);
    this.#rangMs = monotonicMs();
    if (hotRestMs > 0) await sleep(REST_MS, signal);
  }

  async #untilNudged(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
  }

  async #missed(error: unknown): Promise<void> {
    this.#options.failed(error);
    // Entries that were appended meanwhile rang no bell: every lane looks for itself.
    for (const bells of this.#bells.values()) for (const bell of bells) bell.ring();
    await sleep(RETRY_MS, this.#loop.signal);
  }

  /** Asks for new entries. Returns the id of the last one of each stream that has some. */
  async #listen(
    keys: readonly string[],
    block: readonly (string | number)[],
  ): Promise<Map<string, string>> {
    const reply = (await this.#options.connection.commandBuffer(
      'XREAD',
      'COUNT',
      1,
      ...block,
      'STREAMS',
      ...keys,
      ...keys.map((key) => this.#seen.get(key) ?? '$'),
    )) as [Buffer, [Buffer, unknown][]][] | null;
    const heard = new Map<string, string>();
    for (const [key, entries] of reply ?? []) {
      const last = entries[entries.length - 1];
      if (last) heard.set(key.toString(), last[0].toString('latin1'));
    }
    return heard;
  }

  /**
   * Finds the ends of streams that were just added: read from the beginning, every old entry would
   * ring. Their lanes look once more afterwards, for entries that came before the end was known.
   */
  async #findEnds(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      if (this.#seen.get(key) !== null) continue;
      let end = '0-0';
      try {
        const info = (await this.#options.connection.command('XINFO', 'STREAM', key)) as unknown[];
        end = String(info[info.indexOf('last-generated-id') + 1]);
      } catch (error) {
        if (!(error instanceof RedisReplyError)) throw error; // no such stream yet
      }
      if (this.#seen.get(key) === null) this.#seen.set(key, end);
      for (const bell of this.#bells.get(key) ?? []) bell.ring();
    }
  }

  #someHot(): boolean {
    for (const bells of this.#bells.values())
      for (const bell of bells) if (bell.idle && bell.hot) return true;
    return false;
  }

  /** @returns the streams of idle lanes that are not hot */
  #ringHot(): string[] {
    const cold: string[] = [];
    const hot = new Set<Bell>();
    for (const [key, bells] of this.#bells) {
      let listens = false;
      for (const bell of bells) {
        if (!bell.idle) continue;
        if (bell.hot) hot.add(bell);
        else listens = true;
      }
      if (listens) cold.push(key);
    }
    for (const bell of hot) bell.ring();
    return cold;
  }

  /**
   * Returns all streams while at least one lane is idle, else none. The streams of the other lanes
   * are among them, because those lanes may become idle during the call.
   */
  #streamsOfIdle(): string[] {
    for (const bells of this.#bells.values())
      for (const bell of bells) if (bell.idle) return [...this.#seen.keys()];
    return [];
  }
}
