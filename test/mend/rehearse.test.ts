import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ConfigError } from '../../src/core/errors/input-errors.ts';
import { groupKeyOf } from '../../src/core/letter-fingerprint.ts';
import { ALL_ROWS } from '../../src/core/view-spec.ts';
import type { Deployment } from '../../src/deployment.ts';
import { Rehearsals, type Rehearsal } from '../../src/mend/rehearse.ts';
import type { DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { schemaOfEvent } from '../../src/wire/schema-of-event.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { projectDir, type TestLike } from '../../scripts/lab/redis-server.ts';
import { openDeadBed } from './dead-bed.ts';

const FUNCTION = `import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'f',
  on: ['test.event'],
  timeoutMs: 500,
  retry: { attempts: 3 },
  async handle(event, ctx) {
    const { order, number } = event.data;
    ctx.logger.info({ number }, 'working');
    console.log('printed ' + event.id + ', attempt ' + ctx.attempt);
    if (order === 'throw') throw new Error('no order ' + event.id);
    if (order === 'exit') process.exit(3);
    if (order === 'hang') await new Promise(() => setTimeout(() => {}, 60000));
    ctx.emit('test.other', { key: 'k', number: number + 1, order });
    ctx.emit('test.other', { key: 'k', order: 'late' }, { delayMs: 60000 });
  },
});
`;
const VIEW = `import { defineView } from 'millrace/define';
export default defineView({
  name: 'v',
  version: 1,
  on: ['test.event'],
  evolve(row, event) {
    if (event.data.order === 'drop') return null;
    return { sum: (row?.sum ?? 0) + event.data.number, last: event.data.order };
  },
  indexes: { last: { by: 'last' } },
});
`;

/** Creates a functions folder. @returns its path */
function folder(t: TestLike, files: Readonly<Record<string, string>>): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-rehearse-')));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'workers'));
  mkdirSync(join(dir, 'node_modules'));
  symlinkSync(projectDir, join(dir, 'node_modules', 'millrace'));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, 'workers', name), text);
  return join(dir, 'workers');
}

async function open(
  t: TestLike,
  deployment: Deployment,
  files: Readonly<Record<string, string>>,
): Promise<Rehearsals> {
  const rehearsals = await Rehearsals.open({
    deployment,
    functionsDir: folder(t, files),
    signal: new AbortController().signal,
  });
  t.teardown(() => rehearsals.close());
  return rehearsals;
}

const byId = (letters: readonly DeadLetter[], id: string): DeadLetter =>
  letters.find(({ eventId }) => eventId === id) as DeadLetter;

t.test('a rehearsal shows what would happen, and writes nothing', async (t) => {
  const dead = await openDeadBed(t);
  for (const order of ['ok', 'throw', 'exit', 'hang']) await dead.die([order], { order });
  const letters = await dead.letters();
  const client = dead.bed.redis.client();
  const before = await dump(client);
  const rehearsals = await open(t, dead.service.deployment, { 'f.js': FUNCTION });
  const run = (id: string): Promise<Rehearsal> => rehearsals.run(byId(letters, id));

  const done = await run('ok');
  t.match(done, {
    letter: byId(letters, 'ok').id,
    eventId: 'ok',
    function: 'f',
    outcome: 'done',
    problem: null,
    failure: null,
    rows: null,
    outputLeftOut: 0,
    externalEffects: 'happened',
  });
  t.match(done.emitted, [
    {
      type: 'test.other',
      subject: 'k',
      partition: 0,
      when: null,
      data: { key: 'k', number: 2, order: 'ok' },
    },
    { when: { kind: 'delay', ms: 60_000 }, data: { order: 'late' } },
  ]);
  t.equal(done.emitted.length, 2);
  t.match(done.output, [
    { from: 'log', text: /"number":1.*"msg":"working"/ },
    { from: 'stdout', text: 'printed ok, attempt 1\n' },
  ]);

  const thrown = await run('throw');
  t.match(thrown, {
    outcome: 'failed',
    emitted: [],
    failure: {
      reason: 'attempts',
      retryable: true,
      error: { name: 'Error', message: 'no order throw', stack: /workers\/f\.js/ },
      asBefore: false,
    },
  });
  t.equal(thrown.output.length, 2, 'output of this run only');
  const letter = byId(letters, 'throw');
  const { error } = thrown.failure as NonNullable<Rehearsal['failure']>;
  const { fingerprint } = groupKeyOf({
    fn: 'f',
    type: letter.type,
    schema: schemaOfEvent(letter.bytes),
    error,
  });
  t.match(await rehearsals.run({ ...letter, fingerprint }), { failure: { asBefore: true } });
  t.match(await rehearsals.run({ ...letter, fingerprint: '' }), { failure: { asBefore: null } });

  t.match(await run('exit'), { outcome: 'failed', failure: { reason: 'thread-death' } });
  t.match(await run('hang'), { outcome: 'failed', failure: { reason: 'timeout' } });
  t.match(await run('ok'), { outcome: 'done' }, 'a new thread goes on');
  t.strictSame(await dump(client), before);
});

