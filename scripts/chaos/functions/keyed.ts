import { defineFunction } from '../../../src/define/index.ts';
import { handleOne, policy } from './_observed.ts';

export default defineFunction({
  name: 'keyed',
  on: ['test.event', 'test.other'],
  ...policy,
  handle: (event, ctx) => handleOne('keyed', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
