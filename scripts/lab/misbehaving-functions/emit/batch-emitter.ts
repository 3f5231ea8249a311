import { defineFunction } from '../../../../src/define/index.ts';
import { follow, planOf } from './_plan.ts';

/** Emits for every event, then names the events as failed whose plan says so. */
export default defineFunction({
  name: 'batch-emitter',
  on: ['test.third'],
  retry: { attempts: 3, minDelayMs: 10, maxDelayMs: 50 },
  batchSize: 16,
  async handleBatch(events, ctx) {
    const failed: { id: string; error: unknown }[] = [];
    for (const event of events) {
      const { then, ...plan } = planOf(event.data);
      await follow(
        plan,
        ((type: never, data: never, options: object) =>
          ctx.emit(type, data, { ...options, cause: event })) as never,
        ctx.attemptOf(event),
      );
      if (then === 'throw' || (then === 'throw-once' && ctx.attemptOf(event) === 1))
        failed.push({ id: event.id, error: new Error('failed as ordered') });
    }
    return failed;
  },
});
