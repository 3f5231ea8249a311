/**
 * `millrace view`: a changed view is built beside the live one, killed again and again, verified,
 * switched, rolled back, dropped.
 */
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { connect } from '../../src/millrace.ts';
import { dropGeneration, listViews, rollBackView } from '../../src/views/generations.ts';
import { counter, createProject, parseLines } from '../cli/run-cli.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

/** Kills of a rebuild. TEST_KILLS=10 node dist/test/views/rebuild.test.js takes a longer look. */
const KILLS = Number(process.env['TEST_KILLS'] ?? 4);

/** The fold takes its time, so that it can be killed in the middle. */
const source = (version: number, more: string): string => `
import { defineView } from 'millrace/define';
export default defineView({
  name: 'books', version: ${version}, on: ['note.added', 'note.removed'],
  evolve(row, event) {
    const until = performance.now() + Number(process.env.TEST_SPIN_MS ?? 0);
    while (performance.now() < until);
    const { count = 0, chain = 7 } = row ?? {};
    return { count: count + 1, chain: (chain * 31 + Number(event.data.number ?? 1)) % 1000003 ${more} };
  },
  indexes: { count: { sort: 'count' }, parity: { by: (row) => (row.count % 2 === 0 ? 'even' : 'odd'), sort: 'count' } },
});
`;
const EFFECT = `
import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'mailer', on: ['note.added'], replaySafe: false, handle: () => undefined });
`;

/** A deployment with the view `books`, and the rows that its events must come to. */
async function openBed(t: TestLike) {
  const redis = await startRedis(t);
  const look = redis.client();
  const project = createProject(t, redis.url);
  project.write('workers/books.mjs', source(1, ''));
  project.write('workers/mailer.mjs', EFFECT);
  const millrace = await connect({
    environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 4 },
    protoDir: join(project.dir, 'proto'),
    logger: pino({ level: 'silent' }),
  });
  t.teardown(() => millrace.close());
  const publisher = millrace.publisher({ flushEvents: 50 });
  const expected = new Map<string, { count: number; chain: number }>();
  let published = 0;
  /** Makes the next event, and folds it onto the expected row. */
  const nextEvent = () => {
    const number = published++;
    const book = `b${(number * 7) % 61}`;
    const removed = number % 5 === 0;
    const { count: before, chain } = expected.get(book) ?? { count: 0, chain: 7 };
    expected.set(book, {
      count: before + 1,
      chain: (chain * 31 + (removed ? 1 : number)) % 1_000_003,
    });
    return removed
      ? { type: 'note.removed', data: { book } }
      : { type: 'note.added', data: { book, number, text: '' } };
  };
  return {
    look,
    project,
    millrace,
    published: () => published,
    async publish(count: number): Promise<void> {
      await publisher.publishMany(Array.from({ length: count }, nextEvent));
    },
    folded: async (fn: string): Promise<number> =>
      (await counter(look, `done:${fn}:note.added`)) +
      (await counter(look, `done:${fn}:note.removed`)),
    async rows(): Promise<Map<unknown, unknown>> {
      const { rows: listed } = await millrace.view('books').list({ limit: 1000 });
      return new Map(listed.map(({ id, row }) => [id, row]));
    },
    sorted: (more: object = {}): Map<string, object> =>
      new Map(
        [...expected]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([id, row]) => [id, { ...row, ...more }]),
      ),
  };
}
type Bed = Awaited<ReturnType<typeof openBed>>;

async function buildFirst(t: Test, { look, project, millrace, rows, sorted }: Bed): Promise<void> {
  t.match(await project.here(['view', 'get', 'books', 'b1']), {
    status: 1,
    stderr: /not known in this deployment/,
  });
  const built = await project.run(['view', 'rebuild', 'books']);
  t.match(built, {
    status: 0,
    stdout: /version 1 has 61 rows from 3,000 events, verified; version 1 is live\n/,
  });
  t.strictSame(await rows(), sorted());
  const listed = parseLines(
    (await project.here(['view', 'list', 'books', '--index', 'count', '--desc', '--limit', '5']))
      .stdout,
  );
  t.strictSame(
    listed.map(({ id }) => id),
    (await millrace.view('books').list({ index: 'count', order: 'desc', limit: 5 })).rows.map(
      ({ id }) => id,
    ),
  );
  t.equal(listed.length, 5);
  t.equal(
    await look.hexists('mr:{0}:counters', 'start:mailer'),
    0,
    'no other function runs in a rebuild',
  );
}

/** A rebuild with a slow fold and small batches, so that it can be killed in the middle. */
const SLOW = { TEST_SPIN_MS: '0.3', MILLRACE_BATCH_EVENTS: '50', MILLRACE_LEASE_MS: '500' };

/** Kills the rebuild of version 2 again and again. Returns the events folded at the end. */
async function killRebuild(t: Test, bed: Bed): Promise<number> {
  let done = 0;
  const random = randomOf(4);
  for (let kill = 0; kill < KILLS; kill++) {
    // Now and then before it has got anywhere.
    const goal = done + random((bed.published() * 1.2) / KILLS);
    const running = bed.project.start(['view', 'rebuild', 'books', '--json'], SLOW);
    await running.seen('stdout', /"progress"/);
    await until(
      'some are folded',
      async () => ((done = await bed.folded('books@2')) >= goal ? true : null),
      30_000,
    );
    running.child.kill('SIGKILL');
    t.match(await running.ended, { signal: 'SIGKILL' });
    // The process may have committed more between the look and its death.
    done = await bed.folded('books@2');
  }
  return done;
}

