/**
 * `npm run demo:rollout`: rolls out a second version of the shop's order.created while publishers
 * write at full speed. Old and new services run side by side. The old one leaves, and comes back at
 * the end (a rollback) to read the events of the new one. Each consumer checks every event and
 * throws where a field does not follow its own schema.
 *
 * Exit status 0: every function has done every event, and nothing was retried or dead-lettered.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import Table from 'cli-table3';
import { pino } from 'pino';
import {
  connect,
  SchemaNotRegisteredError,
  type Dispatcher,
  type Millrace,
} from '../../src/index.ts';
import { readLag, type FunctionLag } from '../../src/lag/lag.ts';
import { orderVersions } from './versions.ts';

const program = new Command('demo:rollout')
  .description(
    'Rolls out a second version of order.created under load, and checks that every consumer reads every event.',
  )
  .option(
    '--seconds <s>',
    'length of each of the three phases, s',
    (text) => {
      const n = Number(text);
      if (!(n > 0 && n <= 600)) throw new InvalidArgumentError('a number of seconds up to 600');
      return n;
    },
    2,
  )
  .showHelpAfterError()
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .parse();
const { seconds } = program.opts<{ seconds: number }>();

/** Source of a function that checks each event. `known`: the fields that only version 2 has. */
const source = (
  name: string,
  check: string,
): string => `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: '${name}', on: ['order.created'],
  handleBatch(events) { for (const { id, data } of events) { ${check} } } });
`;
const must = (condition: string, what: string): string =>
  `if (!(${condition})) throw new Error(id + ': ${what}');`;
/** The functions of both versions. The ids of events of version 1 begin with old. */
const FUNCTIONS = {
  shipping: source(
    'shipping',
    must(
      "data.items[0].sku === 'x' && data.total.amount >= 0",
      'a field that both versions have is missing',
    ),
  ),
  'old-audit': source(
    'old-audit',
    must(
      "!('channel' in data) && (data.items[0].description === 'a thing') === id.startsWith('old')",
      'not what version 1 says',
    ),
  ),
  'new-audit': source(
    'new-audit',
    must(
      "!('description' in data.items[0]) && (id.startsWith('old') ? data.channel === 0 : data.channel === 2 && data.voucher === '')",
      'not what version 2 says',
    ),
  ),
} as const;

const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

class Rollout {
  readonly #dir: string;
  readonly #url: string;
  readonly #versions = orderVersions('proto/shop/v1/orders.proto');
  retried = 0;
  dead = 0;

  constructor(dir: string, url: string) {
    this.#dir = dir;
    this.#url = url;
  }

