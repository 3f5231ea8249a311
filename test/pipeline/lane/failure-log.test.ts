import { mock } from 'node:test';
import t from 'tap';
import type { FailedAttempt } from '../../../src/pipeline/commit/commit-plan.ts';
import { FailureBursts } from '../../../src/core/failure-bursts.ts';
import { SetupError } from '../../../src/core/errors/handler-errors.ts';
import { RedisReplyError, UnknownOutcomeError } from '../../../src/core/errors/server-errors.ts';
import { ownFrame } from '../../../src/core/own-frame.ts';
import { sayUncaught } from '../../../src/dispatcher/uncaught.ts';
import { FailureLog, type FailingLane } from '../../../src/pipeline/lane/failure-log.ts';
import type { Log } from '../../../src/core/log.ts';
import { until } from '../../../scripts/lab/until.ts';

const failure = (i: number, more: Partial<FailedAttempt> = {}): FailedAttempt => ({
  eventId: `e${i}`,
  type: 'test.event',
  subject: 's',
  entry: '1-0',
  index: i,
  attempt: 2,
  nextMs: 400,
  reason: 'attempts',
  error: {
    name: 'TypeError',
    message: 'fetch failed',
    stack: 'TypeError: fetch failed\n    at mine.ts:3:1',
    cause: 'Error: connect ECONNREFUSED',
  },
  ...more,
});

const laneOf = (fn: string, partition: number, attempts: number): FailingLane => ({
  fn,
  partition,
  attempts,
  traceOf: ({ eventId }) =>
    eventId === 'e1'
      ? { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: true, state: '' }
      : null,
});

function open(windowMs: number) {
  const lines: { message: string; fields: Record<string, unknown> }[] = [];
  const log: Log = (_, message, fields = {}) => void lines.push({ message, fields });
  const bursts = new FailureBursts({ log, lines: 3, windowMs });
  return { lines, bursts, say: log, log: new FailureLog(log, bursts) };
}

t.test('one line each says where, which attempt, when again, and why', (t) => {
  const { lines, bursts, log } = open(60_000);
  log.failed(laneOf('f', 7, 5), [
    failure(0),
    failure(1, { nextMs: null, reason: 'non-retryable' }),
  ]);
  const where = {
    function: 'f',
    partition: 7,
    type: 'test.event',
    subject: 's',
    entry: '1-0',
    attempt: 2,
    attempts: 5,
  };
  const why = {
    error: 'fetch failed',
    errorName: 'TypeError',
    cause: 'Error: connect ECONNREFUSED',
    stack: /mine\.ts:3:1/,
  };
  t.match(lines, [
    {
      message: 'attempt 2 of 5 failed, the next one is due in 400 ms',
      fields: { ...where, eventId: 'e0', index: 0, nextMs: 400, reason: 'attempts', ...why },
    },
    {
      message: 'event dead-lettered',
      fields: { ...where, eventId: 'e1', index: 1, reason: 'non-retryable', ...why },
    },
  ]);
  t.notOk('trace_id' in (lines[0]?.fields ?? {}));
  t.match(lines[1]?.fields, { trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16) });
  bursts.close();
  t.equal(lines.length, 2, 'nothing is summed up where every one had its line');
  t.end();
});

t.test('a burst: some lines per function and kind, then counts by error', async (t) => {
  const { lines, bursts, log } = open(60_000);
  for (let turn = 0; turn < 100; turn++) {
    log.failed(
      laneOf('f', turn % 16, 5),
      Array.from({ length: 50 }, (_, i) =>
        failure(
          i,
          i === 0
            ? { error: { name: 'Error', message: `other ${'x'.repeat(turn)}`, stack: '' } }
            : {},
        ),
      ),
    );
  }
  log.failed(laneOf('f', 0, 5), [failure(0, { nextMs: null })]);
  log.failed(laneOf('g', 0, 5), [failure(0)]);
  t.equal(lines.length, 3 + 1 + 1, 'the dead and other functions have lines of their own');
  bursts.close();
  t.equal(lines.length, 6);
  const { message, fields } = lines[5] as (typeof lines)[number];
  t.match(message, /^4997 more attempts failed within \d+ s$/);
  const errors = fields['errors'] as Record<string, number>;
  t.match(fields, {
    function: 'f',
    count: 4997,
    errors: { 'TypeError: fetch failed; caused by Error: connect ECONNREFUSED': 4898 },
  });
  t.ok(Object.keys(errors).length <= 11, 'different errors are bounded');
  t.equal(
    Object.values(errors).reduce((sum, n) => sum + n, 0),
    4997,
    'and all are counted',
  );
  const samples = fields['samples'] as { count: number }[];
  t.equal(samples.length, 10, 'an error has a sample, up to a bound');
  t.match(
    samples.find(({ count }) => count === 4898),
    { eventId: /^e/, type: 'test.event', attempt: 2, error: 'fetch failed', stack: /mine\.ts:3:1/ },
    'the sample has its event and its place',
  );
});

t.test('errors are one where only their ids differ, and two where their places do', async (t) => {
  const { lines, bursts, log } = open(60_000);
  const at = (place: string) => `Error: gone\n    at g (node:net:1:2)\n    at f (file://${place})`;
  const failures = Array.from({ length: 43 }, (_, i) =>
    failure(i, {
      error: {
        name: 'Error',
        message: `order ${i} (5f8e7c0a-1111-4222-8333-${String(i).padStart(12, '0')}) is gone`,
        stack: at(i % 2 === 0 ? '/app/workers/a.ts:3:1' : '/app/workers/b.ts:9:1'),
      },
    }),
  );
  log.failed(laneOf('f', 0, 5), failures);
  bursts.close();
  t.match(lines.at(-1), {
    fields: {
      count: 40,
      samples: [
        { count: 20, stack: /b\.ts/ },
        { count: 20, stack: /a\.ts/ },
      ],
    },
  });
});

