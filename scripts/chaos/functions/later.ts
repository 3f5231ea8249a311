import { defineFunction } from '../../../src/define/index.ts';
import { handleOne, policy } from './_observed.ts';

/** Consumes events that are all scheduled. */
export default defineFunction({
  name: 'later',
  on: ['test.later'],
  ordering: 'none',
  ...policy,
  handle: (event, ctx) => handleOne('later', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
