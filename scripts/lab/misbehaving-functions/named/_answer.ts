import {
  NonRetryableError,
  type BatchContext,
  type BatchFailure,
} from '../../../../src/define/index.ts';
import { record, type TestEventView } from '../behave.ts';

/**
 * Never throws. Names each event without the order `ok` as failed: `throw-once` the first time
 * only, `non-retryable` for good.
 */
export function answer(
  fn: string,
  events: readonly TestEventView[],
  ctx: BatchContext<undefined>,
): BatchFailure[] {
  for (const event of events) record('start', fn, event, ctx.attemptOf(event));
  const failures: BatchFailure[] = [];
  for (const event of events) {
    const { order } = event.data as { order: string };
    const fails =
      order === 'reject' ||
      order === 'non-retryable' ||
      (order === 'throw-once' && ctx.attemptOf(event) === 1);
    record(fails ? 'fail' : 'end', fn, event, ctx.attemptOf(event));
    if (fails)
      failures.push({
        id: event.id,
        error: order === 'non-retryable' ? new NonRetryableError('for good') : new Error('named'),
      });
  }
  return failures;
}