t.test(
  'an outage: one line for all lanes, then a summary a minute without further lines',
  async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const { lines, bursts, log } = open(10_000);
    const refused = (script: string) =>
      new RedisReplyError(
        script,
        'MISCONF Errors writing to the AOF file: No space left on device',
      );
    const turns = (count: number, level: 'warn' | 'error' = 'warn') => {
      for (let i = 0; i < count; i++)
        log.turnFailed(i % 2 === 0 ? 'f' : 'g', i % 6, {
          level,
          error: refused(i % 4 === 0 ? 'take.lua' : 'commit.lua'),
          delayMs: 50,
        });
    };
    turns(12);
    t.match(lines, [{ message: 'turn failed, trying again', fields: { function: 'f' } }]);
    t.equal(lines.length, 1);
    mock.timers.tick(30_000);
    turns(12, 'error');
    t.equal(lines.length, 1);
    mock.timers.tick(30_000);
    t.equal(lines.length, 2, 'the minute is over');
    t.match(lines[1], {
      message: /^23 more turns failed within \d+ s, in 6 lanes$/,
      fields: {
        reason: 'writes-misconf',
        count: 23,
        lanes: 6,
        samples: [{ count: 18 }, { count: 5 }],
      },
    });
    turns(6);
    t.equal(lines.length, 2, 'the cause is known, and has no second line');
    bursts.close();
    t.match(lines[2], { message: /^6 more turns failed within \d+ s, in 6 lanes$/ });
    turns(1);
    t.equal(lines.length, 4, 'a new outage has its line');
    bursts.close();
    t.equal(lines.length, 4);
  },
);

t.test('a lasting cause that ends is forgotten', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { lines, bursts, log } = open(10_000);
  const error = new UnknownOutcomeError('take.lua');
  const turn = () => log.turnFailed('f', 0, { level: 'warn', error, delayMs: 50 });
  for (const expected of [1, 2, 3]) {
    turn();
    t.equal(lines.length, expected);
    mock.timers.tick(60_000);
    t.equal(bursts.topics, 0);
  }
});

t.test('each cause of failed turns has a line, and the number of causes is bounded', async (t) => {
  const { lines, bursts, log } = open(10_000);
  for (let i = 0; i < 500; i++) {
    // Numbers make no difference between causes.
    const name = String(i).replace(/\d/g, (digit) => 'abcdefghij'[Number(digit)] as string);
    const error = new Error(`cause ${name}`);
    log.turnFailed('f', 0, { level: 'error', error, delayMs: 50 });
  }
  t.equal(bursts.topics, 201);
  t.equal(lines.length, 201);
  bursts.close();
  t.match(lines[201], { message: /^299 more turns failed/ });
});

t.test('failing turns and threads that end are summed up as attempts are', async (t) => {
  const { lines, bursts, log, say } = open(60_000);
  const stack = 'Error: db down\n    at setup (file:///app/workers/mine.ts:3:1)';
  const error = new SetupError('f', { name: 'Error', message: 'db down', stack });
  for (let i = 0; i < 20; i++) log.turnFailed('f', i, { level: 'warn', error, delayMs: 50 });
  for (let i = 0; i < 7; i++) {
    sayUncaught(say, bursts, {
      origin: 'rejection',
      error: { name: 'Error', message: 'too late', stack },
      functions: ['f'],
      certain: true,
      events: [{ function: 'f', eventId: `e${i}` }],
    });
  }
  t.equal(lines.length, 1 + 3);
  t.match(lines[0], { message: 'turn failed, trying again', fields: { partition: 0, err: error } });
  bursts.close();
  const place = /\/app\/workers\/mine\.ts:3:1/;
  t.match(lines.slice(4), [
    {
      message: /^19 more turns failed within \d+ s, in 19 lanes$/,
      fields: { function: 'f', lanes: 19, samples: [{ count: 19, partition: 1, error: place }] },
    },
    {
      message: /^4 more threads were ended by uncaught errors within/,
      fields: { functions: ['f'], samples: [{ lastEvents: [{ eventId: 'e3' }], stack: place }] },
    },
  ]);
});

t.test('the place of an error is the first one in the code of the user', async (t) => {
  const ours = new URL('../../../src/thread/main.js', import.meta.url).pathname;
  const rows: [string, string][] = [
    ['Error: x\n    at f (/app/node_modules/pg/a.js:1:2)\n    at /app/w.ts:3:4', '/app/w.ts:3:4'],
    ['E\n    at async Object.setup (file:///my app/w.ts:3:4)', '/my app/w.ts:3:4'],
    [`E\n    at run (${ours}:1:1)\n    at new A (C:\\app\\w.ts:7:8)`, 'C:\\app\\w.ts:7:8'],
    ['E\n    at node:internal/x:1:1', 'node:internal/x:1:1'],
    ['E: at nothing', ''],
    ['', ''],
  ];
  for (const [stack, place] of rows) t.equal(ownFrame(stack), place);
});

t.test('the sum comes by itself when the window ends, and lines begin anew', async (t) => {
  const { lines, bursts, log } = open(1000);
  log.failed(
    laneOf('f', 0, 5),
    Array.from({ length: 5 }, (_, i) => failure(i)),
  );
  // The timer does not keep the process alive, so the test waits for the line.
  await until('it is summed up', () =>
    lines.some(({ message }) => /^2 more attempts failed/.test(message)),
  );
  log.failed(laneOf('f', 0, 5), [failure(9)]);
  t.match(lines.at(-1), { fields: { eventId: 'e9' } });
  bursts.close();
});
