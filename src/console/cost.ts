/** Counts what a page asks of Redis, so that each page can show its cost. */
import { monotonicMs } from '../core/clock.ts';
import type {
  ConnectionOptions,
  ConnectionStatus,
  RedisArg,
  RedisConnection,
  RedisSender,
  ScriptCall,
} from '../redis/contract.ts';

export class Cost {
  /** Commands and scripts sent. */
  calls = 0;
  #waiting = 0;
  #sinceMs = 0;
  #waitedMs = 0;

  /** Time in which at least one call was under way, ms. */
  get waitedMs(): number {
    return this.#waitedMs + (this.#waiting > 0 ? monotonicMs() - this.#sinceMs : 0);
  }

  async of<T>(call: Promise<T>): Promise<T> {
    this.calls++;
    if (this.#waiting++ === 0) this.#sinceMs = monotonicMs();
    try {
      return await call;
    } finally {
      if (--this.#waiting === 0) this.#waitedMs += monotonicMs() - this.#sinceMs;
    }
  }
}

class MeteredSender implements RedisSender {
  readonly #sender: RedisSender;
  protected readonly cost: Cost;

  constructor(sender: RedisSender, cost: Cost) {
    this.#sender = sender;
    this.cost = cost;
  }

  command(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.cost.of(this.#sender.command(name, ...args));
  }

  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.cost.of(this.#sender.commandBuffer(name, ...args));
  }

  script(call: ScriptCall, asBuffers: boolean): Promise<unknown> {
    return this.cost.of(this.#sender.script(call, asBuffers));
  }

  scriptThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    asBuffers: boolean,
  ): Promise<[unknown, unknown]> {
    return this.cost.of(this.#sender.scriptThen(call, follow, asBuffers));
  }
}

/** A connection whose calls are counted. It shares the socket of the one that it stands for. */
export class MeteredConnection extends MeteredSender implements RedisConnection {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection, cost: Cost) {
    super(connection, cost);
    this.#connection = connection;
  }

  get isCluster(): boolean {
    return this.#connection.isCluster;
  }

  get target(): string {
    return this.#connection.target;
  }

  get status(): ConnectionStatus {
    return this.#connection.status;
  }

  get trouble(): Error | null {
    return this.#connection.trouble;
  }

  until(ms: number): RedisSender {
    return new MeteredSender(this.#connection.until(ms), this.cost);
  }

  commandOnMasters(
    name: string,
    ...args: readonly RedisArg[]
  ): Promise<readonly { node: string; reply: unknown }[]> {
    return this.cost.of(this.#connection.commandOnMasters(name, ...args));
  }

  async *scan(pattern: string): AsyncIterable<readonly string[]> {
    for await (const page of this.#connection.scan(pattern)) {
      this.cost.calls++;
      yield page;
    }
  }

  on(event: 'up' | 'down', listener: () => void): void {
    this.#connection.on(event, listener);
  }

  off(event: 'up' | 'down', listener: () => void): void {
    this.#connection.off(event, listener);
  }

  ready(timeoutMs?: number): Promise<void> {
    return this.#connection.ready(timeoutMs);
  }

  renew(reply: string): void {
    this.#connection.renew(reply);
  }

  duplicate(changes?: Partial<Omit<ConnectionOptions, 'url'>>): RedisConnection {
    return this.#connection.duplicate(changes);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  destroy(): void {
    this.#connection.destroy();
  }
}