/** Goes on with the rebuild, and stops it by SIGTERM when it has folded more than `done` events. */
async function stopRebuild(t: Test, { project, folded }: Bed, done: number): Promise<void> {
  const stopped = project.start(['view', 'rebuild', 'books'], { ...SLOW, TEST_SPIN_MS: '3' });
  await until('it goes on', async () => ((await folded('books@2')) > done ? true : null), 30_000);
  stopped.child.kill('SIGTERM');
  t.match(await stopped.ended, {
    status: 1,
    stderr: /stopped; the rows built so far are kept/,
  });
}

/** Lets the rebuild come to its end. Checks its report, the rows and the indexes. */
async function finishRebuild(t: Test, bed: Bed): Promise<void> {
  const { project, millrace, rows, sorted } = bed;
  const result = parseLines(
    (await project.run(['view', 'rebuild', 'books', '--json'], { env: SLOW })).stdout,
  ).at(-1);
  t.match(result, {
    view: 'books',
    version: 2,
    live: 2,
    rows: 61,
    events: bed.published(),
    problems: [],
  });
  t.strictSame(await rows(), sorted({ renewed: true }));
  t.match(JSON.parse((await project.here(['view', 'get', 'books', 'b1', '--json'])).stdout), {
    found: { id: 'b1', row: { renewed: true } },
    lag: 0,
    version: 2,
  });
  const even = await project.here([
    'view',
    'count',
    'books',
    '--index',
    'parity',
    '--equals',
    'even',
  ]);
  t.equal(
    Number(even.stdout) +
      (await millrace.view('books').count({ index: 'parity', equals: 'odd' })).count,
    61,
  );
}

async function killAndFinish(t: Test, bed: Bed): Promise<void> {
  bed.project.write('workers/books-2.mjs', source(2, ', renewed: true'));
  const done = await killRebuild(t, bed);
  t.ok(done < bed.published(), `${done} of ${bed.published()} when killed last`);
  t.strictSame(await bed.rows(), bed.sorted(), 'version 1 is read');
  await stopRebuild(t, bed, done);
  await bed.publish(500);
  await finishRebuild(t, bed);
}

async function rollBackAndDrop(t: Test, { look, project, millrace, rows }: Bed): Promise<void> {
  await t.rejects(dropGeneration(millrace.deployment, 'books', 2), {
    code: 'VIEW_GENERATION',
    message: /version 2 is live/,
  });
  t.match(await project.here(['view', 'rollback', 'books']), {
    status: 0,
    stdout: /version 1 is live, no longer 2/,
  });
  t.equal((await rows()).size, 61);
  t.match(parseLines((await project.here(['view', 'status', '--json'])).stdout), [
    { version: 1, live: true, rows: 61 },
    { version: 2, previous: true, rows: 61 },
  ]);
  t.strictSame(await rollBackView(millrace.deployment, 'books'), { from: 1, to: 2 });
  t.match(await project.here(['view', 'drop', 'books', '1']), {
    status: 0,
    stdout: /removed, with 61 rows/,
  });
  t.strictSame(await look.keys('*books@1*'), []);
  await t.rejects(rollBackView(millrace.deployment, 'books'), {
    code: 'VIEW_GENERATION',
    message: /no earlier version is kept/,
  });
  await t.rejects(dropGeneration(millrace.deployment, 'books', 1), {
    code: 'VIEW_GENERATION',
    message: /version 1 is not there/,
  });
  t.match(await project.here(['view', 'rebuild', 'nothing']), {
    status: 1,
    stderr: /holds no view "nothing"/,
  });
  t.match(await project.here(['view', 'list', 'books', '--from', 'soon']), {
    status: 2,
    stderr: /neither a number nor an RFC 3339 time/,
  });
  t.match(await project.here(['rewind', 'books@2', '--to', 'start']), {
    status: 1,
    stderr: /millrace view rebuild books/,
  });
}

async function rewindByForce(t: Test, { project, millrace }: Bed): Promise<void> {
  const dispatcher = millrace.dispatcher({
    functionsDir: join(project.dir, 'workers'),
    skipFiles: ['books.mjs'],
  });
  await dispatcher.start();
  await dispatcher.stop();
  t.match(await project.here(['rewind', 'mailer', '--to', 'start']), {
    status: 1,
    stderr: /replaySafe: false/,
  });
  t.match(
    await project.here(['rewind', 'mailer', '--to', 'end']),
    { status: 0 },
    'forward is no replay',
  );
  t.match(await project.here(['rewind', 'mailer', '--to', 'start', '--force']), { status: 0 });
}

async function rebuildFromTrimmed(t: Test, { look, project, millrace }: Bed): Promise<void> {
  await look.hset('mr:{0}:counters', 'trimmed:note.added', 3);
  project.write('workers/books-3.mjs', source(3, ', third: true'));
  t.match(await project.here(['view', 'rebuild', 'books']), {
    status: 1,
    stderr:
      /3 events of note.added are no longer in the streams \(retention\), and there are no histories/,
  });
  t.match(await listViews(millrace.deployment), [{ view: 'books', live: 2 }]);
}

t.test('a changed view', { timeout: 240_000 }, async (t) => {
  const bed = await openBed(t);
  await bed.publish(3000);

  await t.test('the first version is live as soon as it is known', (t) => buildFirst(t, bed));
  await t.test(
    `killed ${KILLS} times at random: right in the end; the live version answers meanwhile`,
    (t) => killAndFinish(t, bed),
  );
  await t.test('rollback, drop, refusals', (t) => rollBackAndDrop(t, bed));
  await t.test('a function that is not replay-safe is rewound only by force', (t) =>
    rewindByForce(t, bed),
  );
  await t.test('streams that are not whole', (t) => rebuildFromTrimmed(t, bed));
});
