/** An event as it is given to a publisher, and what the publisher answers. */
import type { PublishData } from '../../define/publish-data.ts';

export interface PublishOptions {
  /**
   * Ordering key. Default: the field the event type declares as its subject. 1 … 1,024 bytes of
   * UTF-8.
   */
  readonly subject?: string;
  /** Event id, unique; default: one made by the publisher. 1 … 256 bytes of UTF-8. */
  readonly id?: string;
  /** Default: the publisher's `source`. */
  readonly source?: string;
  /**
   * When it happened: ms since 1970, a Date, or an RFC 3339 text, whose nanoseconds are kept.
   * Default: now.
   */
  readonly time?: number | Date | string;
  /** CloudEvents extension attributes. */
  readonly extensions?: Readonly<Record<string, string>>;
  /**
   * Append it then, by the server's clock: ms since 1970 or a Date, at most ten years ahead. It
   * takes its place in the order of its subject when it is appended, not now; scheduled for the
   * same moment, events keep the order in which they were scheduled.
   */
  readonly deliverAt?: number | Date;
  /** Append it so many ms from now, by the server's clock. */
  readonly delayMs?: number;
}

/** An event to be published. Of the types in `T`; of any where that is `string`. */
export type PublishItem<T extends string = string> = T extends string
  ? PublishOptions & { readonly type: T; readonly data: PublishData<T> }
  : never;

/** `T` where only the running program knows it; never for a literal, which must be declared. */
export type AnyType<T extends string> = T & (string extends T ? unknown : never);

/** Where an event stands now. */
export interface Published {
  readonly id: string;
  /** Its address: `partition/entry id/position`. Empty where it is not appended (now). */
  readonly position: string;
  /**
   * It was dropped: its type remembers events (dedupe_ms), and one with its id and source is there.
   */
  readonly duplicate?: true;
  /** It waits for this moment, by the server's clock, in ms since 1970. */
  readonly scheduledMs?: number;
}
