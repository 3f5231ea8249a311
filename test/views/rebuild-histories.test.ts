/**
 * `millrace view rebuild` where retention has trimmed the streams: from the histories, killed and
 * paused on the way, with the right rows in the end.
 */
import { join } from 'node:path';
import { pino } from 'pino';
import t from 'tap';
import { connect, type Millrace } from '../../src/millrace.ts';
import { retain } from '../../src/upkeep/retention.ts';
import type { RedisConnection } from '../../src/redis/contract.ts';
import { createProject, NOTES_PROTO, parseLines, type Project } from '../cli/run-cli.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const PARTITIONS = 4;
const PROTO = `${NOTES_PROTO}
message NoteRead {
  option (millrace.v1.event) = { type: "note.read", subject: "book" };
  string book = 1;
}
`;
/**
 * Kills in a pass. More kills for a longer test: TEST_KILLS=10 node
 * dist/test/views/rebuild-histories.test.js
 */
const KILLS = Number(process.env['TEST_KILLS'] ?? 2);

interface Book {
  readonly count: number;
  readonly chain: number;
}

/** The fold of the view's source. */
function evolve(row: Book | null, type: string, number: number): Book | null {
  const { count, chain } = row ?? { count: 0, chain: 7 };
  if (type === 'note.removed' && count % 3 === 0) return null;
  return { count: count + 1, chain: (chain * 31 + number) % 1_000_003 };
}

const source = (version: number, more = '', before = ''): string => `
import { defineView } from 'millrace/define';
export default defineView({
  name: 'books', version: ${version}, on: ['note.added', 'note.removed'],
  evolve(row, event) {
    ${before}
    const until = performance.now() + Number(process.env.TEST_SPIN_MS ?? 0);
    while (performance.now() < until);
    const { count = 0, chain = 7 } = row ?? {};
    if (event.type === 'note.removed' && count % 3 === 0) return null;
    return { count: count + 1, chain: (chain * 31 + Number(event.data.number ?? 1)) % 1000003 ${more} };
  },
  indexes: { count: { sort: 'count' }, parity: { by: (row) => (row.count % 2 === 0 ? 'even' : 'odd'), sort: 'count' } },
});
`;

type Look = ReturnType<Awaited<ReturnType<typeof startRedis>>['client']>;

/** A function's counts, as `millrace lag --json` shows them. */
interface Counts {
  readonly name: string;
  readonly conserved: boolean;
  readonly appended: number;
  readonly done: number;
  readonly lag: number;
}

type BookEvent =
  | { type: 'note.read' | 'note.removed'; data: { book: string } }
  | { type: 'note.added'; data: { book: string; number: number; text: string } };

/** Random histories of books, and the rows that a view of their events must have. */
class Histories {
  readonly expected = new Map<string, Book>();
  /** Events appended of the types that the view consumes. */
  appended = 0;
  readonly #store: ReturnType<Millrace['store']>;
  readonly #random: ReturnType<typeof randomOf>;

  constructor(millrace: Millrace, seed: number) {
    this.#store = millrace.store();
    this.#random = randomOf(seed);
  }

  /**
   * Appends `count` events in two categories that share their ids. Appends of one id come one after
   * the other; all ids together. The order per id decides the rows.
   */
  async append(count: number): Promise<void> {
    const perId = this.#planAppends(count);
    await Promise.all(
      [...perId.values()].map(async (line) => {
        for (const append of line) await append();
      }),
    );
  }

  #planAppends(count: number): Map<string, (() => Promise<unknown>)[]> {
    const random = this.#random;
    const perId = new Map<string, (() => Promise<unknown>)[]>();
    for (let left = count; left > 0;) {
      // One history is longer than a page.
      const id = random(4) === 0 ? 'long' : `b${random(40)} é`;
      const events = Array.from({ length: Math.min(left, 1 + random(3)) }, () =>
        this.#nextEvent(id),
      );
      left -= events.filter(({ type }) => type !== 'note.read').length;
      const line = perId.get(id) ?? [];
      perId.set(id, line);
      const category = random(2) === 0 ? 'book' : 'shelf';
      line.push(() =>
        this.#store.append(category, id, events as never, { expectedRevision: 'any' }),
      );
    }
    return perId;
  }

  /** Makes an event of a book, and folds it onto the expected row. */
  #nextEvent(book: string): BookEvent {
    const random = this.#random;
    if (random(12) === 0) return { type: 'note.read', data: { book } };
    const number = this.appended++;
    const removed = random(5) === 0;
    const row = evolve(
      this.expected.get(book) ?? null,
      removed ? 'note.removed' : 'note.added',
      removed ? 1 : number,
    );
    if (row === null) this.expected.delete(book);
    else this.expected.set(book, row);
    return removed
      ? { type: 'note.removed', data: { book } }
      : { type: 'note.added', data: { book, number, text: 'x'.repeat(random(30)) } };
  }
}

