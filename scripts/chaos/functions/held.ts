import { defineFunction } from '../../../src/define/index.ts';
import { HELD_ATTEMPTS } from '../function-rules.ts';
import { handleOne, policy } from './_observed.ts';

/** Fails some subjects until the fault is over: their events stay parked, and none becomes dead. */
export default defineFunction({
  name: 'held',
  on: ['test.held'],
  ...policy,
  retry: { attempts: HELD_ATTEMPTS, minDelayMs: 50, maxDelayMs: 400 },
  handle: (event, ctx) => handleOne('held', event, ctx.attempt, ctx.signal, ctx.idempotencyKey),
});
