/**
 * The function of `millrace bench`. It reads a field, so that the payload is decoded, and does
 * nothing else.
 */
import { defineFunction } from '../../define/index.ts';

declare module '../../define/event-types.ts' {
  interface EventTypes {
    'bench.event': { key: string };
  }
}

export default defineFunction({
  name: 'bench-drain',
  on: ['bench.event'],
  handle(event) {
    if (typeof event.data.key !== 'string') throw new Error('the payload has no key');
  },
});
