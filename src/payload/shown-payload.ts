/**
 * A payload as people are shown it: a tree of plain data that JSON can hold. Each value says its
 * kind, so no content of an event can pass for a masked or a cut value.
 */

/**
 * A reader's access to payloads. `none`: nothing. `masked`: all but fields with the option
 * (millrace.v1.masked). `full`: all.
 */
export type PayloadAccess = 'none' | 'masked' | 'full';

/**
 * Way to a value: names of fields, places in lists (from 0), places of a map's entries. -1 behind
 * the place of an entry: its key.
 */
export type ValuePath = readonly (string | number)[];

export type Shown =
  | ShownMessage
  | ShownList
  | ShownMap
  | {
      readonly kind: 'text';
      readonly text: string;
      /** Whether the bytes are invalid UTF-8. No function can read them. */
      readonly invalid?: true;
      /** Present where the text is not whole. */
      readonly cut?: Cut;
    }
  | {
      readonly kind: 'bytes';
      readonly base64: string;
      /** Length of the whole, bytes. */
      readonly length: number;
      readonly cut?: Cut;
    }
  /** Any number, exact. `type` as in the .proto; `json` for a number of a row or a state. */
  | { readonly kind: 'number'; readonly type: string; readonly text: string }
  | { readonly kind: 'bool'; readonly value: boolean }
  /** Null: the schema does not name the number. */
  | { readonly kind: 'enum'; readonly name: string | null; readonly number: number }
  /** RFC 3339, with nanoseconds where they are not 0. */
  | { readonly kind: 'time'; readonly text: string }
  /** Seconds, such as "1.5s". */
  | { readonly kind: 'duration'; readonly text: string }
  /** An unset field. */
  | { readonly kind: 'null' }
  /**
   * Not shown to this reader. `field`: the schema masks it. `schema`: no schema says whether it is
   * confidential. `access`: the reader sees no payloads. Nothing tells whether there is a value.
   */
  | { readonly kind: 'masked'; readonly why: 'field' | 'schema' | 'access' }
  /** Left out, because it is nested too deep, or because the tree has enough nodes. */
  | { readonly kind: 'left-out'; readonly why: 'depth' | 'nodes'; readonly cut: Cut }
  /** Bytes that are no such value. */
  | { readonly kind: 'unreadable'; readonly problem: string };

/** A value that is not shown whole. */
export interface Cut {
  /** Size of the whole, bytes. Null: it would tell of masked fields. */
  readonly bytes: number | null;
  /** Argument of wholeValueAt(). */
  readonly path: ValuePath;
}

export interface ShownMessage {
  readonly kind: 'message';
  /** Full name; '' for an object of a row or a state. */
  readonly type: string;
  /** Fields in the order of their declaration. */
  readonly fields: readonly { readonly name: string; readonly value: Shown }[];
  /** Number of fields that were left out, because the tree has enough nodes. */
  readonly more: number;
  /** Number of values that the schema does not declare; 0 unless the access is `full`. */
  readonly unknown: number;
  /** Present where fields were left out. */
  readonly cut?: Cut;
}

export interface ShownList {
  readonly kind: 'list';
  readonly items: readonly Shown[];
  /** Number of all items. */
  readonly size: number;
  /** Present where items were left out. */
  readonly cut?: Cut;
}

export interface ShownMap {
  readonly kind: 'map';
  readonly entries: readonly { readonly key: Shown; readonly value: Shown }[];
  /** Number of all entries. */
  readonly size: number;
  /** Present where entries were left out. */
  readonly cut?: Cut;
}

export interface ShowLimits {
  /** Levels of messages in messages. */
  readonly depth: number;
  /** Values in the tree, about. */
  readonly nodes: number;
  /** Items of a list, entries of a map. */
  readonly items: number;
  /** Bytes of a text or of bytes. */
  readonly bytes: number;
}

export const PAGE_LIMITS: ShowLimits = { depth: 24, nodes: 2000, items: 100, bytes: 2000 };
/** For one value that was asked for. The payload itself bounds it. */
export const WHOLE_LIMITS: ShowLimits = {
  depth: 100,
  nodes: 100_000,
  items: 100_000,
  bytes: Number.MAX_SAFE_INTEGER,
};

export const MASKED = { kind: 'masked', why: 'field' } as const;
export const NO_SCHEMA = { kind: 'masked', why: 'schema' } as const;
export const NO_ACCESS = { kind: 'masked', why: 'access' } as const;

/** Returns the mark of a message, a list or a map, of which a part is left out. */
export function cutOf(left: number, path: ValuePath): { readonly cut?: Cut } {
  return left > 0 ? { cut: { bytes: null, path } } : {};
}

/** Shows a text, cut at the end of a character. */
export function shownText(bytes: Buffer, most: number, path: ValuePath): Shown {
  let end = Math.min(bytes.length, most);
  // 10xxxxxx continues a character.
  while (end < bytes.length && end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  const text = bytes.toString('utf8', 0, end);
  const invalid =
    text.includes('\ufffd') && !Buffer.from(text, 'utf8').equals(bytes.subarray(0, end));
  return {
    kind: 'text',
    text,
    ...(invalid ? { invalid: true } : {}),
    ...(end < bytes.length ? { cut: { bytes: bytes.length, path } } : {}),
  };
}

export function shownBytes(bytes: Buffer, most: number, path: ValuePath): Shown {
  const { length } = bytes;
  return {
    kind: 'bytes',
    base64: bytes.toString('base64', 0, Math.min(length, most)),
    length,
    ...(length > most ? { cut: { bytes: length, path } } : {}),
  };
}

/**
 * Shows a payload whose schema is not known. Nothing says which part of it is confidential, so only
 * readers who see everything see its bytes.
 */
export function showUndecoded(
  bytes: Buffer,
  access: PayloadAccess,
  { bytes: most }: ShowLimits = PAGE_LIMITS,
): Shown {
  if (access === 'full') return shownBytes(bytes, most, []);
  return access === 'none' ? NO_ACCESS : NO_SCHEMA;
}
