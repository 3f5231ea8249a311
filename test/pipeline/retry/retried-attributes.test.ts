/**
 * An event shows the same attributes at each attempt: parked, retried, dead-lettered and replayed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import type { NewEvent } from '../../../src/define/define-aggregate.ts';
import type { PublishItem } from '../../../src/pipeline/append/publish-item.ts';
import { listDeadLetters } from '../../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import { connect } from '../../../src/millrace.ts';
import { decodeParked, encodeParked } from '../../../src/wire/parked.ts';
import { createProject } from '../../cli/run-cli.ts';
import { startRedis, type TestLike } from '../../../scripts/lab/redis-server.ts';
import { until, is } from '../../../scripts/lab/until.ts';

const field = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
const text = (value: string): Buffer => Buffer.from(value);

/** Fails each first two attempts, and writes down what it was given. */
const FAILING = (file: string, name: string, more: string): string => `
import { appendFileSync } from 'node:fs';
import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: '${name}', on: ['note.added'], retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 1, jitter: false }, ${more}
  handle(event, ctx) {
    appendFileSync(${JSON.stringify(file)}, JSON.stringify({ name: '${name}', attempt: ctx.attempt, event }) + '\\n');
    throw new Error('not yet');
  },
});
`;
const EMITTER = `
import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'emitter', on: ['note.removed'], handle(event, ctx) { ctx.emit('note.added', { book: event.data.book, number: 5, text: 'emitted' }); } });
`;

interface Seen {
  readonly name: string;
  readonly attempt: number;
  readonly event: { readonly id: string; readonly source: string; readonly subject: string };
}

/** Functions that fail each event, by name, with the option that sets each one apart. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  ordered: '',
  unordered: "ordering: 'none',",
  held: "onDead: 'hold',",
  inbox: 'dedupe: { windowMs: 60_000 },',
};

/** The source that each event must show, by event id. */
const SOURCES: Readonly<Record<string, string>> = {
  default: 'urn:shop',
  own: 'urn:own',
  stored: 'urn:store',
  front: 'urn:front',
  'front-own': 'urn:own',
  end: 'urn:end-ü',
  'end-2': 'urn:end-ü',
  none: '',
};

/**
 * Dead letters when all have failed: the events of SOURCES, `behind` and the emitted one. The
 * function `held` holds `behind`.
 */
const LETTERS = (Object.keys(SOURCES).length + 2) * Object.keys(FUNCTIONS).length - 1;

const data = (book: string) => ({ book, number: 1, text: '' });

async function openBed(t: TestLike) {
  const redis = await startRedis(t);
  const look = redis.client();
  const project = createProject(t, redis.url);
  const file = join(project.dir, 'seen.jsonl');
  project.write('seen.jsonl', '');
  for (const [name, more] of Object.entries(FUNCTIONS))
    project.write(`workers/${name}.mjs`, FAILING(file, name, more));
  project.write('workers/emitter.mjs', EMITTER);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1, WORKERS: 1 },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  return { look, project, file, millrace };
}
type Bed = Awaited<ReturnType<typeof openBed>>;

async function publishOwn({ millrace }: Bed): Promise<void> {
  const items: PublishItem[] = [
    { type: 'note.added', data: data('default'), id: 'default', extensions: { tenant: 'a' } },
    { type: 'note.added', data: data('own'), id: 'own', source: 'urn:own' },
    // The second event of this subject waits behind the first.
    { type: 'note.added', data: data('default'), id: 'behind' },
    { type: 'note.removed', data: { book: 'emitted' }, id: 'cause' },
  ];
  await millrace.publisher({ source: 'urn:shop' }).publishMany(items);
}

async function appendToStore({ millrace }: Bed): Promise<void> {
  const stored = { type: 'note.added', data: data('stored'), id: 'stored' } as unknown as NewEvent;
  await millrace
    .store({ source: 'urn:store' })
    .append('note', 'stored', [stored], { expectedRevision: 0 });
}

/** Adds batches of a foreign producer: with the source in front, at the end, and without one. */
async function addForeign({ look, millrace }: Bed): Promise<void> {
  const event = (id: string, source: string | null): Buffer =>
    field(
      3,
      Buffer.concat([
        field(1, text(id)),
        field(2, text(id)),
        field(3, Buffer.from(millrace.deployment.catalog.get('note.added').encode(data(id)))),
        ...(source === null ? [] : [field(5, text(source))]),
      ]),
    );
  const add = (...parts: Buffer[]) =>
    look.xadd('mr:{0}:events:note.added', '*', 'b', Buffer.concat(parts));
  await add(field(2, text('urn:front')), event('front', null), event('front-own', 'urn:own'));
  await add(
    event('end', null),
    field(2, text('urn:no')),
    event('end-2', null),
    field(2, text('urn:end-ü')),
  );
  await add(event('none', null));
}

