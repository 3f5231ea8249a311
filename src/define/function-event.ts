/** An event as functions, views and deciders see it, and the types of its data. */
import type { EventTypes } from './event-types.ts';

/** Names of the declared event types; any string where no types were generated. */
export type EventTypeName = keyof EventTypes extends never ? string : keyof EventTypes & string;

/** Payload of an event type. */
export type EventData<T extends string> = T extends keyof EventTypes
  ? EventTypes[T]
  : Record<string, unknown>;

/** An event as a function sees it (CloudEvents 1.0 attribute names). */
export interface FunctionEvent<T extends string = string, D = EventData<T>> {
  readonly id: string;
  readonly type: T;
  /** The ordering key. */
  readonly subject: string;
  readonly source: string;
  readonly time: Date;
  /** Id of the writer's schema; 0: none. */
  readonly schema: number;
  readonly data: D;
  /** Address of the event: `partition/entry id/position`. */
  readonly position: string;
  /** CloudEvents extension attributes, e.g. traceparent. */
  readonly extensions: Readonly<Record<string, string>>;
}

/** An event of one of several types: `type` tells which, and `data` follows from it. */
export type EventUnion<T extends string> = T extends string ? FunctionEvent<T> : never;
