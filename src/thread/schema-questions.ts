/**
 * A thread's questions to the dispatcher, over their channel. Each is answered, or taken as "not
 * known" when it takes too long.
 */
import type { BroadcastChannel } from 'node:worker_threads';
import type { ChannelMessage, SchemaAnswer, SchemaKey } from '../core/thread-protocol.ts';

/**
 * Longer than the dispatcher tries to reach the registry. An event that nobody answers for waits
 * parked, as an unknown one does.
 */
const PATIENCE_MS = 20_000;

export class SchemaQuestions {
  readonly #channel: Pick<BroadcastChannel, 'postMessage'>;
  readonly #open = new Map<
    SchemaKey,
    { readonly answer: Promise<SchemaAnswer>; readonly settle: (answer: SchemaAnswer) => void }
  >();

  constructor(channel: Pick<BroadcastChannel, 'postMessage'>) {
    this.#channel = channel;
  }

  /** Asked once at a time. */
  readonly ask = (key: SchemaKey): Promise<SchemaAnswer> => {
    const asked = this.#open.get(key);
    if (asked) return asked.answer;
    let settle!: (answer: SchemaAnswer) => void;
    const answer = new Promise<SchemaAnswer>((resolve) => (settle = resolve));
    const timer = setTimeout(() => this.answered(key, null), PATIENCE_MS);
    this.#open.set(key, {
      answer,
      settle: (value) => {
        clearTimeout(timer);
        settle(value);
      },
    });
    this.#channel.postMessage({ kind: 'schema?', key } satisfies ChannelMessage);
    return answer;
  };

  answered(key: SchemaKey, answer: SchemaAnswer): void {
    const open = this.#open.get(key);
    this.#open.delete(key);
    open?.settle(answer);
  }
}
