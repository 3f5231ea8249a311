/**
 * The second server, which suffers no fault. It holds the calls of functions and the commits of
 * dispatchers, in their order.
 */
import { Redis } from 'ioredis';
import type { HandlerOp, Op } from '../../src/torture/run-record.ts';

const LOG = 'log';
const APPLIED = 'applied';

/**
 * A service that the functions call is out of order. Events with an order of this name fail
 * meanwhile.
 */
export type Outage = 'broken' | 'held';

/**
 * Applies the effect of an event, guarded by its idempotency key, and writes its line, in one step.
 */
const EFFECT = `
local first = redis.call('HSETNX', KEYS[1], ARGV[1], '1') == 1
local line = string.sub(ARGV[2], 1, -2) .. ',"applied":' .. tostring(first) .. '}'
return redis.call('RPUSH', KEYS[2], line)`;

export class Sink {
  readonly #redis: Redis;

  constructor(socket: string) {
    this.#redis = new Redis({ path: socket, maxRetriesPerRequest: null });
    // The loss of the sink ends the run: its harness has stopped it.
    this.#redis.on('error', () => {});
  }

  async push(op: Op): Promise<void> {
    await this.#redis.rpush(LOG, JSON.stringify(op));
  }

  async effect(idempotencyKey: string, op: HandlerOp): Promise<void> {
    await this.#redis.eval(EFFECT, 2, APPLIED, LOG, idempotencyKey, JSON.stringify(op));
  }

  async is(outage: Outage): Promise<boolean> {
    return (await this.#redis.exists(outage)) === 1;
  }
  async set(outage: Outage, on: boolean): Promise<void> {
    await (on ? this.#redis.set(outage, 1) : this.#redis.del(outage));
  }

  async length(): Promise<number> {
    return this.#redis.llen(LOG);
  }
  async read(): Promise<Op[]> {
    return (await this.#redis.lrange(LOG, 0, -1)).map((line) => JSON.parse(line) as Op);
  }

  close(): void {
    this.#redis.disconnect();
  }
}
