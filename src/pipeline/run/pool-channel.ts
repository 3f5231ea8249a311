/** The channel to all threads of a pool at once: teardown, writers' schemas, last words. */
import { BroadcastChannel } from 'node:worker_threads';
import type {
  ChannelMessage,
  OutputPiece,
  SchemaAnswer,
  SchemaKey,
  SchemaQuestion,
  UncaughtError,
} from '../../core/thread-protocol.ts';

export interface ChannelParts {
  /**
   * Answers a thread's question about a writer's schema. Default: nothing is known. Must not
   * reject.
   */
  readonly answer?: (key: SchemaKey) => Promise<SchemaAnswer>;
  /** Told of logs and prints of functions, where the threads capture them. */
  readonly output?: (piece: OutputPiece) => void;
  /** Told why a thread has ended by itself, where the thread could say so. */
  readonly uncaught?: (error: UncaughtError) => void;
}

export class PoolChannel {
  readonly #parts: ChannelParts;
  readonly #channel: BroadcastChannel;
  #tornDown: () => void = () => undefined;
  #flushed: () => void = () => undefined;
  #closed = false;

  constructor(name: string, parts: ChannelParts) {
    this.#parts = parts;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = (event: unknown) =>
      this.#receive((event as { data: ChannelMessage }).data);
  }

  /** Resolves when so many threads have run their functions' teardown(), or the time is over. */
  async tearDown(threads: number, deadlineMs: number): Promise<void> {
    if (threads === 0 || deadlineMs === 0) return;
    await new Promise<void>((resolve) => {
      let answers = 0;
      const timer = setTimeout(resolve, deadlineMs);
      this.#tornDown = () => {
        if (++answers < threads) return;
        clearTimeout(timer);
        resolve();
      };
      this.#post('teardown');
    });
  }

  /**
   * Resolves when a thread has sent all output so far, or the time is over. For a pool of one
   * thread that captures output.
   */
  async flush(deadlineMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#flushed = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#post('flush');
    });
  }

  close(): void {
    this.#closed = true;
    this.#channel.close();
  }

  #receive(message: ChannelMessage): void {
    if (message === 'torn-down') this.#tornDown();
    else if (message === 'flushed') this.#flushed();
    else if (typeof message !== 'object') return;
    else if (message.kind === 'output') this.#parts.output?.(message.piece);
    else if (message.kind === 'uncaught') this.#parts.uncaught?.(message.uncaught);
    else if (message.kind === 'schema?') void this.#reply(message);
  }

  async #reply({ key, lost }: SchemaQuestion): Promise<void> {
    const answer = (await this.#parts.answer?.(key)) ?? null;
    // Once the channel is closed, nobody waits for the answer.
    if (!this.#closed) this.#post({ kind: 'schema', key, lost, answer });
  }

  #post(message: ChannelMessage): void {
    this.#channel.postMessage(message);
  }
}
