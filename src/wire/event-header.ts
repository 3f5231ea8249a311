/** Event messages as batch-reader.ts reads them. */

/** Fields of an Event message. Offsets are relative to the bytes that were read. */
export interface EventHeader {
  readonly index: number;
  /** Place of the Event message. */
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
  /** Type that the event itself names; mostly empty. */
  readonly type: string;
  readonly dataOffset: number;
  readonly dataLength: number;
  readonly extensions: Readonly<Record<string, string>> | null;
  /**
   * First attribute whose text is invalid UTF-8; the attribute itself is '' then. Null: all are
   * valid. See envelope-problem.ts.
   */
  readonly invalid: TextAttribute | null;
}

export type TextAttribute = 'id' | 'subject' | 'source' | 'type' | 'extensions';
