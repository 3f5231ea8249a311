/** `millrace/define`: what function files import. Light: no Redis client, no dispatcher. */
export { defineFunction } from './define-function.ts';
export type {
  BatchContext,
  BatchFailure,
  DefinedFunction,
  EventData,
  EventTypeName,
  FunctionContext,
  FunctionEvent,
  FunctionOptions,
} from './define-function.ts';
export { defineAggregate, defineDecider } from './define-aggregate.ts';
export type { Aggregate, DecideContext, Decider, NewEvent, RecordedEvent, SnapshotPolicy } from './define-aggregate.ts';
export { defineView } from './define-view.ts';
export type { Evolve, RowOf, ViewIndex, ViewOptions } from './define-view.ts';
export { applyUpcasts, upcast } from './upcast.ts';
export type { Upcast } from './upcast.ts';
export type { EventTypes } from './event-types.ts';
export { MillraceError, NonRetryableError } from '../core/errors.ts';
export type { RetryPolicy } from '../core/retry-policy.ts';
