import t from 'tap';
import { runInTime } from '../../src/find/time-box.ts';

t.test('work that does not end is ended; other work is as without a limit', async (t) => {
  let rounds = 0;
  t.equal(
    runInTime(() => {
      for (;;) rounds++;
    }, 50),
    false,
  );
  t.ok(rounds > 0);
  let done = 0;
  t.equal(
    runInTime(() => void done++, 60_000),
    true,
  );
  t.equal(done, 1);
  const failure = new TypeError('of the work');
  try {
    runInTime(() => {
      throw failure;
    }, 60_000);
    t.fail('nothing was thrown');
  } catch (error) {
    t.equal(error, failure, 'errors are those of this realm');
  }
  t.equal(
    runInTime(() => void /^(a+)+$/.test(`${'a'.repeat(60)}!`), 50),
    false,
    'a pattern, too',
  );
});
