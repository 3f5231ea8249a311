import { defineFunction } from '../../../src/define/index.ts';
import { handleOne, policy } from './_observed.ts';

/**
 * Consumes events of which some are published twice. The window is longer than any jump of a clock.
 */
export default defineFunction({
  name: 'once',
  on: ['test.twice'],
  ...policy,
  dedupe: { windowMs: 86_400_000 },
  handle: (event, ctx) => handleOne('once', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