/** A deployment with histories, a project with the view `books`, and looks at both. */
class Bed {
  readonly project: Project;
  readonly millrace: Millrace;
  readonly look: Look;
  readonly histories: Histories;

  constructor(project: Project, millrace: Millrace, look: Look, seed: number) {
    this.project = project;
    this.millrace = millrace;
    this.look = look;
    this.histories = new Histories(millrace, seed);
  }

  get expected(): Map<string, Book> {
    return this.histories.expected;
  }

  appended(): number {
    return this.histories.appended;
  }

  append(count: number): Promise<void> {
    return this.histories.append(count);
  }

  async trim(keep: number): Promise<void> {
    const { connection, keys } = this.millrace.deployment;
    for (let p = 0; p < PARTITIONS; p++)
      for (const type of ['note.added', 'note.removed'])
        await retain(
          { connection: connection as RedisConnection, keys, partitions: PARTITIONS },
          p,
          type,
          { maxEvents: keep },
        );
  }

  async folded(generation: string): Promise<number> {
    let sum = [...(await this.passes(generation)).values()].reduce(
      (all, events) => all + events,
      0,
    );
    for (let p = 0; p < PARTITIONS; p++) {
      for (const type of ['note.added', 'note.removed'])
        sum += Number(
          (await this.look.hget(`mr:{${p}}:counters`, `done:${generation}:${type}`)) ?? 0,
        );
    }
    return sum;
  }

  /** Events folded by the passes under way, by partition. */
  async passes(generation: string): Promise<Map<number, number>> {
    const found = new Map<number, number>();
    for (let p = 0; p < PARTITIONS; p++) {
      const text = await this.look.get(`mr:{${p}}:pass:${generation}`);
      if (text === null) continue;
      const { folded } = JSON.parse(text) as { folded: Record<string, number> };
      found.set(
        p,
        Object.values(folded).reduce((sum, events) => sum + events, 0),
      );
    }
    return found;
  }

  async rows(): Promise<Map<unknown, unknown>> {
    const { rows } = await this.millrace.view('books').list({ limit: 1000 });
    return new Map(rows.map(({ id, row }) => [id, row]));
  }

  async conserved(name: string): Promise<Counts> {
    const { functions } = JSON.parse((await this.project.here(['lag', '--json'])).stdout) as {
      functions: Counts[];
    };
    return functions.find((fn) => fn.name === name) as Counts;
  }
}

async function open(t: TestLike, seed: number): Promise<Bed> {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, { 'proto/notes.proto': PROTO });
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: PARTITIONS },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  return new Bed(project, millrace, redis.client(), seed);
}

const sorted = (expected: ReadonlyMap<string, Book>, more: object = {}): Map<string, object> =>
  new Map(
    [...expected]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, row]) => [id, { ...row, ...more }]),
  );

type Assertions = Pick<typeof t, 'ok' | 'equal' | 'match' | 'strictSame'>;

/** A rebuild with a slow fold and small batches, so that it can be killed in the pass. */
const SLOW = { TEST_SPIN_MS: '0.3', MILLRACE_BATCH_EVENTS: '40', MILLRACE_LEASE_MS: '500' };

/** Kills the rebuild of version 2 again and again. Events are appended at each kill. */
async function killInPass(t: Assertions, bed: Bed): Promise<void> {
  const random = randomOf(5);
  let done = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const goal = done + random(Math.floor(4000 / KILLS));
    const running = bed.project.start(['view', 'rebuild', 'books'], SLOW);
    await running.seen(
      'stderr',
      /streams trimmed: building books@2 from histories in \d+ partitions?, /,
    );
    await until(
      'some are folded',
      async () => ((done = await bed.folded('books@2')) >= goal ? true : null),
      30_000,
    );
    const appending = bed.append(30);
    running.child.kill('SIGKILL');
    t.match(await running.ended, { signal: 'SIGKILL' });
    await appending;
  }
}

async function checkHalfBuilt(t: Assertions, bed: Bed): Promise<void> {
  const pass = await bed.look.keys('mr:{*}:pass:books@2');
  t.ok(pass.length > 0, 'in the pass when killed last');
  t.match(
    await bed.conserved('books@2'),
    { conserved: true, parked: 0, dead: 0 },
    'conserved half-way',
  );
  t.match(await bed.project.here(['view', 'rebuild', 'books', '--version', '1']), { status: 0 });
  t.strictSame(await bed.rows(), sorted(bed.expected), 'version 1 is read, and kept up to date');
}

/**
 * Starts a dispatcher of the new version, which is deployed too early. It must not fold later
 * events onto rows that are not there yet.
 */
