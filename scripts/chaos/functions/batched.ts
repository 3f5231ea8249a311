import { defineFunction, type BatchFailure } from '../../../src/define/index.ts';
import { orderOf, type TestData } from '../../lab/misbehaving-functions/behave.ts';
import { act, opOf, policy, theSink } from './_observed.ts';

/**
 * Names the events with the order `reject` as failed, and does no later event of their subject.
 * Every other misbehaviour fails the whole call.
 */
export default defineFunction({
  name: 'batched',
  on: ['test.event'],
  ...policy,
  batchSize: 64,
  async handleBatch(events, ctx) {
    const line = (what: 'start' | 'end' | 'fail', event: (typeof events)[number]) =>
      opOf(what, 'batched', event, ctx.attemptOf(event));
    const sink = theSink();
    await Promise.all(events.map((event) => sink.push(line('start', event))));
    const failures: BatchFailure[] = [];
    const stopped = new Set<string>();
    try {
      for (const event of events) {
        if (stopped.has(event.subject)) continue;
        const named =
          (event.data as TestData).order !== 'broken' && orderOf(event).name === 'reject';
        if (!named) await act(event, ctx.attemptOf(event), ctx.signal);
        else {
          failures.push({ id: event.id, error: new Error('rejected as ordered') });
          stopped.add(event.subject);
        }
      }
    } catch (error) {
      await Promise.all(events.map((event) => sink.push(line('fail', event))));
      throw error;
    }
    const failed = new Set(failures.map((failure) => failure.id));
    const reached = new Set<string>();
    await Promise.all(
      events.map((event) => {
        // An event behind a failed one of its subject is not begun.
        if (failed.has(event.id)) reached.add(event.subject);
        return reached.has(event.subject)
          ? sink.push(line('fail', event))
          : sink.effect(ctx.idempotencyKeyOf(event), line('end', event));
      }),
    );
    return failures;
  },
});
