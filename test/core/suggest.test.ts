import t from 'tap';
import { didYouMean } from '../../src/core/suggest.ts';

void t.test('a name that is near is suggested, others are not', async (t) => {
  const known = ['invoice.paid', 'order.created', 'order.cancelled'];
  for (const [given, answer] of [
    ['invoice.payd', ' (did you mean "invoice.paid"?)'],
    ['order.create', ' (did you mean "order.created"?)'],
    ['Order.Created', ' (did you mean "order.created"?)'],
    ['ORDER.CANCELLED', ' (did you mean "order.cancelled"?)'],
    ['payment', ''],
    ['', ''],
    ['xyz', ''],
    ['x'.repeat(100_000), ''],
  ] as const)
    t.equal(didYouMean(given, known), answer, given.slice(0, 30));
  t.equal(didYouMean('x', []), '');
});
