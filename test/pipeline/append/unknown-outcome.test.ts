/**
 * The client may still hold a sending whose outcome is unknown. In a Cluster ioredis writes the
 * command once more on a late MOVED, or when a node's connection is up. The bytes must therefore
 * stay as they are, though the caller has given them up.
 */
import t from 'tap';
import { UnknownOutcomeError } from '../../../src/core/errors/server-errors.ts';
import { Publisher } from '../../../src/pipeline/append/publisher.ts';
import { DEFAULT_PUBLISHER } from '../../../src/pipeline/append/publisher-options.ts';
import type { RedisConnection, RedisSender, ScriptCall } from '../../../src/redis/contract.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { AppendQueue } from '../../../src/store/append-queue.ts';
import { encodeEvent } from '../../../src/wire/batch-writer.ts';
import { createCatalog } from '../../../src/wire/catalog.ts';
import { encodeExpected } from '../../../src/store/append-history.ts';

type Answer = readonly string[] | 'unknown';

/** A client that holds on to the arguments it was given. The test says what Redis answers. */
class HoldingClient {
  /** Answers of the next sendings; those after them get none. */
  readonly answers: Answer[] = [];
  readonly #held: { readonly bytes: Buffer; readonly asGiven: Buffer }[] = [];

  get connection(): RedisConnection {
    const sender = { script: (call: ScriptCall) => this.#script(call) };
    const client = { until: () => sender as unknown as RedisSender };
    return client as unknown as RedisConnection;
  }

  /** Whether the arguments of every sending are still those that were given. */
  get intact(): boolean {
    return this.#held.every(({ bytes, asGiven }) => bytes.equals(asGiven));
  }

  /** The memory of each sending's events, in order. */
  get memory(): readonly ArrayBufferLike[] {
    return this.#held.map(({ bytes }) => bytes.buffer);
  }

  #script({ args }: ScriptCall): Promise<unknown> {
    const bytes = args.filter((arg) => Buffer.isBuffer(arg)).at(-1) as Buffer;
    this.#held.push({ bytes, asGiven: Buffer.from(bytes) });
    const answer = this.answers.shift() ?? 'unknown';
    return answer === 'unknown'
      ? Promise.reject(new UnknownOutcomeError('append.lua'))
      : Promise.resolve(answer);
  }
}

const keys = createKeys('mr');
const PROTO = `
syntax = "proto3";
import "millrace/v1/options.proto";
message Noted {
  option (millrace.v1.event) = { type: "test.noted", subject: "key" };
  string key = 1;
  string text = 2;
}
`;

function publisherOf(client: HoldingClient, deadlineMs: number): Publisher {
  return new Publisher({
    connection: client.connection,
    keys,
    catalog: createCatalog([{ name: 'noted.proto', text: PROTO }]),
    schemas: new Map(),
    partitions: 1,
    confirm: { kind: 'none' },
    settings: { ...DEFAULT_PUBLISHER, deadlineMs },
  });
}
const note = (publisher: Publisher, text: string) =>
  publisher.publish<string>('test.noted', { key: 'k', text });

t.test('a publisher does not write over a flush that it has given up', async (t) => {
  const client = new HoldingClient();
  const publisher = publisherOf(client, 1);
  await t.rejects(note(publisher, 'first'), { code: 'UNKNOWN_OUTCOME' } as unknown as Error);
  client.answers.push(['ok', '1-1']);
  await note(publisher, 'second');
  t.ok(client.intact, 'as given');
});

t.test('nor over one that was answered when it was sent again', async (t) => {
  const client = new HoldingClient();
  const publisher = publisherOf(client, 5000);
  client.answers.push('unknown', ['duplicate', '1-1'], ['ok', '2-1']);
  await note(publisher, 'first');
  await note(publisher, 'second');
  t.equal(client.memory.length, 3);
  t.ok(client.intact, 'as given');
});

t.test('the memory of a flush that was answered at once is used again', async (t) => {
  const client = new HoldingClient();
  const publisher = publisherOf(client, 5000);
  client.answers.push(['ok', '1-1'], ['ok', '2-1']);
  await note(publisher, 'first');
  await note(publisher, 'second');
  t.equal(client.memory[0], client.memory[1]);
});

t.test('an event store does not write over a batch that it has given up', async (t) => {
  const client = new HoldingClient();
  const queue = new AppendQueue({
    connection: client.connection,
    keys,
    partitions: 1,
    confirm: { kind: 'none' },
    settings: { maxEvents: 10, bufferBytes: 65_536, deadlineMs: 1, source: 'test' },
    gap: () => undefined,
  });
  const append = (text: string) => {
    const buffer = encodeEvent({
      id: text,
      subject: 'k',
      dataBuffer: Buffer.from(text),
      dataStart: 0,
      dataEnd: text.length,
      timeMs: 0,
      source: '',
      schema: 0,
      position: 0,
      extensions: null,
    });
    return queue.add({
      partition: 0,
      category: 'c',
      id: 'h',
      expected: encodeExpected('any'),
      remember: null,
      buffer,
      events: [{ type: 'test.noted', start: 0, end: buffer.length }],
      bytes: buffer.length,
    });
  };
  for (const text of ['first', 'second'])
    await t.rejects(append(text), { code: 'UNKNOWN_OUTCOME' } as unknown as Error);
  t.ok(client.intact, 'as given');
});
