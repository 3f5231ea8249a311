/** Functions that misbehave in every way there is. */
import { listDeadLetters } from '../../../src/pipeline/dead/dead-letters.ts';
import { ORDERS } from '../../lab/misbehaving-functions/behave.ts';
import type { Fault } from '../fault.ts';
import { until } from '../../lab/until.ts';

/** Orders that cost a thread or a handler's whole time. Only a few events get one. */
const COSTLY = ['hang', 'hang-polite', 'loop', 'exit', 'oom', 'unhandled:200'];
const CHEAP = ORDERS.filter(
  (order) =>
    ![
      'ok',
      'slow',
      'hang',
      'hang-polite',
      'loop',
      'exit',
      'oom',
      'unhandled',
      'kill-dispatcher',
      'late-throw',
    ].includes(order),
);

export const handlerFaults: readonly Fault[] = [
  {
    name: 'handlers',
    about:
      'handlers that throw, reject, hang, loop, exit, exhaust the heap, throw what is no error',
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
    about: 'an event whose handler kills the whole dispatcher, again and again, until it is found',
    skip: ['batched', 'loose', 'folded'],
    async inject(context) {
      const { producers, random, spawn, service, note } = context;
      await note('order: kill-dispatcher');
      await random.pick(producers).poison('kill-dispatcher');
      // Someone restarts each dead dispatcher: three owners for the search, then three attempts.
      await until(
        'the event is dead-lettered',
        async () => {
          if (context.dispatchers.length < 2) await spawn();
          for await (const letter of listDeadLetters(service.deployment))
            if (letter.reason === 'dispatcher-death') return true;
          return false;
        },
        60_000,
      );
    },
  },
];