/** Returns the attempts written down so far, by `function event-id`. */
function readSeen({ file }: Bed): Map<string, Seen[]> {
  const all = new Map<string, Seen[]>();
  for (const line of readFileSync(file, 'utf8')
    .split('\n')
    .filter((one) => one !== '')) {
    const one = JSON.parse(line) as Seen;
    const key = `${one.name} ${one.event.id}`;
    all.set(key, [...(all.get(key) ?? []), one]);
  }
  return all;
}

async function countDead({ look }: Bed): Promise<number> {
  let count = 0;
  for (const name of Object.keys(FUNCTIONS))
    count += Number(await look.hget('mr:{0}:counters', `dead:${name}:note.added`));
  return count;
}

/** Resolves when each event has had two attempts, was replayed, and has had two more. */
async function failReplayFail(bed: Bed): Promise<void> {
  const { deployment } = bed.millrace;
  await until('all have failed twice', async () => is(await countDead(bed), LETTERS));
  for await (const letter of listDeadLetters(deployment))
    await replayDeadLetter(deployment, letter);
  await until(
    'and twice again',
    async () =>
      (await countDead(bed)) === LETTERS &&
      [...readSeen(bed)].every(([key, some]) => some.length === (key === 'held behind' ? 0 : 4)),
    20_000,
  );
}

type Assertions = Pick<typeof t, 'equal' | 'strictSame' | 'not'>;

function checkPublished(t: Assertions, found: ReadonlyMap<string, Seen[]>, name: string): void {
  for (const [id, source] of Object.entries(SOURCES)) {
    const attempts = found.get(`${name} ${id}`) ?? [];
    t.equal(attempts.length, 4, `${name} ${id}`);
    t.strictSame(
      attempts.map((one) => one.event.source),
      [source, source, source, source],
      `${name} ${id}`,
    );
    t.strictSame(
      attempts.map((one) => one.event),
      attempts.map(() => attempts[0]?.event),
      'and all else',
    );
  }
}

function checkEmitted(t: Assertions, found: ReadonlyMap<string, Seen[]>, name: string): void {
  const emitted = [...found]
    .filter(([key, [one]]) => key.startsWith(`${name} `) && one?.event.subject === 'emitted')
    .flatMap(([, some]) => some);
  t.equal(emitted.length, 4);
  t.equal(new Set(emitted.map((one) => JSON.stringify(one.event))).size, 1, 'emitted ones too');
  t.not(emitted[0]?.event.source, '');
}

/** `behind` runs only where nothing holds it. */
function checkBehind(t: Assertions, found: ReadonlyMap<string, Seen[]>, name: string): void {
  if (name === 'held') return;
  t.strictSame(
    found.get(`${name} behind`)?.map((one) => one.event.source),
    Array(4).fill('urn:shop'),
  );
}

t.test('whatever wrote it', async (t) => {
  const bed = await openBed(t);
  await publishOwn(bed);
  await appendToStore(bed);
  await addForeign(bed);
  await bed.millrace.dispatcher({ functionsDir: join(bed.project.dir, 'workers') }).start();
  await failReplayFail(bed);
  const found = readSeen(bed);
  for (const name of Object.keys(FUNCTIONS)) {
    checkPublished(t, found, name);
    checkEmitted(t, found, name);
    checkBehind(t, found, name);
  }
});

t.test('a record of a batch without a source has none', async (t) => {
  const event = Buffer.concat([field(1, text('e')), field(2, text('s'))]);
  const record = decodeParked(
    encodeParked({
      event,
      type: 'a.b',
      entryId: '1-0',
      index: 0,
      position: 0,
      attempts: 1,
      firstFailedMs: 1,
      lastFailedMs: 1,
      waitingSinceMs: 0,
      history: [],
      isolate: false,
      eventId: 'e',
      subject: 's',
    }),
  );
  t.equal(record.batchSource, undefined);
  const source = Buffer.from([0x61, 0xff]);
  t.strictSame(
    Buffer.from(decodeParked(encodeParked({ ...record, batchSource: source })).batchSource ?? []),
    source,
    'as it stood there',
  );
});
