import { benchFunction } from '../bench-function.ts';

/**
 * Rounds of work, about 200 µs on a core of 2020. The amount is fixed, not the time, so that more
 * threads do more.
 */
const ROUNDS = 100_000;

export const result = { hash: 0 };

export default benchFunction({
  name: 'cpu',
  work(order) {
    let x = (order.number | 1) >>> 0;
    for (let i = 0; i < ROUNDS; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
    }
    result.hash ^= x;
  },
});
