import { defineFunction } from '../../../src/define/index.ts';
import { handleOne, policy } from './_observed.ts';

export default defineFunction({
  name: 'loose',
  on: ['test.other'],
  ordering: 'none',
  ...policy,
  handle: (event, ctx) => handleOne('loose', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
