/** Functions that misbehave in every way there is. */
import { ORDERS } from '../../../test/support/misbehaving-functions/behave.ts';
import type { Fault } from '../fault.ts';

/** Orders that cost a thread, or the whole time a handler has: few of them. */
const COSTLY = ['hang', 'hang-polite', 'loop', 'exit', 'oom', 'unhandled:200'];
const CHEAP = ORDERS.filter((order) => !['ok', 'slow', 'hang', 'hang-polite', 'loop', 'exit', 'oom', 'unhandled', 'kill-dispatcher', 'late-throw'].includes(order));

export const handlerFaults: readonly Fault[] = [
  {
    name: 'handlers',
    about: 'handlers that throw, reject, hang, loop, exit, exhaust the heap, throw what is no error',
    load: () => ({ orders: CHEAP, ordersPerThousand: 60 }),
    async inject({ producers, random, pause, note }) {
      for (const producer of producers) {
        const order = random.pick(COSTLY);
        await note(`order: ${order}`);
        await producer.poison(order);
        await pause(100, 500);
      }
    },
  },
  {
    name: 'kill-by-event',
    about: 'an event whose handler kills the whole dispatcher, again and again',
    async inject({ producers, random, dispatchers, spawn, pause, note }) {
      await note('order: kill-dispatcher');
      await random.pick(producers).poison('kill-dispatcher');
      const { length } = dispatchers;
      // Each time one dies, somebody restarts it: three owners for the search, three attempts, and that for each of three functions.
      for (let quiet = 0; quiet < 15; quiet++) {
        if (dispatchers.length < length) {
          quiet = 0;
          await spawn();
        }
        await pause(150, 250);
      }
    },
  },
];
