import { defineFunction } from '../../../../src/define/index.ts';
import { record } from '../behave.ts';
import { follow, planOf } from './_plan.ts';

/** Receives the emitted events, and may emit for them. */
export default defineFunction({
  name: 'sink',
  on: ['test.other'],
  retry: { attempts: 3, minDelayMs: 10, maxDelayMs: 50 },
  async handle(event, ctx) {
    record('start', 'sink', event, ctx.attempt);
    await follow(planOf(event.data), ctx.emit.bind(ctx) as never, ctx.attempt);
    record('end', 'sink', event, ctx.attempt);
  },
});
