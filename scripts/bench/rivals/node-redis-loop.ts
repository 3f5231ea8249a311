/** The same loop by hand with node-redis, the client of Redis Ltd. */
import { loadPeer } from '../peers.ts';
import { makeOrder } from '../order.ts';
import { createOrderEncoder, orderType } from '../order-encoder.ts';
import { BATCH, GROUP, inBatches, noteOrder, nothingSeen, STREAM, type Rival } from './rival.ts';

interface BufferClient {
  xReadGroup(
    group: string,
    consumer: string,
    stream: { key: string; id: string },
    options: { COUNT: number },
  ): Promise<{ messages: { id: Buffer; message: { d: Buffer } }[] }[] | null>;
}

/** The parts of node-redis used here. The root package does not depend on it. */
interface Client {
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  xAdd(key: string, id: string, fields: { d: Buffer }): Promise<unknown>;
  xGroupCreate(
    key: string,
    group: string,
    id: string,
    options: { MKSTREAM: true },
  ): Promise<unknown>;
  xAck(key: string, group: string, ids: readonly Buffer[]): Promise<unknown>;
  withTypeMapping(mapping: Record<number, unknown>): BufferClient;
}

interface NodeRedis {
  createClient(options: { socket: { path: string } }): Client;
  readonly RESP_TYPES: { readonly BLOB_STRING: number };
}

export const nodeRedisLoop: Rival = {
  /** Commands of one turn of the event loop leave as one pipeline. */
  async publish({ server, events }) {
    const encode = createOrderEncoder();
    const client = loadPeer<NodeRedis>('redis').createClient({ socket: { path: server } });
    await client.connect();
    const ms = await inBatches(events, BATCH, async (from, to) => {
      const now = Date.now();
      const calls: Promise<unknown>[] = [];
      for (let i = from; i < to; i++)
        calls.push(client.xAdd(STREAM, '*', { d: encode(makeOrder(i, now)) }));
      await Promise.all(calls);
    });
    await client.close();
    return { events, ms, seen: nothingSeen() };
  },

  async drain({ server, events }) {
    const { createClient, RESP_TYPES } = loadPeer<NodeRedis>('redis');
    const type = orderType();
    const client = createClient({ socket: { path: server } });
    await client.connect();
    const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    await client.xGroupCreate(STREAM, GROUP, '0', { MKSTREAM: true });
    const seen = nothingSeen();
    const began = performance.now();
    let acknowledged: Promise<unknown> = Promise.resolve();
    while (seen.count < events) {
      const stream = { key: STREAM, id: '>' };
      const reply = await buffers.xReadGroup(GROUP, 'one', stream, { COUNT: BATCH });
      await acknowledged;
      const messages = reply?.[0]?.messages ?? [];
      if (messages.length === 0) break;
      for (const { message } of messages) noteOrder(seen, type.decode(message.d));
      acknowledged = client.xAck(
        STREAM,
        GROUP,
        messages.map(({ id }) => id),
      );
    }
    await acknowledged;
    const ms = performance.now() - began;
    await client.close();
    return { events: seen.count, ms, seen };
  },
};
