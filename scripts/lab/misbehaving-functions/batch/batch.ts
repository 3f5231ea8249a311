import { defineFunction, type BatchFailure } from '../../../../src/define/index.ts';
import { behave, orderOf, POLICY, record } from '../behave.ts';

/**
 * Names the events with the order `reject` as failed. Every other misbehaviour fails the whole
 * call.
 */
export default defineFunction({
  name: 'batch',
  on: ['test.event'],
  ...POLICY,
  batchSize: 64,
  async handleBatch(events, ctx) {
    for (const event of events) record('start', 'batch', event, ctx.attemptOf(event));
    const failures: BatchFailure[] = [];
    try {
      for (const event of events) {
        if (orderOf(event).name === 'reject')
          failures.push({ id: event.id, error: new Error('rejected as ordered') });
        else await behave(event, ctx.attemptOf(event), ctx.signal);
      }
    } catch (error) {
      for (const event of events) record('fail', 'batch', event, ctx.attemptOf(event));
      throw error;
    }
    const failed = new Set(failures.map((f) => f.id));
    for (const event of events)
      record(failed.has(event.id) ? 'fail' : 'end', 'batch', event, ctx.attemptOf(event));
    return failures;
  },
});
