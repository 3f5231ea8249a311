/**
 * The process that appends to histories, or loads one: with the event store, or with plain Redis as
 * a user would write it.
 */
import { Redis } from 'ioredis';
import { connect } from '../../src/millrace.ts';
import { defineAggregate, type NewEvent } from '../../src/define/define-aggregate.ts';
import type { EventStore } from '../../src/store/event-store.ts';
import { childMain, cpuSeconds, sharedNowMs } from './child.ts';
import { Histogram } from './histogram.ts';
import { createOrderEncoder } from './order-encoder.ts';
import { makeOrder, ORDER_TYPE } from './order.ts';
import { benchEnvironment, PROTO_DIR } from './settings.ts';

export interface AppenderArgument {
  readonly url: string;
  readonly partitions: number;
  /**
   * `naive`: one call of a hand-written script for each append. `watch`: a transaction for each
   * append, on a connection for each writer. Both use ioredis.
   */
  readonly what: 'append' | 'naive' | 'watch' | 'load';
  /** Number of events appended; with `load`: number of loads. */
  readonly events: number;
  /** Number of appends under way at once. */
  readonly writers: number;
  /** Events of a history. Each is appended by itself and expects the revision before it. */
  readonly perHistory: number;
}

export interface AppenderResult {
  readonly startMs: number;
  readonly endMs: number;
  readonly cpuSeconds: number;
  readonly rssMb: number;
  /** Histories and their events, counted in Redis. */
  readonly histories: number;
  readonly stored: number;
  /**
   * Only with `load`: times in µs with their counts, of the loads and of as many PINGs, one after
   * the other.
   */
  readonly loads: readonly number[];
  readonly pings: readonly number[];
  /** Whether the loaded states were right. */
  readonly right: boolean;
}

const CATEGORY = 'bench';
const order = (number: number, orderId: string) => ({ ...makeOrder(number, 0), orderId });
/** An event of the benchmark's own type, which the example's generated types do not know. */
const event = (number: number, id: string): NewEvent =>
  ({ type: ORDER_TYPE, data: order(number, id) }) as unknown as NewEvent;

/**
 * Runs the writers, each from history to history. `append` gets the history, the expected revision
 * and a number.
 */
async function write(
  { events, writers, perHistory }: AppenderArgument,
  append: (id: string, revision: number, number: number, writer: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      while (next < events) {
        const from = next;
        next = Math.min(events, from + perHistory);
        const to = next;
        for (let number = from; number < to; number++)
          await append(`history-${from}`, number - from, number, writer);
      }
    }),
  );
}

async function appendWithStore(store: EventStore, argument: AppenderArgument): Promise<void> {
  await write(argument, async (id, revision, number) => {
    await store.append(CATEGORY, id, [event(number, id)], { expectedRevision: revision });
  });
}

/**
 * The script that one would write first: expectation, history and stream in one script, a call for
 * each append.
 */
const NAIVE = `
  if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return -1 end
  redis.call('RPUSH', KEYS[1], ARGV[2])
  redis.call('XADD', KEYS[2], '*', 'e', ARGV[2])
  return redis.call('LLEN', KEYS[1])`;

async function appendNaively(redis: Redis, argument: AppenderArgument): Promise<void> {
  const encode = createOrderEncoder();
  const sha = (await redis.script('LOAD', NAIVE)) as string;
  await write(argument, async (id, revision, number) => {
    const reply = await redis.evalsha(
      sha,
      2,
      `mr:{0}:history:${CATEGORY}:${id}`,
      'naive:stream',
      revision,
      encode(order(number, id)),
    );
    if (reply !== revision + 1) throw new Error(`revision ${revision} was taken`);
  });
}

/**
 * Appends without a script: watches the history, looks at it, and appends if nobody else wrote. A
 * watch belongs to a connection.
 */