async function startTooEarly({ project }: Bed): Promise<ReturnType<Project['start']>> {
  project.write('early/books.mjs', source(2, ', renewed: true'));
  const early = project.start(['start', './early', '--proto', './proto'], {
    MILLRACE_PORT: '0',
    MILLRACE_LEASE_MS: '500',
  });
  await early.seen('stderr', /ready/);
  return early;
}

/** Appends, goes on with the rebuild, and stops it by SIGTERM while it is still in the pass. */
async function pauseInPass(t: Assertions, bed: Bed): Promise<void> {
  await bed.append(50);
  const before = await bed.passes('books@2');
  const paused = bed.project.start(['view', 'rebuild', 'books'], { ...SLOW, TEST_SPIN_MS: '2' });
  await until(
    'it goes on',
    async () =>
      [...(await bed.passes('books@2'))].some(([p, events]) => events > (before.get(p) ?? 0))
        ? true
        : null,
    30_000,
  );
  paused.child.kill('SIGTERM');
  t.match(await paused.ended, { status: 1, stderr: /stopped; the rows built so far are kept/ });
  t.ok((await bed.look.keys('mr:{*}:pass:books@2')).length > 0, 'still in the pass');
}

/** Checks the printed report of the rebuild that came to its end. */
function checkReport(t: Assertions, bed: Bed, ended: Awaited<ReturnType<Project['here']>>): void {
  const lines = parseLines(ended.stdout);
  t.match(
    lines.find(({ progress }) => progress !== undefined),
    { progress: { from: 'histories' } },
  );
  t.match(
    lines.at(-1),
    {
      view: 'books',
      version: 2,
      live: 2,
      rows: bed.expected.size,
      events: bed.appended(),
      problems: [],
    },
    ended.stderr,
  );
  t.ok(Number(lines.at(-1)?.['refoldedRows']) > 0);
}

/** Checks the rows, the counters and the indexes of version 2. */
async function checkBuilt(t: Assertions, bed: Bed): Promise<void> {
  t.strictSame(
    await bed.rows(),
    sorted(bed.expected, { renewed: true }),
    'each row is the fold over all its events',
  );
  t.strictSame(await bed.look.keys('mr:{*}:pass:*'), []);
  t.match(await bed.conserved('books@2'), {
    conserved: true,
    appended: bed.appended(),
    done: bed.appended(),
    lag: 0,
  });
  const view = bed.millrace.view('books');
  t.equal(
    (await view.count({ index: 'parity', equals: 'odd' })).count +
      (await view.count({ index: 'parity', equals: 'even' })).count,
    bed.expected.size,
  );
  t.equal((await view.count({ index: 'count' })).count, bed.expected.size);
}

