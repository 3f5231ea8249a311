import { defineFunction } from '../../../src/define/index.ts';
import { HELD_ATTEMPTS } from '../function-rules.ts';
import { handleOne, policy } from './_observed.ts';

/**
 * Some of its subjects fail until the fault is over: their events are parked all the time, and none
 * of them dies.
 */
export default defineFunction({
  name: 'held',
  on: ['test.held'],
  ...policy,
  retry: { attempts: HELD_ATTEMPTS, minDelayMs: 50, maxDelayMs: 400 },
  handle: (event, ctx) => handleOne('held', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