  async service(version: keyof ReturnType<typeof orderVersions>): Promise<Millrace> {
    const protoDir = join(this.#dir, `proto-${version}`);
    mkdirSync(protoDir, { recursive: true });
    writeFileSync(join(protoDir, 'orders.proto'), this.#versions[version]);
    return connect({
      environment: { REDIS_URL: this.#url, MILLRACE_LEASE_MS: 2000, WORKERS: 2 },
      protoDir,
      logger: pino({ level: process.env['LOG_LEVEL'] ?? 'fatal' }),
      name: version,
    });
  }

  async dispatch(
    service: Millrace,
    names: readonly (keyof typeof FUNCTIONS)[],
  ): Promise<Dispatcher> {
    const functionsDir = join(this.#dir, names.join('+'));
    mkdirSync(functionsDir, { recursive: true });
    for (const name of names) writeFileSync(join(functionsDir, `${name}.mjs`), FUNCTIONS[name]);
    const dispatcher = service.dispatcher({
      functionsDir,
      onTurn: (turn) => {
        this.retried += turn.retried;
        this.dead += turn.dead;
      },
    });
    await dispatcher.start();
    return dispatcher;
  }
}

/** Publishes until stop(). */
function load(service: Millrace, tag: 'old' | 'new'): { stop(): Promise<number> } {
  const publisher = service.publisher({ source: tag });
  let going = true;
  let published = 0;
  const more = tag === 'old' ? { description: 'a thing' } : {};
  const run = (async () => {
    while (going) {
      await publisher.publishMany(
        Array.from({ length: 200 }, (_, i) => ({
          type: 'order.created',
          id: `${tag}-${published + i}`,
          data: {
            orderId: `order-${i % 100}`,
            userId: 'u',
            country: 'GB',
            items: [{ sku: 'x', quantity: 1, unitPrice: 5, ...more }],
            total: { amount: published + i, currency: 'GBP' },
            ...(tag === 'new' ? { channel: 2, voucher: '' } : {}),
          },
        })),
      );
      published += 200;
    }
  })();
  return {
    async stop() {
      going = false;
      await run;
      return published;
    },
  };
}

async function main(): Promise<number> {
  const cache = resolve('.millrace/redis-server');
  mkdirSync(cache, { recursive: true });
  mkdirSync('.millrace/demo', { recursive: true });
  const dir = mkdtempSync(resolve('.millrace/demo/rollout-'));
  symlinkSync(cache, join(dir, 'redis-server'));
  const open: Millrace[] = [];
  try {
    const base = await connect({
      environment: { REDIS_URL: undefined, MILLRACE_DIR: dir },
      protoDir: null,
      logger: pino({ level: 'fatal' }),
      name: 'demo',
    });
    open.push(base);
    const rollout = new Rollout(dir, base.deployment.url);
    const service = async (version: Parameters<Rollout['service']>[0]): Promise<Millrace> => {
      const opened = await rollout.service(version);
      open.push(opened);
      return opened;
    };
    return await run(base, rollout, service);
  } finally {
    for (const millrace of open.reverse()) await millrace.close();
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function run(
  base: Millrace,
  rollout: Rollout,
  service: (version: Parameters<Rollout['service']>[0]) => Promise<Millrace>,
): Promise<number> {
  const say = (text: string): void => console.log(text);
  const old = await service('first');
  let oldDispatcher = await rollout.dispatch(old, ['shipping', 'old-audit']);
  const oldLoad = load(old, 'old');
  say(
    `version ${old.deployment.schemas.get('order.created')?.version ?? '?'} of order.created is written and read (functions shipping, old-audit)`,
  );
  await wait(seconds * 1000);

  say('\nA service with a change that would break them does not start:');
  try {
    await service('wrong');
    console.error('it started');
    return 1;
  } catch (error) {
    if (!(error instanceof SchemaNotRegisteredError)) throw error;
    say(
      error.message
        .split('\n')
        .map((line) => `  ${line}`)
        .join('\n'),
    );
  }

  const fresh = await service('second');
  await rollout.dispatch(fresh, ['shipping', 'new-audit']);
  const freshLoad = load(fresh, 'new');
  say(
    `\nversion ${fresh.deployment.schemas.get('order.created')?.version ?? '?'} is rolled out beside it: both are written, each consumer reads both (shipping in both services, new-audit in the new one)`,
  );
  await wait(seconds * 1000);

  const ofOld = await oldLoad.stop();
  await oldDispatcher.stop();
  say('the old service has left, its lanes of shipping have moved');
  await wait(seconds * 1000);
  const ofNew = await freshLoad.stop();
  say('the old service is back, as after a rollback, and reads what the new one has written');
  oldDispatcher = await rollout.dispatch(old, ['shipping', 'old-audit']);

  const total = ofOld + ofNew;
  let functions: readonly FunctionLag[] = [];
  const deadline = performance.now() + 60_000;
  do {
    await wait(100);
    ({ functions } = await readLag(base.deployment));
  } while (functions.some((fn) => fn.done < total) && performance.now() < deadline);

  const table = new Table({
    head: ['function', 'done', 'parked', 'dead', 'lag', 'adds up'],
    style: { head: [], border: [] },
  });
  for (const fn of functions)
    table.push([fn.name, fn.done, fn.parked, fn.dead, fn.lag, fn.conserved ? 'yes' : 'NO']);
  say(
    `\n${total} events: ${ofOld} of version 1, ${ofNew} of version 2\n${table.toString()}\nretried: ${rollout.retried}, dead-lettered: ${rollout.dead}`,
  );
  const well =
    functions.length === 3 &&
    functions.every(
      (fn) => fn.done === total && fn.dead === 0 && fn.parked === 0 && fn.conserved,
    ) &&
    rollout.retried === 0 &&
    rollout.dead === 0;
  if (well) say('Every consumer has read every event of both versions as its own schema says.');
  else console.error('NOT every consumer has read every event at its first attempt.');
  return well ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`demo:rollout: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
