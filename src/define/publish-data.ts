/**
 * Types of the data that may be published as an event type: the data of its events, and values that
 * the encoder converts into it.
 */
import type { EventTypes } from './event-types.ts';

/**
 * Data of an event type as `publish` takes it. Missing fields have their default. A field that the
 * type does not declare, or that has another kind, does not compile. A Timestamp may be a Date or
 * an ISO text, a Duration a number of ms, a map a Map.
 *
 * `unknown` where no types were generated, or where the type is not known at compile time.
 */
export type PublishData<T extends string> = string extends T
  ? unknown
  : T extends keyof EventTypes
    ? MessageInput<EventTypes[T]>
    : unknown;

type MessageInput<M> = { readonly [F in keyof M]?: FieldInput<M[F]> | undefined };

type FieldInput<V> = V extends string | number | bigint | boolean | Uint8Array | null | undefined
  ? V
  : V extends readonly (infer E)[]
    ? readonly FieldInput<E>[]
    : V extends object
      ? string extends keyof V
        ? MapInput<V[keyof V]>
        : MessageInput<V> | TimeInput<V>
      : V;

type MapInput<V> =
  { readonly [key: string]: FieldInput<V> } | ReadonlyMap<string | number | boolean, FieldInput<V>>;

/** Timestamp and Duration have the same fields. */
type TimeInput<M> = M extends { readonly seconds: number; readonly nanos: number }
  ? keyof M extends 'seconds' | 'nanos'
    ? Date | string | number
    : never
  : never;
