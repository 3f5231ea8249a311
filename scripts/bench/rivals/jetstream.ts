/** NATS JetStream: a stream in a file, and a durable consumer that acknowledges each message. */
import { makeOrder } from '../order.ts';
import { createOrderEncoder, orderType } from '../order-encoder.ts';
import { loadPeer } from '../peers.ts';
import { BATCH, GROUP, inBatches, noteOrder, nothingSeen, STREAM, type Rival } from './rival.ts';

interface Message {
  readonly data: Uint8Array;
  ack(): void;
}

interface Nats {
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** The parts of the NATS client used here. The root package does not depend on it. */
interface Transport {
  connect(options: { servers: string }): Promise<Nats>;
}
interface JetStream {
  jetstream(connection: Nats): {
    publish(subject: string, data: Uint8Array): Promise<unknown>;
    readonly consumers: {
      get(
        stream: string,
        consumer: string,
      ): Promise<{
        consume(options: {
          max_messages: number;
        }): Promise<AsyncIterable<Message> & { close(): Promise<unknown> }>;
      }>;
    };
  };
  jetstreamManager(connection: Nats): Promise<{
    readonly streams: { add(config: object): Promise<unknown> };
    readonly consumers: {
      add(stream: string, config: object): Promise<unknown>;
      info(
        stream: string,
        consumer: string,
      ): Promise<{ readonly num_ack_pending: number; readonly num_pending: number }>;
    };
  }>;
}

/** Messages that the client asks for ahead, and that may be unacknowledged. */
const AHEAD = 2 * BATCH;
const SETTLED_MS = 10_000;

async function open(server: string) {
  const connection = await loadPeer<Transport>('@nats-io/transport-node').connect({
    servers: server,
  });
  const { jetstream, jetstreamManager } = loadPeer<JetStream>('@nats-io/jetstream');
  return { connection, js: jetstream(connection), manager: await jetstreamManager(connection) };
}

export const jetstream: Rival = {
  async publish({ server, events }) {
    const encode = createOrderEncoder();
    const { connection, js, manager } = await open(server);
    await manager.streams.add({ name: STREAM, subjects: [STREAM], storage: 'file' });
    const ms = await inBatches(events, BATCH, async (from, to) => {
      const now = Date.now();
      const calls: Promise<unknown>[] = [];
      for (let i = from; i < to; i++) calls.push(js.publish(STREAM, encode(makeOrder(i, now))));
      await Promise.all(calls);
    });
    await connection.close();
    return { events, ms, seen: nothingSeen() };
  },

  async drain({ server, events }) {
    const type = orderType();
    const { connection, js, manager } = await open(server);
    await manager.consumers.add(STREAM, {
      durable_name: GROUP,
      ack_policy: 'explicit',
      max_ack_pending: 10 * AHEAD,
    });
    const consumer = await js.consumers.get(STREAM, GROUP);
    const seen = nothingSeen();
    const began = performance.now();
    const messages = await consumer.consume({ max_messages: AHEAD });
    for await (const message of messages) {
      noteOrder(seen, type.decode(message.data));
      message.ack();
      if (seen.count === events) break;
    }
    await connection.flush();
    const ms = performance.now() - began;
    await messages.close();
    for (const deadline = performance.now() + SETTLED_MS; ;) {
      const info = await manager.consumers.info(STREAM, GROUP);
      if (info.num_ack_pending + info.num_pending === 0) break;
      if (performance.now() > deadline)
        throw new Error(`${info.num_ack_pending} messages are not acknowledged`);
    }
    await connection.close();
    return { events: seen.count, ms, seen };
  },
};
