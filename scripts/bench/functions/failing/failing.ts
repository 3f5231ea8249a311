import { benchFunction } from '../bench-function.ts';
import { readOrder } from '../read-order.ts';

/** One of so many events fails. */
const ONE_OF = 100;

/** Fails at the first attempt of 1 % of the events. The second attempt succeeds. */
export default benchFunction({
  name: 'failing',
  work(order, attempt) {
    readOrder(order);
    if (order.number % ONE_OF === 0 && attempt === 1) throw new Error('the first attempt fails');
  },
});