t.test("a view's row is shown as a difference", async (t) => {
  const dead = await openDeadBed(t, 'v@1');
  await dead.die(['one'], { number: 5 });
  await dead.die(['gone'], { order: 'drop' });
  const letters = await dead.letters();
  const { bed } = dead;
  const client = bed.redis.client();
  const stored = { row: { sum: 3, last: 'x' }, at: '1-0/0', rev: 2, ix: [['x', 0]] };
  await client.set(bed.keys.viewRow(0, 'v@1', 's'), JSON.stringify(stored));
  await client.zadd(bed.keys.viewIndex(0, 'v@1', ALL_ROWS), '0', 'any');
  const before = await dump(client);
  const rehearsals = await open(t, dead.service.deployment, { 'v.js': VIEW });
  t.match(await rehearsals.run(byId(letters, 'one')), {
    function: 'v@1',
    outcome: 'done',
    externalEffects: 'none',
    rows: [
      {
        id: 's',
        before: { sum: 3, last: 'x' },
        after: { sum: 8, last: 'ok' },
        eventsBefore: 2,
        eventsAfter: 3,
        differences: {
          list: [
            { path: 'sum', before: 3, after: 8 },
            { path: 'last', before: 'x', after: 'ok' },
          ],
        },
      },
    ],
  });
  const dropped = await rehearsals.run(byId(letters, 'gone'));
  t.match(dropped.rows, [{ id: 's', before: { sum: 3 }, eventsAfter: 0 }]);
  t.equal(dropped.rows?.[0]?.after, undefined);
  t.strictSame(await dump(client), before);
});

t.test('a row that does not exist yet', async (t) => {
  const dead = await openDeadBed(t, 'v@1');
  await dead.die(['one'], { number: 5 });
  const rehearsals = await open(t, dead.service.deployment, { 'v.js': VIEW });
  const [row] = (await rehearsals.run((await dead.letters())[0] as DeadLetter)).rows ?? [];
  t.match(row, { after: { sum: 5 }, eventsBefore: 0, eventsAfter: 1 });
  t.equal(row?.before, undefined);
});

t.test('an event that cannot run says why', async (t) => {
  const dead = await openDeadBed(t);
  await dead.die(['one']);
  const [letter] = (await dead.letters()) as [DeadLetter];
  const rehearsals = await open(t, dead.service.deployment, {
    'f.js': FUNCTION,
    'g.js': FUNCTION.replace("name: 'f'", "name: 'g'").replace("['test.event']", "['test.other']"),
  });
  const reasons: readonly (readonly [Partial<DeadLetter>, RegExp])[] = [
    [{ kind: 'entry' }, /an entry that could not be read/],
    [{ kind: 'record' }, /a record that could not be read/],
    [{ function: 'h' }, /no file of the functions folder defines the function "h"/],
    [{ function: 'g' }, /no longer consumes "test\.event"/],
  ];
  for (const [more, problem] of reasons)
    t.match(await rehearsals.run({ ...letter, ...more }), {
      outcome: 'not-run',
      problem,
      externalEffects: 'none',
    });
});

t.test('a folder that no dispatcher would start with is refused', async (t) => {
  const dead = await openDeadBed(t);
  await t.rejects(open(t, dead.service.deployment, {}), ConfigError);
  await t.rejects(
    open(t, dead.service.deployment, { 'f.js': FUNCTION, 'g.js': FUNCTION }),
    ConfigError,
    'two functions of one name',
  );
});
