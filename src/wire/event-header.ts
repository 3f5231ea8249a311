/** Event messages as they were read: see batch-reader.ts. */

/** An Event message's fields. Offsets are relative to the bytes that were walked. */
export interface EventHeader {
  readonly index: number;
  /** The Event message. */
  readonly offset: number;
  readonly length: number;
  readonly id: string;
  readonly subject: string;
  readonly timeMs: number;
  /** Nanoseconds behind `timeMs`: 0 to 999,999. */
  readonly timeNanos: number;
  readonly source: string;
  readonly schema: number;
  readonly position: number;
  /** Empty unless the event names its type itself. */
  readonly type: string;
  readonly dataOffset: number;
  readonly dataLength: number;
  readonly extensions: Readonly<Record<string, string>> | null;
  /**
   * The first attribute whose text is no valid UTF-8; the attribute itself is '' then. Null: all
   * are valid. See envelope-problem.ts.
   */
  readonly invalid: TextAttribute | null;
}

export type TextAttribute = 'id' | 'subject' | 'source' | 'type' | 'extensions';
