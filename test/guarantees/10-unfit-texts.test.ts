/**
 * Ids, subjects and names that UTF-8 cannot hold are refused, wherever a caller gives one. Such a
 * text would become U+FFFD. It would then find, or become, something that somebody else named so.
 */
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { handleCommand } from '../../src/store/handle-command.ts';
import { defineDecider, type NewEvent } from '../../src/define/define-aggregate.ts';
import { explain } from '../../src/explain/explain.ts';
import { connect } from '../../src/millrace.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { cancelScheduled } from '../../src/upkeep/scheduled-events.ts';
import { collect } from '../store/open-store.ts';
import { createProject } from '../cli/run-cli.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, is } from '../../scripts/lab/until.ts';

const VIEW = `
import { defineView } from 'millrace/define';
export default defineView({
  name: 'notes', version: 1, on: ['note.added'], retry: { attempts: 1 }, onDead: 'continue',
  evolve: (row, event) => ({ text: event.data.text === 'half' ? '\\ud83d' : event.data.text }), indexes: { text: { by: 'text' } },
});
`;
/**
 * A function that fails each event, so that there are letters. First it emits as its event says.
 */
const FUNCTION = `
import { defineFunction } from 'millrace/define';
const UNFIT = ['\\ud83d', 'a\\udc00b'];
export default defineFunction({ name: 'dies', on: ['note.added'], retry: { attempts: 1 }, handle(event, ctx) {
  const refused = [];
  for (const text of UNFIT) for (const options of [{ id: text }, { subject: text }]) {
    try { ctx.emit('note.removed', { book: 'b' }, options); } catch (error) { refused.push(error.code); }
  }
  throw new Error('refused: ' + refused.join(' '));
} });
`;
const UNFIT = [
  '\ud83d',
  '\ude00',
  'x\ud83d',
  '\ude00x',
  'a\udc00b',
  '\udc00\ud800',
  '🙂'.slice(0, 1),
];
const NO_TEXT = [undefined, null, 5, {}, []] as unknown[];
/** Names with U+FFFD, which the unfit texts would find if they became it. */
const REPLACED = ['\ufffd', 'x\ufffd', '\ufffdx', 'a\ufffdb', '\ufffd\ufffd'];

const add = 'note.added' as never;
const data = (book: string, text = '\ufffd') => ({ book, number: 1, text });
const made = (book: string, more: object = {}) =>
  [{ type: 'note.added', data: data(book), ...more }] as unknown as NewEvent[];
const decider = defineDecider({
  category: 'note',
  events: ['note.added'] as never,
  initialState: () => 0,
  evolve: (state: number) => state + 1,
  decide: () => made('b') as never,
});

type Bed = Awaited<ReturnType<typeof startNotes>>;

/** Starts a service with the view and the function above. */
async function startNotes(t: Test) {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  project.write('workers/notes.mjs', VIEW);
  project.write('workers/dies.mjs', FUNCTION);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 1 },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  const { deployment } = millrace;
  await millrace.dispatcher({ functionsDir: join(project.dir, 'workers') }).start();
  return {
    redis,
    millrace,
    deployment,
    publisher: millrace.publisher(),
    store: millrace.store(),
    view: millrace.view('notes'),
  };
}

/** Gives each name of `REPLACED` a row, a letter, a scheduled event and a history. */
async function nameThings({ deployment, publisher, store }: Bed): Promise<void> {
  for (const id of REPLACED) {
    await publisher.publish(add, data(id), { id: `f${id}` });
    await publisher.publish(add, data(id), { id, delayMs: 3_600_000 });
    await store.append('note', id, made(id, { id: `h${id}` }), { expectedRevision: 0 });
  }
  await until('all are dead', async () =>
    is(
      Number(
        await deployment.connection.command('HGET', 'mr:{0}:counters', 'dead:dies:note.added'),
      ),
      2 * REPLACED.length,
    ),
  );
}

/** Calls by their name. Each takes a text, and has the code of the error that refuses it. */
type Calls = Readonly<Record<string, readonly [code: string, call: (text: string) => unknown]>>;

const LETTER_FILTERS = ['function', 'type', 'subject', 'reason', 'eventId'] as const;

function readsOf({ deployment, millrace, store, view }: Bed): Calls {
  return {
    'view.get': ['VIEW_QUERY', (text) => view.get(text)],
    'view.list equals': ['VIEW_QUERY', (text) => view.list({ index: 'text', equals: text })],
    'view.count equals': ['VIEW_QUERY', (text) => view.count({ index: 'text', equals: text })],
    'view.list index': ['VIEW_QUERY', (text) => view.list({ index: text })],
    'view.list cursor': ['VIEW_QUERY', (text) => view.list({ cursor: text })],
    'view.waitFor': ['VIEW_QUERY', (text) => view.waitFor(text)],
    'millrace.view': ['UNKNOWN_VIEW', (text) => millrace.view(text).get('a')],
    'store.load': ['STORE_INPUT', (text) => store.load(decider, text)],
    'store.load remembered': [
      'STORE_INPUT',
      (text) => store.load(decider, 'x', { remembered: text }),
    ],
    'store.read': ['STORE_INPUT', (text) => collect(store.read('note', text))],
    'store.read category': ['STORE_INPUT', (text) => collect(store.read(text, 'x'))],
    'store.revision': ['STORE_INPUT', (text) => store.revision('note', text)],
    'store.revisionAt': ['STORE_INPUT', (text) => store.revisionAt('note', text, new Date())],
    'store.histories': ['STORE_INPUT', (text) => collect(store.histories(text))],
    'handleCommand id': ['STORE_INPUT', (text) => handleCommand(store, decider, text, {})],
    'explain an event': ['INVALID_TEXT', (text) => explain(deployment, { eventId: text })],
    'explain a subject': ['INVALID_TEXT', (text) => explain(deployment, { subject: text })],
    cancelScheduled: ['INVALID_TEXT', (text) => cancelScheduled(deployment, text)],
    'registry.versions': ['REGISTRY_INPUT', (text) => deployment.registry.versions(text)],
    'registry.version': ['REGISTRY_INPUT', (text) => deployment.registry.version(text, 1)],
    'registry.level': ['REGISTRY_INPUT', (text) => deployment.registry.level(text)],
    'registry.setLevel': ['REGISTRY_INPUT', (text) => deployment.registry.setLevel(text, 'FULL')],
    'registry.delete': ['REGISTRY_INPUT', (text) => deployment.registry.delete(text, 'all')],
    ...Object.fromEntries(
      LETTER_FILTERS.map((filter): [string, Calls[string]] => [
        `dead letters by ${filter}`,
        [
          'INVALID_TEXT',
          (text: string) => collect(listDeadLetters(deployment, { [filter]: text })),
        ],
      ]),
    ),
  };
}

