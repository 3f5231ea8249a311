/** `millrace/define`: what function files import. Light: no Redis client, no dispatcher. */
export { defineFunction } from './define-function.ts';
export type {
  BatchContext,
  BatchEmitOptions,
  BatchFailure,
  DefinedFunction,
  EmitOptions,
  FunctionContext,
  FunctionOptions,
} from './define-function.ts';
export type { EventData, EventTypeName, FunctionEvent } from './function-event.ts';
export { defineAggregate, defineDecider } from './define-aggregate.ts';
export type {
  Aggregate,
  DecideContext,
  Decider,
  NewEvent,
  RecordedEvent,
  SnapshotPolicy,
} from './define-aggregate.ts';
export { defineView } from './define-view.ts';
export type { Evolve, RowOf, ViewIndex, ViewOptions } from './define-view.ts';
export { applyUpcasts, upcast } from './upcast.ts';
export type { Upcast } from './upcast.ts';
export type { EventTypes } from './event-types.ts';
export {
  EmitClosedError,
  EmitLoopError,
  NonRetryableError,
} from '../core/errors/handler-errors.ts';
export {
  InvalidEventError,
  OversizeError,
  SchemaNotRegisteredError,
  UnknownEventTypeError,
} from '../core/errors/input-errors.ts';
export { MillraceError } from '../core/errors/millrace-error.ts';
export type { RetryPolicy } from '../core/retry-policy.ts';
