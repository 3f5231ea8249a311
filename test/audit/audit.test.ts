/** The audit log: its records of commands, and the changes that it cannot record. */
import t from 'tap';
import { AuditRefusedError, AuditUnfinishedError } from '../../src/audit/audit-errors.ts';
import { AUDIT_RECORDS, makeAudited } from '../../src/audit/make-audited.ts';
import { readAudit } from '../../src/audit/read-audit.ts';
import { openService } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, parseLines } from '../cli/run-cli.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../pipeline/bare-lane.ts';

const ACTOR = { who: 'anna@laptop', via: 'cli' } as const;
const KEY = 'mr:audit';

t.test('commands that change something are recorded, with their ends', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await openService(t, redis.url, 4);
  const { connection, keys } = millrace.deployment;
  const bed: Bed = { redis, connection, keys, partitions: 4 };
  const lane = await startLane(bed, specOf('teller', ['note.added']), 0);
  await publish(bed, 0, { 'note.added': events(3) });
  await lane.drain(() => 'dead');
  const p = createProject(t, redis.url);
  const run = async (...args: string[]) => {
    const ran = await p.here(args, { MILLRACE_ACTOR: 'anna' });
    return { status: ran.status, out: ran.stdout, err: ran.stderr };
  };

  await t.test('looks, dry runs and wrong use are not', async (t) => {
    for (const args of [
      ['lag'],
      ['limits'],
      ['dlq', 'list'],
      ['dlq', 'replay', '--all', '--dry-run'],
      ['limits', 'note.added', '--max-age', '5'],
    ])
      await run(...args);
    t.match(await run('audit'), { status: 0, out: '', err: /no change is recorded/ });
    t.equal(await look.exists(KEY), 0);
  });

  const changes: readonly (readonly [string[], object])[] = [
    [
      ['limits', 'note.added', '--max-events', '500'],
      { action: 'limits set', target: 'note.added', before: {}, after: { maxEvents: 500 } },
    ],
    [
      ['limits', 'note.added', '--unset'],
      { action: 'limits unset', before: { maxEvents: 500 }, after: {} },
    ],
    [
      ['dlq', 'replay', '--function', 'teller', '--limit', '1'],
      {
        action: 'dlq replay',
        target: 'teller',
        wanted: { ids: [], function: 'teller', limit: 1 },
        after: { replayed: 1, gone: 0, notReplayable: 0 },
      },
    ],
    [
      ['dlq', 'purge', '--type', 'note.added', '--yes'],
      { action: 'dlq purge', target: 'note.added', after: { purged: 2, events: 2 } },
    ],
    [
      ['rewind', 'teller', '--to', 'start'],
      {
        action: 'rewind',
        target: 'teller',
        wanted: { to: 'start', force: false },
        before: { appended: 3, dead: 2, parked: 1 },
        after: { partitions: 1, events: 3 },
      },
    ],
    [
      ['schema', 'level', 'test.event', 'NONE'],
      {
        action: 'schema level',
        target: 'test.event',
        before: { level: 'FULL_TRANSITIVE', own: false },
        after: { level: 'NONE', own: true },
      },
    ],
    [
      ['schema', 'register', 'note.added'],
      { action: 'schema register', target: 'note.added', after: { added: { 'note.added': 1 } } },
    ],
    [
      ['scheduled', 'cancel', 'nobody'],
      { action: 'scheduled cancel', target: 'nobody', after: { cancelled: 0, missed: 1 } },
    ],
  ];
  for (const [args, expected] of changes)
    await t.test(args.join(' '), async (t) => {
      const ran = await run(...args);
      const [last] = await readAudit(bed, 1);
      t.match(
        last,
        { ...expected, who: 'anna', via: 'cli', outcome: 'done', error: null },
        ran.err,
      );
    });

  await t.test('a change that fails is recorded with its error', async (t) => {
    const { status, err } = await run('functions', 'remove', 'teller');
    t.equal(status, 1);
    const [last] = await readAudit(bed, 1);
    t.match(last, { action: 'functions remove', outcome: 'failed', before: { parked: 1 } });
    t.ok(err.includes(String(last?.error).slice(0, 60)), 'the error that was shown');
  });

  await t.test('millrace audit lists them, the newest last', async (t) => {
    const { out } = await run('audit', '--json');
    const lines = parseLines(out);
    t.equal(lines.length, changes.length + 1);
    t.match(lines.at(-1), { action: 'functions remove', outcome: 'failed', who: 'anna' });
    t.match(lines[0], {
      at: /^2.*Z$/,
      ended: /Z$/,
      target: 'note.added',
      after: { maxEvents: 500 },
    });
    const table = await run('audit', '--limit', '2');
    t.match(table.out, /schema|scheduled cancel.*nobody.*done[^]*functions remove.*failed/);
    t.notMatch(table.out, /limits set/);
  });

  await t.test('a change that cannot be recorded is not made', async (t) => {
    await look.rename(KEY, 'aside');
    await look.set(KEY, 'in the way');
    const { status, err } = await run('limits', 'note.added', '--max-events', '7');
    t.equal(status, 1);
    t.match(
      err,
      /"limits set note\.added" was not begun.*mr:audit.*WRONGTYPE.*Nothing was changed/,
    );
    t.equal((await run('limits', '--json')).out, '{}\n');
  });
});