t.test('trimmed streams: from the histories', { timeout: 180_000 }, async (t) => {
  const bed = await open(t, 11);
  const { project, look, expected, millrace } = bed;
  project.write('workers/books.mjs', source(1));
  await bed.append(5000);
  const first = await project.run(['view', 'rebuild', 'books', '--json']);
  t.match(parseLines(first.stdout).at(-1), { version: 1, live: 1, events: 5000, problems: [] });
  t.ok(
    Number(parseLines(first.stdout).at(-1)?.['refoldedRows']) > 0,
    'some rows were folded anew from their histories',
  );
  t.strictSame(await bed.rows(), sorted(expected));

  await t.test('verified: a row that is not what its histories come to', async (t) => {
    const keys = (await look.keys('mr:{*}:view:books@1:*')).sort();
    const before = await look.mget(keys);
    for (const [i, key] of keys.entries())
      await look.set(key, (before[i] as string).replace(/"chain":\d+/, '"chain":1'));
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 1,
      stderr: /row .* differs from a fold of its histories/,
    });
    for (const [i, key] of keys.entries()) await look.set(key, before[i] as string);
    t.match(await project.here(['view', 'rebuild', 'books']), { status: 0 });
  });

  await bed.trim(400);
  const trimmed = await Promise.all(
    Array.from({ length: PARTITIONS }, async (_, p) =>
      Number(await look.hget(`mr:{${p}}:counters`, 'trimmed:note.added')),
    ),
  );
  t.ok(
    trimmed.every((events) => events > 0),
    `trimmed in every partition: ${trimmed.join(', ')}`,
  );

  await t.test('what was complete before the trimming is so still', async (t) => {
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 0,
      stdout: /version 1 has/,
    });
  });

  await t.test('how far it is cannot be read: nothing is guessed', async (t) => {
    project.write('workers/books.mjs', source(9));
    const field = 'pass:books@9';
    for (const damage of ['{', 'null', '5', '{}', '[]']) {
      for (let p = 0; p < PARTITIONS; p++) await look.hset(`mr:{${p}}:counters`, field, damage);
      t.match(
        await project.here(['view', 'rebuild', 'books']),
        {
          status: 1,
          stderr:
            /the progress of version 9 \(its build from histories\) cannot be read \(field pass:books@9 of mr:\{\d\}:counters\)/,
        },
        damage,
      );
    }
    for (let p = 0; p < PARTITIONS; p++) await look.hdel(`mr:{${p}}:counters`, field);
    await look.hdel('mr:registry:views', 'generation:books@9', 'lookups:books@9');
    project.write('workers/books.mjs', source(1));
  });

  await t.test('killed in the pass, paused, appended to meanwhile', async (t) => {
    project.write('workers/books-2.mjs', source(2, ', renewed: true'));
    await killInPass(t, bed);
    await checkHalfBuilt(t, bed);
    const early = await startTooEarly(bed);
    await pauseInPass(t, bed);
    await bed.append(100);
    const ended = await project.here(['view', 'rebuild', 'books', '--json'], {
      MILLRACE_LEASE_MS: '500',
    });
    early.child.kill('SIGTERM');
    await early.ended;
    checkReport(t, bed, ended);
    await checkBuilt(t, bed);
  });

  await t.test('an event that cannot be folded', async (t) => {
    await bed.trim(40);
    const bad = `if (event.subject === 'long' && row?.count === 17) throw new RangeError('seventeen');`;
    project.write('workers/books-3.mjs', source(3, ', third: true', bad));
    const failed = await project.here(['view', 'rebuild', 'books']);
    t.match(failed, {
      status: 1,
      stderr:
        /view "books", version 3, cannot fold note\.\w+ \S+ \(\d\/\d+-\d+\/\d+; history (book|shelf) long, revision \d+\): RangeError: seventeen\. Nothing of its batch was written\. Mend evolve/,
    });
    t.match(parseLines((await project.here(['view', 'status', '--json'])).stdout), [
      { version: 1 },
      { version: 2, live: true },
      { version: 3, live: false },
    ]);
    project.write('workers/books-3.mjs', source(3, ', third: true'));
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 0,
      stdout: new RegExp(`version 3 has ${expected.size} rows .* version 3 is live`),
    });
    t.strictSame(await bed.rows(), sorted(expected, { third: true }));
  });

  await t.test('events that are in no history', async (t) => {
    // An event of a type that the view does not consume: it does not matter.
    const publisher = millrace.publisher();
    await publisher.publishMany([{ type: 'note.read' as string, data: { book: 'long' } }]);
    project.write('workers/books-4.mjs', source(4, ', fourth: true'));
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 0,
      stdout: /version 4 is live/,
    });

    await publisher.publishMany([
      { type: 'note.added' as string, data: { book: 'plain', number: 5, text: '' } },
    ]);
    project.write('workers/books-5.mjs', source(5, ', fifth: true'));
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 1,
      stderr:
        /the streams of version 5 are trimmed .*\(partition \d\): 1 of note\.added\. The missing events were published without the event store/,
    });
    t.match(await bed.conserved('books@5'), { conserved: true });
    t.match(await project.here(['view', 'drop', 'books', '5']), { status: 0 });
    t.strictSame(await look.keys('*books@5*'), []);
    t.equal(
      (
        await Promise.all(
          Array.from({ length: PARTITIONS }, async (_, p) =>
            (await look.hkeys(`mr:{${p}}:counters`)).filter((field) => field.includes('books@5')),
          ),
        )
      ).flat().length,
      0,
    );

    t.match(await project.here(['view', 'rebuild', 'books']), { status: 1 });
    t.match(await project.here(['view', 'rebuild', 'books', '--incomplete']), {
      status: 0,
      stdout: /version 5 is live/,
    });
    const rows = await bed.rows();
    rows.delete('plain');
    t.strictSame(rows, sorted(expected, { fifth: true }), 'what the histories hold');
    t.match(await project.here(['view', 'rebuild', 'books']), {
      status: 1,
      stderr:
        /1 events \(1 of note.added\) were no longer in the streams \(retention\) when a dispatcher began version 5/,
    });
  });
});

t.test(
  'one partition trimmed, the others whole; a history with a type that the view lacks',
  { timeout: 60_000 },
  async (t) => {
    const bed = await open(t, 3);
    const { project, millrace, expected } = bed;
    await bed.append(600);
    const { connection, keys } = millrace.deployment;
    for (const type of ['note.added', 'note.removed'])
      await retain({ connection, keys, partitions: PARTITIONS }, 1, type, { maxEvents: 0 });
    project.write('workers/books.mjs', source(1));
    const built = await project.here(['view', 'rebuild', 'books']);
    t.match(built, { status: 0, stderr: /building books@1 from histories in 1 partition, / });
    t.strictSame(await bed.rows(), sorted(expected));
    t.match(await bed.conserved('books@1'), { conserved: true, appended: 600, done: 600, lag: 0 });
  },
);
