import t from 'tap';
import type { FailedAttempt } from '../../../src/pipeline/commit/commit-plan.ts';
import { FailureLog } from '../../../src/pipeline/lane/failure-log.ts';
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

function open(windowMs: number) {
  const lines: { message: string; fields: Record<string, unknown> }[] = [];
  return {
    lines,
    log: new FailureLog({
      log: (_, message, fields = {}) => void lines.push({ message, fields }),
      lines: 3,
      windowMs,
    }),
  };
}

t.test('one line each says where, which attempt, when again, and why', (t) => {
  const { lines, log } = open(60_000);
  log.failed('f', 7, 5, [failure(0), failure(1, { nextMs: null, reason: 'non-retryable' })]);
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
  log.close();
  t.equal(lines.length, 2, 'nothing is summed up where every one had its line');
  t.end();
});

t.test('a burst: some lines per function and kind, then counts by error', async (t) => {
  const { lines, log } = open(60_000);
  for (let turn = 0; turn < 100; turn++) {
    log.failed(
      'f',
      turn % 16,
      5,
      Array.from({ length: 50 }, (_, i) =>
        failure(
          i,
          i === 0 ? { error: { name: 'Error', message: `other ${turn}`, stack: '' } } : {},
        ),
      ),
    );
  }
  log.failed('f', 0, 5, [failure(0, { nextMs: null })]);
  log.failed('g', 0, 5, [failure(0)]);
  t.equal(lines.length, 3 + 1 + 1, 'the dead and other functions have lines of their own');
  log.close();
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
});

t.test('the sum comes by itself when the window ends, and lines begin anew', async (t) => {
  const { lines, log } = open(1000);
  log.failed(
    'f',
    0,
    5,
    Array.from({ length: 5 }, (_, i) => failure(i)),
  );
  // The timer does not keep the process alive, so the test waits for the line.
  await until('it is summed up', () =>
    lines.some(({ message }) => /^2 more attempts failed/.test(message)),
  );
  log.failed('f', 0, 5, [failure(9)]);
  t.match(lines.at(-1), { fields: { eventId: 'e9' } });
  log.close();
});
