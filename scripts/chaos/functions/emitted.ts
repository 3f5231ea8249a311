import { defineFunction } from '../../../src/define/index.ts';
import { handleOne, policy } from './_observed.ts';

/** Consumes the emissions of `keyed`. */
export default defineFunction({
  name: 'emitted',
  on: ['test.third'],
  ...policy,
  handle: (event, ctx) => handleOne('emitted', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
