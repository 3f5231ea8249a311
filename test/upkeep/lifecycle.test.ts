/** The parts beside the lanes have one lifecycle: each starts once, and stops once, for good. */
import t from 'tap';
import type { Lifecycle } from '../../src/core/lifecycle.ts';
import { DeploymentWatch } from '../../src/dispatcher/deployment-watch.ts';
import { Relay } from '../../src/outbox/relay.ts';
import { Doorbell } from '../../src/pipeline/read/doorbell.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { SettingsGuard } from '../../src/redis/settings.ts';
import { SchemaRegistry } from '../../src/registry/registry.ts';
import { SchemaWatch } from '../../src/registry/schema-watch.ts';
import { RegistryStore } from '../../src/registry/registry-store.ts';
import { Scheduler } from '../../src/upkeep/scheduler.ts';
import { Upkeep } from '../../src/upkeep/upkeep.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, moreThan } from '../../scripts/lab/until.ts';

const keys = createKeys('mr');
const log = (): void => undefined;

/** Builds each part on a connection. */
const PARTS: Record<string, (connection: RedisConnection) => Lifecycle> = {
  upkeep: (connection) =>
    new Upkeep({ connection, keys, log, partitions: 1, everyMs: 5, lanes: () => [] }),
  scheduler: (connection) => new Scheduler({ connection, keys, log, partitions: () => [0] }),
  relay: (connection) =>
    new Relay({
      connection,
      keys,
      log,
      partitionCount: 1,
      partitions: () => [0],
      relieved: () => undefined,
    }),
  doorbell: (connection) => {
    const doorbell = new Doorbell({ connection, blockMs: 10, failed: log });
    doorbell.add({ streamKeys: [keys.events(0, 'a.b')], ring: log, idle: true, hot: false });
    return doorbell;
  },
  'watch of the deployment': (connection) =>
    new DeploymentWatch({
      settings: new SettingsGuard(connection, keys, { partitions: 1, created: '' }),
      connection,
      refused: () => null,
      probe: () => connection.command('PING').then(() => null),
      changed: log,
    }),
  'watch of the registry': (connection) =>
    new SchemaWatch({
      registry: new SchemaRegistry(new RegistryStore(connection, keys)),
      connection,
      catalog: createCatalog([]),
      schemas: new Map([['a.b', { id: 1, version: 1 }]]),
      registeredBy: () => Promise.reject(new Error('nobody registers here')),
      log,
    }),
};
const LOOKS_AT_STOP = new Set(['watch of the registry']);

/** A connection that holds its calls back until they are let go. */
class HeldConnection {
  readonly connection: RedisConnection;
  readonly #held: (() => void)[] = [];
  #calls = 0;
  #holds = true;

  constructor(real: RedisConnection) {
    type Methods = { -readonly [name in keyof RedisConnection]: RedisConnection[name] };
    const connection = Object.create(real) as Methods;
    connection.command = (...args) => this.#pass(() => real.command(...args));
    connection.commandBuffer = (...args) => this.#pass(() => real.commandBuffer(...args));
    connection.script = (...args) => this.#pass(() => real.script(...args));
    connection.until = () => connection;
    connection.on = () => undefined;
    // The connection is shared by all parts.
    connection.destroy = () => undefined;
    this.connection = connection;
  }

  /** Calls so far. */
  get calls(): number {
    return this.#calls;
  }

  letGo(): void {
    this.#holds = false;
    for (const go of this.#held.splice(0)) go();
  }

  async #pass<T>(call: () => Promise<T>): Promise<T> {
    this.#calls++;
    if (this.#holds) await new Promise<void>((resolve) => this.#held.push(resolve));
    return call();
  }
}

t.test('the parts of a dispatcher', async (t) => {
  const redis = await startRedis(t);
  const real = openConnection({ url: redis.url });
  t.teardown(() => real.destroy());
  const open = (name: string): { held: HeldConnection; part: Lifecycle } => {
    const held = new HeldConnection(real);
    return { held, part: (PARTS[name] as (typeof PARTS)[string])(held.connection) };
  };

  for (const name of Object.keys(PARTS)) {
    t.test(`${name}: start twice is one start`, async (t) => {
      const { held, part } = open(name);
      await part.start();
      await part.start();
      await until('a pass has begun', () => moreThan(held.calls, 0));
      t.equal(held.calls, 1, 'a second loop would have called too');
      held.letGo();
      await part.stop();
    });

    t.test(`${name}: stop waits for the pass under way, and twice is once`, async (t) => {
      const { held, part } = open(name);
      await part.start();
      await until('a pass has begun', () => moreThan(held.calls, 0));
      let stopped = 0;
      const stops = [1, 2].map(() => part.stop().then(() => stopped++));
      await new Promise(setImmediate);
      t.equal(stopped, 0);
      held.letGo();
      await Promise.all(stops);
      const { calls } = held;
      await part.stop();
      t.equal(held.calls, calls, 'nothing is done at a later stop');
    });

    t.test(`${name}: stopped before its start, it never runs`, async (t) => {
      const { held, part } = open(name);
      held.letGo();
      await part.stop();
      const { calls } = held;
      if (!LOOKS_AT_STOP.has(name)) t.equal(calls, 0);
      await part.start();
      await part.stop();
      t.equal(held.calls, calls);
    });
  }
});