t.test('the record of a change, whatever becomes of it', async (t) => {
  const bed = await makeBed(t);
  const look = bed.redis.client();
  const change = <T>(make: () => Promise<T>, target = 'thing') =>
    makeAudited(bed, ACTOR, { action: 'change', target, make });

  await t.test('a process that dies leaves it open', async (t) => {
    let begun = (): void => {};
    const running = new Promise<void>((resolve) => (begun = resolve));
    void change(() => {
      begun();
      return new Promise(() => {});
    });
    await running;
    t.match(await readAudit(bed, 5), [{ outcome: 'open', endedMs: null, who: 'anna@laptop' }]);
  });

  await t.test('an end that cannot be written is an error, and says what was done', async (t) => {
    const spoil = async (): Promise<void> => {
      await look.set(KEY, 'in the way');
    };
    const made = await change(spoil).catch((error: unknown) => error);
    t.type(made, AuditUnfinishedError);
    t.match(made, { changed: true, message: /was made, but its end could not be written/ });
    await look.del(KEY);
    const failed = await change(async () => {
      await spoil();
      throw new Error('no such thing');
    }).catch((error: unknown) => error);
    t.match(failed, { changed: false, message: /failed \(no such thing\), but its end/ });
    const refused = await change(() => t.fail('made') as never).catch((error: unknown) => error);
    t.type(refused, AuditRefusedError);
    await look.del(KEY);
  });

  await t.test('long values, strange texts and foreign records', async (t) => {
    await look.xadd(KEY, '*', 'foreign', 'record');
    await makeAudited(bed, ACTOR, {
      action: 'change',
      target: '\u001b[31m\ud800',
      wanted: { text: 'x'.repeat(50_000) },
      make: () => Promise.resolve(1n),
    });
    const [last, other] = await readAudit(bed, 5);
    t.match(last, { target: '\u001b[31m\ufffd', outcome: 'done' });
    t.equal(String(last?.wanted).length, 1000, 'cut');
    t.match(other, { action: '', outcome: 'open' });
  });

  await t.test('the log is bounded, and takes records when Redis is full', async (t) => {
    const pipeline = look.pipeline();
    for (let i = 0; i < AUDIT_RECORDS + 10; i++) pipeline.xadd(KEY, '*', 'change', String(i));
    await pipeline.exec();
    await look.config('SET', 'maxmemory', '1');
    t.equal(await change(() => Promise.resolve('made')), 'made');
    t.equal(await look.xlen(KEY), AUDIT_RECORDS);
    t.match(await readAudit(bed, 1), [{ outcome: 'done' }]);
    t.equal((await readAudit(bed, 1200)).length, 1200, 'more than a page');
  });
});
