/**
 * A TCP proxy in front of Redis with the faults of a network: it cuts, refuses, goes silent, loses
 * replies, and is slow.
 */
import {
  createConnection,
  createServer,
  type AddressInfo,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net';
import { monotonicMs } from '../core/clock.ts';

export interface TcpProxy {
  /** redis://127.0.0.1:port */
  readonly url: string;
  readonly port: number;
  /** Number of connections open now. */
  readonly connections: number;
  /** Number of connections accepted so far. */
  readonly accepted: number;
  /** Resets every connection. */
  cutNow(): void;
  /** True: closes new connections at once. Open ones stay. */
  refuse(on: boolean): void;
  /** True: forwards nothing in either direction, and tells nobody. Bytes are lost, not delayed. */
  halfOpen(on: boolean): void;
  /**
   * Forwards requests and swallows their replies from now on. After the n-th piece of a reply it
   * cuts the connections and works again. The commands were executed, but their replies are lost.
   * Resolves when the connections are cut.
   */
  dropRepliesThenCut(n?: number): Promise<void>;
  /** True: forwards requests, swallows their replies. */
  swallowReplies(on: boolean): void;
  /** Leads new connections to another server. Open ones stay where they are. */
  leadTo(upstream: Upstream): void;
  /** Adds a delay to each direction, ms. */
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
  const proxy = new FaultyProxy(upstream, only);
  await proxy.listen();
  return proxy;
}

function addressOf(of: Upstream): NetConnectOpts {
  return 'socket' in of ? { path: of.socket } : { port: of.port, host: of.host ?? '127.0.0.1' };
}

class FaultyProxy implements TcpProxy {
  readonly #listener: Server;
  readonly #only: readonly string[] | undefined;
  readonly #pairs = new Set<Pair>();
  readonly #bystanders = new Set<Socket>();
  #to: NetConnectOpts;
  #refusing = false;
  #silent = false;
  #swallowing = false;
  #delayMs = 0;
  #accepted = 0;
  /** Port of the listener; 0 until it listens. */
  #port = 0;
  #dropping: { left: number; readonly done: () => void } | null = null;

  constructor(upstream: Upstream, only: readonly string[] | undefined) {
    this.#to = addressOf(upstream);
    this.#only = only;
    this.#listener = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#listener.listen(0, '127.0.0.1', resolve));
    this.#port = (this.#listener.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  get accepted(): number {
    return this.#accepted;
  }

  cutNow(): void {
    for (const pair of [...this.#pairs]) this.#cut(pair);
  }

  refuse(on: boolean): void {
    this.#refusing = on;
  }

  halfOpen(on: boolean): void {
    this.#silent = on;
  }

  swallowReplies(on: boolean): void {
    this.#swallowing = on;
  }

  dropRepliesThenCut(n = 1): Promise<void> {
    return new Promise((done) => (this.#dropping = { left: n, done }));
  }

  leadTo(upstream: Upstream): void {
    this.#to = addressOf(upstream);
  }

  delay(ms: number): void {
    this.#delayMs = ms;
  }

  async close(): Promise<void> {
    this.cutNow();
    for (const client of this.#bystanders) client.destroy();
    if (this.#listener.listening) await new Promise((resolve) => this.#listener.close(resolve));
  }

  #accept(client: Socket): void {
    this.#accepted++;
    if (this.#only && !this.#only.includes(client.remoteAddress ?? '')) return this.#passOn(client);
    if (this.#refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const pair: Pair = { client, server: createConnection(this.#to) };
    this.#pairs.add(pair);
    for (const socket of [client, pair.server]) {
      socket.on('error', () => {});
      socket.on('close', () => {
        // Half open: the other side hears nothing.
        if (!this.#silent && this.#pairs.has(pair)) this.#cut(pair);
      });
    }
    this.#forward(pair);
  }

  #forward({ client, server }: Pair): void {
    const toServer = new DelayLine();
    const toClient = new DelayLine();
    client.on('data', (bytes) => {
      if (!this.#silent) toServer.send(this.#delayMs, () => server.writable && server.write(bytes));
    });
    server.on('data', (bytes) => {
      if (this.#silent || this.#swallowing) return;
      if (this.#dropping) this.#drop(this.#dropping);
      else toClient.send(this.#delayMs, () => client.writable && client.write(bytes));
    });
  }

  /** Drops one piece of a reply; the last one cuts every connection. */
  #drop(dropping: { left: number; readonly done: () => void }): void {
    if (--dropping.left > 0) return;
    this.#dropping = null;
    this.cutNow();
    dropping.done();
  }

  #cut(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.destroy();
  }

  #passOn(client: Socket): void {
    const server = createConnection(this.#to);
    this.#bystanders.add(client);
    client.pipe(server).pipe(client);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#bystanders.delete(client);
        other.destroy();
      });
    }
  }
}

/**
 * One direction of one connection. Keeps the order of pieces, also where the delay gets shorter
 * meanwhile.
 */
class DelayLine {
  readonly #line: { readonly atMs: number; readonly send: () => void }[] = [];

  send(delayMs: number, send: () => void): void {
    if (delayMs === 0 && this.#line.length === 0) return send();
    this.#line.push({ atMs: monotonicMs() + delayMs, send });
    if (this.#line.length === 1) this.#leave();
  }

  #leave(): void {
    for (let next = this.#line[0]; next !== undefined; next = this.#line[0]) {
      const leftMs = next.atMs - monotonicMs();
      if (leftMs > 0) {
        setTimeout(() => this.#leave(), leftMs);
        return;
      }
      this.#line.shift();
      next.send();
    }
  }
}
