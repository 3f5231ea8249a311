/**
 * A thread's questions to the dispatcher, over their channel. A question that takes too long is
 * answered with "not known".
 */
import type { BroadcastChannel } from 'node:worker_threads';
import type {
  ChannelMessage,
  SchemaAnswer,
  SchemaKey,
  SchemaQuestion,
} from '../core/thread-protocol.ts';

/**
 * Time to wait for an answer, ms. The dispatcher gives up on the registry earlier. An event without
 * an answer waits parked, like one with an unknown schema.
 */
const PATIENCE_MS = 20_000;

export class SchemaQuestions {
  readonly #channel: Pick<BroadcastChannel, 'postMessage'>;
  /** Open questions by key and loss. */
  readonly #open = new Map<
    string,
    { readonly answer: Promise<SchemaAnswer>; readonly settle: (answer: SchemaAnswer) => void }
  >();

  constructor(channel: Pick<BroadcastChannel, 'postMessage'>) {
    this.#channel = channel;
  }

  /** Asks a question. The same question is under way only once. */
  readonly ask = (key: SchemaKey, lost: number): Promise<SchemaAnswer> => {
    const question: SchemaQuestion = { key, lost };
    const asked = this.#open.get(nameOf(question));
    if (asked) return asked.answer;
    let settle!: (answer: SchemaAnswer) => void;
    const answer = new Promise<SchemaAnswer>((resolve) => (settle = resolve));
    const timer = setTimeout(() => this.answered(question, null), PATIENCE_MS);
    this.#open.set(nameOf(question), {
      answer,
      settle: (value) => {
        clearTimeout(timer);
        settle(value);
      },
    });
    this.#channel.postMessage({ kind: 'schema?', ...question } satisfies ChannelMessage);
    return answer;
  };

  answered(question: SchemaQuestion, answer: SchemaAnswer): void {
    const name = nameOf(question);
    const open = this.#open.get(name);
    this.#open.delete(name);
    open?.settle(answer);
  }
}

function nameOf({ key, lost }: SchemaQuestion): string {
  return `${lost} ${key}`;
}
