/** The waits of the tests end, also where a look hangs. */
import t from 'tap';
import { until } from '../../scripts/lab/until.ts';

t.test('a look that hangs does not outlast the wait', { timeout: 10_000 }, async (t) => {
  await t.rejects(
    until('the server answers', () => new Promise<boolean>(() => {}), 100),
    { message: 'waited 100 ms in vain until the server answers; the last look has not ended' },
  );
});

t.test('a look that fails, and one that succeeds', async (t) => {
  await t.rejects(
    until('it works', () => Promise.reject(new Error('broken'))),
    { message: 'broken' },
  );
  t.equal(await until('it is there', () => Promise.resolve(7)), 7);
});
