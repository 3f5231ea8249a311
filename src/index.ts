/** The API `millrace`, for services. Function files import `millrace/define`. */
export { connect, Millrace } from './millrace.ts';
export type { MillraceOptions, PublisherOptions, StoreOptions } from './millrace.ts';
export type { DurabilityOptions } from './pipeline/append/durability-options.ts';
export { Publisher } from './pipeline/append/publisher.ts';
export type { PublishData } from './define/publish-data.ts';
export type { EventTypeName } from './define/function-event.ts';
export type { Published, PublishItem, PublishOptions } from './pipeline/append/publish-item.ts';
export type { PublisherSettings } from './pipeline/append/publisher-options.ts';
export type { Durability } from './pipeline/append/confirm.ts';
export { EventStore } from './store/event-store.ts';
export type { AppendOptions, ReadOptions, StoreSettings } from './store/event-store.ts';
export type { AppendedEvent, AppendResult } from './store/append-result.ts';
export type { Loaded, LoadOptions } from './store/aggregate-loader.ts';
export { handleCommand } from './store/handle-command.ts';
export type { CommandOptions, CommandResult } from './store/handle-command.ts';
export type { ExpectedRevision } from './store/expected-revision.ts';
export {
  ConflictError,
  EventIdReusedError,
  HistoryFullError,
  StoreInputError,
} from './store/store-errors.ts';
export { defineAggregate, defineDecider } from './define/define-aggregate.ts';
export type {
  Aggregate,
  DecideContext,
  Decider,
  NewEvent,
  RecordedEvent,
  SnapshotPolicy,
} from './define/define-aggregate.ts';
export { Dispatcher } from './dispatcher.ts';
export type { FunctionInfo } from './pipeline/run/describe-functions.ts';
export type { DispatcherOptions } from './dispatcher/dispatcher-options.ts';
export type { HealthReason, ReasonCode } from './core/health-reason.ts';
export type { FailingSetup, HealthProblem, HealthReport } from './dispatcher/health.ts';
export type { Deployment } from './deployment.ts';
export { decodeFrame, encodeFrame } from './registry/confluent-frame.ts';
export type { ConfluentFrame } from './registry/confluent-frame.ts';
export type {
  Registered,
  SchemaRegistry,
  Verdict,
  VersionWithSchema,
} from './registry/registry.ts';
export type { RegisteredBy } from './registry/registered-by.ts';
export type { SchemaDraft } from './registry/schema-draft.ts';
export type { SchemaReference, StoredSchema, SubjectVersion } from './registry/stored-records.ts';
export type { LocalSchemas } from './registry/local-schemas.ts';
export {
  DeletionError,
  IncompatibleSchemaError,
  RegistryFullError,
  RegistryInputError,
  SchemaReferencedError,
  UnknownSchemaError,
  UnknownSubjectError,
  UnknownVersionError,
} from './registry/schema-errors.ts';
export { readLosses } from './lag/losses.ts';
export type { Loss, LossKind, RecordedLoss } from './lag/losses.ts';
export { InvalidLimitError, readTypeLimits, setTypeLimits } from './upkeep/type-limits.ts';
export type { TypeLimits } from './upkeep/type-limits.ts';
export { cancelScheduled, listScheduled } from './upkeep/scheduled-events.ts';
export type { ScheduledEvent } from './upkeep/scheduled-events.ts';
export {
  FunctionHasEventsError,
  FunctionInUseError,
  removeFunction,
} from './upkeep/remove-function.ts';
export { View } from './views/view-query.ts';
export type { Counted, Got, ListOptions, Page } from './views/view-query.ts';
export type { Freshness } from './views/freshness.ts';
export type { Range } from './views/query-range.ts';
export type { Unreadable, ViewRow } from './views/read-rows.ts';
export { dropGeneration, listViews, rollBackView } from './views/generations.ts';
export type { Generation, KnownView } from './views/generations.ts';
export {
  IncompleteHistoriesError,
  UnknownViewError,
  UnreadableIndexError,
  ViewBehindError,
  ViewFoldError,
  ViewGenerationError,
  ViewQueryError,
} from './views/view-errors.ts';
export type { TurnDone } from './pipeline/lane/lane-stages.ts';
export type { Environment } from './config.ts';
export { formatPosition, parsePosition, type Position } from './core/position.ts';
export { partitionOf } from './core/partition.ts';
export * from './core/errors/append-errors.ts';
export * from './core/errors/data-errors.ts';
export * from './core/errors/handler-errors.ts';
export * from './core/errors/input-errors.ts';
export * from './core/errors/millrace-error.ts';
export * from './core/errors/server-errors.ts';
