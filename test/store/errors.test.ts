import t from 'tap';
import { MillraceError } from '../../src/core/errors/millrace-error.ts';
import * as errors from '../../src/store/store-errors.ts';

const samples: MillraceError[] = [
  new errors.ConflictError('order', 'A', 1, 2),
  new errors.HistoryFullError('order', 'A', 99, 100),
  new errors.EventIdReusedError('order', 'A', 'e1', 3),
  new errors.StoreInputError('the category', 'is none'),
];

t.test(
  'every error class is in the table, named as its class, with a code of its own',
  async (t) => {
    t.equal(samples.length, Object.keys(errors).length, 'one sample a class');
    for (const sample of samples) {
      t.equal(sample.name, sample.constructor.name);
      t.ok(sample instanceof MillraceError);
      t.notOk(
        sample.retryable || sample.outcomeUnknown,
        'nothing was appended, and the same call fails again',
      );
      t.match(sample.message, /[Nn]othing was appended/);
    }
    t.equal(new Set(samples.map((error) => error.code)).size, samples.length);
  },
);

t.test('a conflict says what was expected and what is there', async (t) => {
  t.match(new errors.ConflictError('order', 'A', 'no-stream', 2), {
    expected: 'no-stream',
    actual: 2,
    message: /at revision 2, the append expected "no-stream"/,
  });
  t.match(new errors.ConflictError('order', 'A', 7, 0), {
    message: /at revision 0 \(there is none\), the append expected revision 7/,
  });
});
