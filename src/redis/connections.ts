import { openConnection } from './connection.ts';
import type { ConnectionOptions, RedisConnection } from './contract.ts';

type Shared = Pick<ConnectionOptions, 'url' | 'log' | 'tls' | 'roundTrips' | 'failFast'>;

/** The connections of one process to one address. */
export class Connections {
  readonly #options: Shared;
  #open: RedisConnection[] = [];
  #cluster = false;

  constructor(options: Shared) {
    this.#options = options;
  }

  get first(): RedisConnection | undefined {
    return this.#open[0];
  }

  open(name: string, more: Pick<ConnectionOptions, 'blocking'> = {}): RedisConnection {
    const connection = openConnection({
      ...this.#options,
      name: `millrace-${name}`,
      blocking: more.blocking ?? false,
      cluster: this.#cluster,
      // A connection that only reads never learns from its replies that it reads from a demoted
      // server.
      onUnfit: (reply) => this.#open.forEach((other) => other.renew(reply)),
    });
    // A part that has ended has closed its own connection.
    this.#open = [...this.#open.filter(({ status }) => status !== 'closed'), connection];
    return connection;
  }

  /** Drops the connections. Further connections follow redirections, as in a Redis Cluster. */
  followRedirections(): void {
    for (const connection of this.#open.splice(0)) connection.destroy();
    this.#cluster = true;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((connection) => connection.close()));
  }
}
