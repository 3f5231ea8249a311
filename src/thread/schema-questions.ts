/**
 * A thread's questions to the dispatcher, over their channel. A question that takes too long is
 * answered with "not known".
 */
import type { BroadcastChannel } from 'node:worker_threads';
import type { ChannelMessage, SchemaAnswer, SchemaKey } from '../core/thread-protocol.ts';

/**
 * Time to wait for an answer, ms. The dispatcher gives up on the registry earlier. An event without
 * an answer waits parked, like one with an unknown schema.
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

  /** Asks a question. The same question is under way only once. */
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
