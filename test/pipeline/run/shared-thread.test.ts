/**
 * Batches of several quick functions travel to a thread in one message. A function that blocks its
 * thread, or kills it, costs the others nothing.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import type { PublishItem } from '../../../src/pipeline/append/publish-item.ts';
import { connect, type Millrace } from '../../../src/millrace.ts';
import { createProject, type Project } from '../../cli/run-cli.ts';
import { settled, totals } from '../../../scripts/lab/counters.ts';
import { startRedis, type TestLike, type TestRedis } from '../../../scripts/lab/redis-server.ts';
import { until } from '../../../scripts/lab/until.ts';

const QUICK = ['quick-1', 'quick-2', 'quick-3', 'quick-4'];
const WARM_UP = 200;

/** Blocks its thread, from an event with the text 'block', until the gate is gone. */
const BLOCKING = (gate: string, inside: string): string => `
import { existsSync, writeFileSync } from 'node:fs';
import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'blocking', on: ['note.added'], retry: { attempts: 1 }, timeoutMs: 300_000,
  handle(event) {
    if (event.data.text === 'exit') process.exit(3);
    if (event.data.text !== 'block') return;
    writeFileSync(${JSON.stringify(inside)}, '');
    while (existsSync(${JSON.stringify(gate)}));
  },
});
`;
const EMPTY = (name: string): string => `
import { defineFunction } from 'millrace/define';
export default defineFunction({ name: '${name}', on: ['note.added'], handle() {} });
`;

interface Bed {
  readonly redis: TestRedis;
  readonly project: Project;
  readonly gate: string;
  readonly inside: string;
  readonly millrace: Millrace;
  publish(text: string): Promise<void>;
}

/** Starts a dispatcher whose functions are all known to be quick. */
async function openBed(t: TestLike): Promise<Bed> {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const [gate, inside] = [join(project.dir, 'gate'), join(project.dir, 'inside')];
  project.write('workers/blocking.mjs', BLOCKING(gate, inside));
  for (const name of QUICK) project.write(`workers/${name}.mjs`, EMPTY(name));
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 2 },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  const dispatcher = millrace.dispatcher({ functionsDir: join(project.dir, 'workers') });
  await dispatcher.start();
  t.teardown(() => dispatcher.stop());
  const publisher = millrace.publisher();
  let number = 0;
  const publish = async (text: string): Promise<void> => {
    number++;
    const data = { book: `book-${number}`, number, text };
    await publisher.publishMany([{ type: 'note.added', data } as unknown as PublishItem]);
  };
  // One after the other, so that both threads have run every function.
  for (let i = 0; i < WARM_UP; i++) await publish('');
  for (const fn of ['blocking', ...QUICK]) await settled(redis.client(), fn, 1, WARM_UP);
  return { redis, project, gate, inside, millrace, publish };
}

t.test('neighbours go on while a handler blocks its thread', async (t) => {
  const { redis, project, gate, inside, publish } = await openBed(t);
  const look = redis.client();
  project.write('gate', '');
  t.teardown(() => rmSync(gate, { force: true }));
  await publish('block');
  await until('a handler blocks its thread', () => existsSync(inside));
  for (let i = 0; i < 20; i++) await publish('');
  for (const fn of QUICK) await settled(look, fn, 1, WARM_UP + 21);
  t.equal((await totals(look, 'blocking', 1)).done, WARM_UP, 'the handler still blocks');
  rmSync(gate);
  await settled(look, 'blocking', 1, WARM_UP + 21);
  for (const fn of ['blocking', ...QUICK])
    t.match(await totals(look, fn, 1), { done: WARM_UP + 21, dead: 0, retried: 0 }, fn);
});

t.test('neighbours of a handler that kills its thread run without it', async (t) => {
  const { redis, publish } = await openBed(t);
  const look = redis.client();
  for (let i = 0; i < 10; i++) {
    await publish('exit');
    await publish('');
  }
  for (const fn of QUICK)
    t.match(await settled(look, fn, 1, WARM_UP + 20), { done: WARM_UP + 20, dead: 0, retried: 0 });
  t.match(await settled(look, 'blocking', 1, WARM_UP + 20), { done: WARM_UP + 10, dead: 10 });
});
