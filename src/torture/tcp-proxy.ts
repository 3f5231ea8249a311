/**
 * A TCP proxy in front of Redis that does what networks do: cuts, refuses, goes silent, loses
 * replies, is slow.
 */
import {
  createConnection,
  createServer,
  type AddressInfo,
  type NetConnectOpts,
  type Socket,
} from 'node:net';

export interface TcpProxy {
  /** redis://127.0.0.1:port */
  readonly url: string;
  readonly port: number;
  /** Connections open now. */
  readonly connections: number;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Resets every connection. */
  cutNow(): void;
  /** True: new connections are closed at once. Open ones stay. */
  refuse(on: boolean): void;
  /**
   * True: nothing is forwarded any more, in either direction, and nobody is told (bytes are lost,
   * not delayed).
   */
  halfOpen(on: boolean): void;
  /**
   * From now on requests are forwarded but their replies swallowed; after the n-th piece of a reply
   * the connection is cut and the proxy works again: executed, but the reply is lost. Resolves when
   * it has been cut.
   */
  dropRepliesThenCut(n?: number): Promise<void>;
  /** True: requests are forwarded, their replies swallowed. */
  swallowReplies(on: boolean): void;
  /** New connections lead there from now on; open ones stay where they are. */
  leadTo(upstream: Upstream): void;
  /** Milliseconds added to each direction. */
  delay(ms: number): void;
  close(): Promise<void>;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

export type Upstream =
  { readonly port: number; readonly host?: string } | { readonly socket: string };

/**
 * @param only the source addresses whose connections suffer; those of others are passed on
 *   untouched. Default: all suffer
 */
export async function openProxy(upstream: Upstream, only?: readonly string[]): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  const bystanders = new Set<Socket>();
  let refusing = false;
  let silent = false;
  let swallowing = false;
  let delayMs = 0;
  let accepted = 0;
  let dropping: { left: number; done: () => void } | null = null;

  const addressOf = (of: Upstream): NetConnectOpts =>
    'socket' in of ? { path: of.socket } : { port: of.port, host: of.host ?? '127.0.0.1' };
  let to = addressOf(upstream);
  const cut = (pair: Pair): void => {
    pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.destroy();
  };
  /** For one direction of one connection: in order, also where the delay gets shorter meanwhile. */
  const delayLine = (): ((send: () => void) => void) => {
    const line: { readonly atMs: number; readonly send: () => void }[] = [];
    const leave = (): void => {
      for (let next = line[0]; next !== undefined; next = line[0]) {
        const leftMs = next.atMs - performance.now();
        if (leftMs > 0) {
          setTimeout(leave, leftMs);
          return;
        }
        line.shift();
        next.send();
      }
    };
    return (send) => {
      if (delayMs === 0 && line.length === 0) return send();
      line.push({ atMs: performance.now() + delayMs, send });
      if (line.length === 1) leave();
    };
  };

  const passOn = (client: Socket): void => {
    const server = createConnection(to);
    bystanders.add(client);
    client.pipe(server).pipe(client);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => {});
      socket.on('close', () => {
        bystanders.delete(client);
        other.destroy();
      });
    }
  };

  const listener = createServer({ noDelay: true }, (client) => {
    accepted++;
    if (only && !only.includes(client.remoteAddress ?? '')) return passOn(client);
    if (refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const pair: Pair = { client, server: createConnection(to) };
    pairs.add(pair);
    const toServer = delayLine();
    const toClient = delayLine();
    for (const socket of [client, pair.server]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        // Half open: the other side is not told.
        if (!silent && pairs.has(pair)) cut(pair);
      });
    }
    client.on('data', (bytes) => {
      if (!silent) toServer(() => pair.server.writable && pair.server.write(bytes));
    });
    pair.server.on('data', (bytes) => {
      if (silent || swallowing) return;
      if (dropping) {
        if (--dropping.left > 0) return;
        const { done } = dropping;
        dropping = null;
        for (const each of [...pairs]) cut(each);
        done();
        return;
      }
      toClient(() => client.writable && client.write(bytes));
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;

  const close = async (): Promise<void> => {
    for (const pair of [...pairs]) cut(pair);
    for (const client of bystanders) client.destroy();
    if (listener.listening) await new Promise((resolve) => listener.close(resolve));
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get connections() {
      return pairs.size;
    },
    get accepted() {
      return accepted;
    },
    cutNow() {
      for (const pair of [...pairs]) cut(pair);
    },
    refuse(on) {
      refusing = on;
    },
    halfOpen(on) {
      silent = on;
    },
    swallowReplies(on) {
      swallowing = on;
    },
    dropRepliesThenCut: (n = 1) => new Promise((done) => (dropping = { left: n, done })),
    leadTo(next) {
      to = addressOf(next);
    },
    delay(ms) {
      delayMs = ms;
    },
    close,
  };
}
