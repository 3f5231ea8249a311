/**
 * Wakes idle lanes: one blocking XREAD (without a group, COUNT 1) over all streams, on a connection
 * of its own.
 *
 * It rings for any append, ours or a foreign producer's. It is not asked while no lane is idle, and
 * lanes that find much (hot) are rung without asking. `seen` only grows; whoever reads a stream
 * says how far (observe), and whatever moves it forward wakes the idle lanes of that stream: an
 * entry can be overlooked only by a lane that reads again anyway.
 */
import { sharedAbort } from '../../core/shared-signal.ts';
import { monotonicMs, sleep } from '../../core/clock.ts';
import { RedisReplyError } from '../../core/errors.ts';
import { compareEntryIds } from '../../core/position.ts';
import type { RedisConnection } from '../../redis/contract.ts';

export interface Bell {
  readonly streamKeys: readonly string[];
  ring(): void;
  /** Whether it waits for a ring. */
  readonly idle: boolean;
  /** Its last look found so much that it may as well look again without being told. */
  readonly hot: boolean;
}

export interface DoorbellOptions {
  /** A connection for blocking reads. */
  readonly connection: RedisConnection;
  readonly blockMs: number;
  readonly failed: (error: unknown) => void;
}

/** Between two answers, so that a busy stream does not ring for every entry. */
const REST_MS = 1;
/** Between two rings of lanes that are hot. */
const HOT_REST_MS = 4;
const RETRY_MS = 200;

export class Doorbell {
  readonly #options: DoorbellOptions;
  /** Per stream the id up to which somebody has looked; null: not known yet. */
  readonly #seen = new Map<string, string | null>();
  readonly #bells = new Map<string, Set<Bell>>();
  readonly #stop = sharedAbort();
  #wake: (() => void) | null = null;
  #loop: Promise<void> | null = null;

  constructor(options: DoorbellOptions) {
    this.#options = options;
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

  /** Somebody has read a stream up to this id: whoever else waits for it is woken. */
  observe(streamKey: string, lastId: string, reader: Bell | null = null): void {
    const seen = this.#seen.get(streamKey);
    if (seen === undefined || (seen !== null && compareEntryIds(lastId, seen) <= 0)) return;
    this.#seen.set(streamKey, lastId);
    for (const bell of this.#bells.get(streamKey) ?? []) if (bell !== reader) bell.ring();
  }

  /** A lane turned idle. */
  nudge(): void {
    this.#wake?.();
  }

  start(): void {
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    this.#options.connection.destroy();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let rangMs = -Infinity;
    while (!signal.aborted) {
      const keys = this.#streamsOfIdle();
      if (keys.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
        continue;
      }
      try {
        await this.#findEnds(keys);
        if (this.#someHot()) {
          // Under load a blocking read would answer at once, with an entry's bytes for every
          // stream, and wake the lanes one by one: what costs then is the waking of processes and
          // threads. So the hot ones look for themselves, together.
          await sleep(Math.max(0, rangMs + HOT_REST_MS - monotonicMs()), signal);
          rangMs = monotonicMs();
          const cold = this.#ringHot();
          if (cold.length > 0)
            for (const [key, id] of await this.#listen(cold, [])) this.observe(key, id);
          continue;
        }
        for (const [key, id] of await this.#listen(keys, ['BLOCK', this.#options.blockMs]))
          this.observe(key, id);
        rangMs = monotonicMs();
        await sleep(REST_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.failed(error);
        // What was appended meanwhile rang nowhere: everybody looks for himself.
        for (const bells of this.#bells.values()) for (const bell of bells) bell.ring();
        await sleep(RETRY_MS, signal);
      }
    }
  }

  /** The last entry seen of each stream that has something new. */
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
   * Where streams end that were just added: from their beginning, every entry they hold would ring.
   * Their lanes look once more afterwards, for what came before the end was known.
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
   * All streams, as long as one lane is idle: the set must not depend on who is idle while the call
   * is on its way.
   */
  #streamsOfIdle(): string[] {
    for (const bells of this.#bells.values())
      for (const bell of bells) if (bell.idle) return [...this.#seen.keys()];
    return [];
  }
}