/** Places where `undefined` is allowed: it means no filter, or no option. */
const OPTIONAL = new Set([
  'view.list equals',
  'view.count equals',
  'view.list index',
  'view.list cursor',
  'store.load remembered',
  'millrace.view',
  'registry.level',
  'registry.setLevel',
  ...LETTER_FILTERS.map((filter) => `dead letters by ${filter}`),
]);

function writesOf({ millrace, publisher, store }: Bed): Calls {
  return {
    'publish subject': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b'), { subject: text }),
    ],
    'publish its own subject': ['INVALID_EVENT', (text) => publisher.publish(add, data(text))],
    'publish id': ['INVALID_EVENT', (text) => publisher.publish(add, data('b'), { id: text })],
    'publish source': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b'), { source: text }),
    ],
    'publish a value of an extension': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b'), { extensions: { a: text } }),
    ],
    'publish a name of an extension': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b'), { extensions: { [text]: 'a' } }),
    ],
    'publish a text of the data': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b', text)),
    ],
    'publish later, id': [
      'INVALID_EVENT',
      (text) => publisher.publish(add, data('b'), { id: text, delayMs: 60_000 }),
    ],
    'append id of the history': [
      'STORE_INPUT',
      (text) => store.append('note', text, made(text), { expectedRevision: 'any' }),
    ],
    'append id of an event': [
      'INVALID_EVENT',
      (text) => store.append('note', 'b', made('b', { id: text }), { expectedRevision: 'any' }),
    ],
    'append source': [
      'INVALID_EVENT',
      (text) => store.append('note', 'b', made('b', { source: text }), { expectedRevision: 'any' }),
    ],
    commandId: [
      'STORE_INPUT',
      (text) => handleCommand(store, decider, 'b', {}, { commandId: text }),
    ],
    'publisher source': ['CONFIG', (text) => millrace.publisher({ source: text })],
    'store source': ['CONFIG', (text) => millrace.store({ source: text })],
  };
}

/** Returns the error of a call, or its answer. */
async function outcome(read: (text: string) => unknown, text: unknown): Promise<unknown> {
  try {
    return { answered: await read(text as string) };
  } catch (error) {
    return error;
  }
}

t.test('each entry point', async (t) => {
  const bed = await startNotes(t);
  await nameThings(bed);
  const { redis, deployment, publisher, store, view } = bed;

  await t.test('refuses what is no text, and writes nothing', async (t) => {
    const reads = readsOf(bed);
    const before = await redis.client().dbsize();
    for (const [name, [code, read]] of Object.entries({ ...reads, ...writesOf(bed) })) {
      for (const text of UNFIT)
        t.match(await outcome(read, text), { code }, `${name}: ${JSON.stringify(text)}`);
    }
    for (const [name, [code, read]] of Object.entries(reads)) {
      if (!OPTIONAL.has(name))
        for (const value of NO_TEXT)
          t.match(await outcome(read, value), { code }, `${name}: ${String(value)}`);
    }
    t.equal(await redis.client().dbsize(), before, 'nothing was written');
  });

  await t.test('finds what is named with U+FFFD by that name only', async (t) => {
    for (const id of REPLACED) {
      t.match(
        await view.get(id),
        { found: { id } },
        'what is named with U+FFFD is found by its name',
      );
      t.equal(await cancelScheduled(deployment, id), true, 'and was not cancelled by another');
      t.equal((await explain(deployment, { subject: id })).events.length, 2);
      t.match(await store.load(decider, id), { revision: 1 });
    }
  });

  await t.test('ctx.emit refuses ids and subjects', async (t) => {
    const [letter] = await collect(listDeadLetters(deployment, { function: 'dies', limit: 1 }));
    t.equal(
      letter?.error.message,
      `refused: ${Array(4).fill('INVALID_EVENT').join(' ')}`,
      'ctx.emit',
    );
  });

  await t.test('the index of a view refuses its values', async (t) => {
    // The list would include this row if the value became U+FFFD.
    await publisher.publish(add, data('halved', 'half'), { id: 'half' });
    const found = await until(
      'its event is dead',
      async () => (await collect(listDeadLetters(deployment, { function: 'notes@1' })))[0],
    );
    t.match(found, {
      eventId: 'half',
      error: {
        name: 'TypeError',
        message:
          /index "text" of view "notes@1": the text that by gives holds half of a surrogate pair/,
      },
    });
    t.equal((await view.list({ index: 'text', equals: '\ufffd' })).rows.length, REPLACED.length);
  });
});
