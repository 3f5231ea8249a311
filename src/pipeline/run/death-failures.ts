/** The failures of events that have cost a thread, or whole dispatchers. */
import type { EventRef, Failure } from '../../core/thread-protocol.ts';
import {
  DispatcherDeathError,
  HandlerTimeoutError,
  ThreadDeathError,
} from '../../core/errors/handler-errors.ts';
import type { FunctionSpec } from '../../core/function-spec.ts';

/** @param timeout whether the thread was taken because the handler did not settle in time */
export function threadDeath(
  ref: EventRef,
  spec: FunctionSpec,
  cause: string,
  timeout: boolean,
): Failure {
  const { name, message } = timeout
    ? new HandlerTimeoutError(spec.name, ref.id, spec.timeoutMs)
    : new ThreadDeathError(spec.name, cause);
  return {
    ref,
    error: { name, message, stack: '' },
    retryable: true,
    isolate: true,
    reason: timeout ? 'timeout' : 'thread-death',
  };
}

export function dispatcherDeath(ref: EventRef, spec: FunctionSpec, deaths: number): Failure {
  const { name, message } = new DispatcherDeathError(spec.name, ref.id, deaths);
  return {
    ref,
    error: { name, message, stack: '' },
    retryable: false,
    reason: 'dispatcher-death',
  };
}
