/**
 * The second server, never faulted: what functions did and dispatchers committed, in the order in
 * which it happened.
 */
import { Redis } from 'ioredis';
import type { HandlerOp, Op } from '../../src/torture/run-record.ts';

const LOG = 'log';
const APPLIED = 'applied';

/** What the functions call is out of order: events with an order of this name fail meanwhile. */
export type Outage = 'broken' | 'held';

/**
 * The effect of an event, guarded by its idempotency key, and the line that says so, in one step.
 */
const EFFECT = `
local first = redis.call('HSETNX', KEYS[1], ARGV[1], '1') == 1
local line = string.sub(ARGV[2], 1, -2) .. ',"applied":' .. tostring(first) .. '}'
return redis.call('RPUSH', KEYS[2], line)`;

export class Sink {
  readonly #redis: Redis;

  constructor(socket: string) {
    this.#redis = new Redis({ path: socket, maxRetriesPerRequest: null });
    // A sink that is gone ends the run: its harness has stopped it.
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