async function appendWatched(
  connections: readonly Redis[],
  argument: AppenderArgument,
): Promise<void> {
  const encode = createOrderEncoder();
  await write(argument, async (id, revision, number, writer) => {
    const redis = connections[writer] as Redis;
    const key = `mr:{0}:history:${CATEGORY}:${id}`;
    const bytes = encode(order(number, id));
    const [, length] = await Promise.all([redis.watch(key), redis.llen(key)]);
    const done =
      length === revision
        ? await redis.multi().rpush(key, bytes).xadd('naive:stream', '*', 'e', bytes).exec()
        : null;
    if (done === null) throw new Error(`revision ${revision} was taken`);
  });
}

const sum = defineAggregate({
  category: CATEGORY,
  events: [ORDER_TYPE as never],
  initialState: () => ({ orders: 0, total: 0 }),
  evolve: (state, { data }) => ({
    orders: state.orders + 1,
    total: state.total + (data as { total: number }).total,
  }),
  snapshot: { version: 1, every: 100 },
});
const HISTORY = 1000;

/** Prepares a history of 1,000 events with its last snapshot 50 events before the end. */
async function prepareLoad(store: EventStore): Promise<{ orders: number; total: number }> {
  const expected = { orders: HISTORY, total: 0 };
  for (let number = 0; number < HISTORY; number++) expected.total += makeOrder(number, 0).total;
  for (const [from, to] of [
    [0, HISTORY - 50],
    [HISTORY - 50, HISTORY],
  ] as const) {
    await store.append(
      CATEGORY,
      'one',
      Array.from({ length: to - from }, (_, i) => event(from + i, 'one')),
      { expectedRevision: from },
    );
    await store.load(sum, 'one');
  }
  return expected;
}

await childMain<AppenderArgument, AppenderResult>(async (argument, ready) => {
  const millrace = await connect({
    environment: benchEnvironment(argument.url, 1, argument.partitions),
    protoDir: PROTO_DIR,
    name: 'bench-appender',
  });
  const store = millrace.store();
  const redis = new Redis(argument.url.replace(/^unix:/, ''));
  await redis.ping();
  const connections =
    argument.what === 'watch'
      ? Array.from({ length: argument.writers }, () => redis.duplicate())
      : [];
  await Promise.all(connections.map((one) => one.ping()));
  const expected = argument.what === 'load' ? await prepareLoad(store) : null;
  await ready();
  const cpuBefore = cpuSeconds();
  const startMs = sharedNowMs();
  const loads = new Histogram();
  const pings = new Histogram();
  let right = true;
  if (argument.what === 'append') await appendWithStore(store, argument);
  else if (argument.what === 'naive') await appendNaively(redis, argument);
  else if (argument.what === 'watch') await appendWatched(connections, argument);
  else {
    for (let i = 0; i < argument.events; i++) {
      const began = performance.now();
      await millrace.deployment.connection.command('PING');
      const between = performance.now();
      const { state } = await store.load(sum, 'one');
      pings.add(Math.round((between - began) * 1000));
      loads.add(Math.round((performance.now() - between) * 1000));
      right &&= state.orders === expected?.orders && state.total === expected.total;
    }
  }
  const endMs = sharedNowMs();
  const used = cpuSeconds() - cpuBefore;
  let histories = 0;
  let stored = 0;
  for (let cursor = '0'; ;) {
    const [next, keys] = await redis.scan(
      cursor,
      'MATCH',
      `mr:*:history:${CATEGORY}:*`,
      'COUNT',
      10_000,
    );
    const lengths = await Promise.all(keys.map((key) => redis.llen(key)));
    histories += keys.length;
    stored += lengths.reduce((all, one) => all + one, 0);
    cursor = next;
    if (cursor === '0') break;
  }
  for (const one of [redis, ...connections]) one.disconnect();
  await millrace.close();
  return {
    startMs,
    endMs,
    cpuSeconds: used,
    rssMb: process.resourceUsage().maxRSS / 1024,
    histories,
    stored,
    loads: loads.toPairs(),
    pings: pings.toPairs(),
    right,
  };
});
