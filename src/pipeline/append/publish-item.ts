/** An event as its caller gives it to a publisher, and the publisher's answer. */
import type { PublishData } from '../../define/publish-data.ts';

export interface PublishOptions {
  /**
   * Ordering key. Default: the field the event type declares as its subject. 1 … 1,024 bytes of
   * UTF-8.
   */
  readonly subject?: string;
  /** Unique event id. Default: the publisher makes one. 1 … 256 bytes of UTF-8. */
  readonly id?: string;
  /** Default: the publisher's `source`. */
  readonly source?: string;
  /**
   * Time at which the event happened: ms since 1970, a Date, or an RFC 3339 text, whose nanoseconds
   * are kept. Default: now.
   */
  readonly time?: number | Date | string;
  /** CloudEvents extension attributes. */
  readonly extensions?: Readonly<Record<string, string>>;
  /**
   * Time at which the event is appended, by the server's clock: ms since 1970 or a Date, at most
   * ten years ahead. The event takes its place in its subject's order when it is appended, not now.
   * Events scheduled for the same moment keep the order in which they were scheduled.
   */
  readonly deliverAt?: number | Date;
  /** Time from now after which the event is appended, by the server's clock, ms. */
  readonly delayMs?: number;
}

/** An event to be published, of one of the types in `T`. `string` stands for any type. */
export type PublishItem<T extends string = string> = T extends string
  ? PublishOptions & { readonly type: T; readonly data: PublishData<T> }
  : never;

/** `T` where only the running program knows the type. A literal must be declared: `never`. */
export type AnyType<T extends string> = T & (string extends T ? unknown : never);

/** The place of a published event. */
export interface Published {
  readonly id: string;
  /** Address: `partition/entry id/position`. Empty where the event is not appended, or not yet. */
  readonly position: string;
  /**
   * Whether the event was dropped: its type remembers events (dedupe_ms), and one with the same id
   * and source is there.
   */
  readonly duplicate?: true;
  /** Time at which a scheduled event will be appended, by the server's clock, ms since 1970. */
  readonly scheduledMs?: number;
}
