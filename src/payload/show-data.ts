/**
 * Shows payloads to people: decodes them by their schema, without what the reader may not see.
 *
 * A masked field is passed over before anything of it is decoded. So its content is in no node, in
 * no size and in no path. The work is bounded by the bytes, and the tree by the limits.
 */
import type { FieldShape, MessageShape } from '../wire/message-shape.ts';
import { keyText, shownDuration, shownScalar, shownTime, shownZero } from './scalar-values.ts';
import {
  cutOf,
  MASKED,
  NO_ACCESS,
  NO_SCHEMA,
  PAGE_LIMITS,
  shownBytes,
  WHOLE_LIMITS,
  type PayloadAccess,
  type Shown,
  type ShowLimits,
  type ValuePath,
} from './shown-payload.ts';
import {
  findEntry,
  findValues,
  isClosedTo,
  NoMessage,
  varintAt,
  type ByteRange,
} from './wire-values.ts';

/** A schema to read by, and further ones whose masks count. */
export interface DataShape {
  readonly shape: MessageShape;
  /**
   * Other versions of the schema: a field is masked where any of them masks it. So a mask that was
   * added later covers older events.
   */
  readonly also: readonly MessageShape[];
}

/**
 * Shows a payload.
 * @returns a value of kind `unreadable` for bytes that are no such message
 */
export function showData(
  schema: DataShape,
  bytes: Buffer,
  access: PayloadAccess,
  limits: ShowLimits = PAGE_LIMITS,
): Shown {
  if (access === 'none') return NO_ACCESS;
  return new DataReading(bytes, access, limits).message(whole(schema, bytes), [], 0);
}

/**
 * Shows one value whole: the end of a cut.
 * @param path of a cut
 * @returns null: there is no such value
 */
export function wholeValueAt(
  schema: DataShape,
  bytes: Buffer,
  path: ValuePath,
  access: PayloadAccess,
  limits: ShowLimits = WHOLE_LIMITS,
): Shown | null {
  if (access === 'none') return NO_ACCESS;
  const view = new DataReading(bytes, access, limits);
  try {
    return view.at(whole(schema, bytes), path, 0);
  } catch (error) {
    if (error instanceof NoMessage) return unreadable(error);
    throw error;
  }
}

function whole({ shape, also }: DataShape, bytes: Buffer): MessageValue {
  return { shape, masks: also, parts: [{ start: 0, end: bytes.length }] };
}

function unreadable(error: NoMessage): Shown {
  return { kind: 'unreadable', problem: error.message };
}

/** A message in the bytes. */
interface MessageValue {
  readonly shape: MessageShape;
  /** The same message in the other versions. */
  readonly masks: readonly MessageShape[];
  readonly parts: readonly ByteRange[];
}

/** Values of a field in the bytes. */
interface FieldValues {
  readonly parts: readonly ByteRange[];
  /** Number of all values of a list. `parts` has the first ones. */
  readonly size: number;
}

/** Step of a path from a map's entry to its key. A message may have a field of any name. */
const KEY = -1;

/** Name of google.protobuf.Any, and its fields. */
const ANY = { name: 'google.protobuf.Any', url: 1, value: 2 } as const;

class DataReading {
  readonly #bytes: Buffer;
  readonly #access: PayloadAccess;
  readonly #limits: ShowLimits;
  #nodes = 0;

  constructor(bytes: Buffer, access: PayloadAccess, limits: ShowLimits) {
    this.#bytes = bytes;
    this.#access = access;
    this.#limits = limits;
  }

  message(value: MessageValue, path: ValuePath, depth: number): Shown {
    const { shape, parts } = value;
    if (depth > this.#limits.depth) return this.#leftOut('depth', parts, path);
    if (this.#full) return this.#leftOut('nodes', parts, path);
    this.#nodes++;
    try {
      const special = this.#timeOf(value) ?? this.#any(value, path, depth);
      if (special) return special;
      const found = findValues(this.#bytes, parts, shape);
      const fields: { name: string; value: Shown }[] = [];
      for (const field of shape.fields.values()) {
        if (this.#full) break;
        const its = found.parts.get(field.number) ?? [];
        const shown = this.#isMasked(value, field)
          ? this.#mask()
          : this.#field(
              value,
              field,
              { parts: its, size: found.sizes.get(field.number) ?? its.length },
              [...path, field.name],
              depth,
            );
        fields.push({ name: field.name, value: shown });
      }
      const more = shape.fields.size - fields.length;
      return {
        kind: 'message',
        type: shape.name,
        fields,
        more,
        unknown: this.#access === 'full' ? found.unknown : 0,
        ...cutOf(more, path),
      };
    } catch (error) {
      if (error instanceof NoMessage) return unreadable(error);
      throw error;
    }
  }

  /** Follows a path. Null: it leads nowhere. @throws NoMessage */
  at(value: MessageValue, path: ValuePath, done: number): Shown | null {
    if (done === path.length) return this.message(value, path, 0);
    const any = this.#insideAny(value);
    if (any) {
      if (path[done] === 'typeUrl' && done + 1 === path.length) return this.#url(any.url, path);
      if (path[done] !== 'value') return null;
      return any.inner === null ? this.#opaque(any.part, path) : this.at(any.inner, path, done + 1);
    }
    const field = [...value.shape.fields.values()].find(({ name }) => name === path[done]);
    if (!field) return null;
    if (this.#isMasked(value, field)) return MASKED;
    const found = findValues(this.#bytes, value.parts, value.shape);
    const parts = found.parts.get(field.number) ?? [];
    if (!field.repeated && field.mapKey === null)
      return this.#valueAt(value, field, parts, path, done + 1);
    const place = path[done + 1];
    if (place === undefined) {
      const size = found.sizes.get(field.number) ?? parts.length;
      return this.#field(value, field, { parts, size }, path, 0);
    }
    if (typeof place !== 'number') return null;
    if (field.mapKey !== null) {
      const entry = [...this.#entries(field, parts).values()][place];
      if (entry && path[done + 2] === KEY && path.length === done + 3)
        return this.#key(field, entry.key, path);
      return entry ? this.#valueAt(value, field, entry.value, path, done + 2) : null;
    }
    const part = parts[place];
    return part ? this.#valueAt(value, field, [part], path, done + 2) : null;
  }

  #valueAt(
    of: MessageValue,
    field: FieldShape,
    parts: readonly ByteRange[],
    path: ValuePath,
    done: number,
  ): Shown | null {
    const inner = parts.length > 0 ? inside(of, field, parts) : null;
    if (inner !== null) return this.at(inner, path, done);
    return done === path.length ? this.#one(of, field, parts, path, 0) : null;
  }

  get #full(): boolean {
    return this.#nodes >= this.#limits.nodes;
  }

  #isMasked({ masks }: MessageValue, { masked, number }: FieldShape): boolean {
    if (this.#access === 'full') return false;
    return masked || masks.some(({ fields }) => fields.get(number)?.masked);
  }

  #mask(): Shown {
    this.#nodes++;
    return MASKED;
  }

  #field(
    of: MessageValue,
    field: FieldShape,
    { parts, size }: FieldValues,
    path: ValuePath,
    depth: number,
  ): Shown {
    const { items: most } = this.#limits;
    if (field.mapKey !== null) {
      this.#nodes++;
      const all = this.#entries(field, parts);
      const entries: { key: Shown; value: Shown }[] = [];
      for (const { key, value } of all.values()) {
        if (entries.length >= most || this.#full) break;
        const at = [...path, entries.length];
        entries.push({
          key: this.#key(field, key, [...at, KEY]),
          value: this.#one(of, field, value, at, depth),
        });
      }
      return { kind: 'map', entries, size: all.size, ...cutOf(all.size - entries.length, path) };
    }
    if (!field.repeated) return this.#one(of, field, parts, path, depth);
    this.#nodes++;
    const items: Shown[] = [];
    for (const part of parts) {
      if (items.length >= most || this.#full) break;
      items.push(this.#one(of, field, [part], [...path, items.length], depth));
    }
    return { kind: 'list', items, size, ...cutOf(size - items.length, path) };
  }

  /** Entries of a map. The last entry of a key wins, at the place of its first one. */
  #entries(field: FieldShape, parts: readonly ByteRange[]) {
    const entries = new Map<string, ReturnType<typeof findEntry>>();
    for (const part of parts) {
      const entry = findEntry(this.#bytes, part, field);
      const [value] = entry.value;
      if (value && isClosedTo(field.enum, this.#bytes, value)) continue;
      entries.set(keyText(field.mapKey ?? '', this.#bytes, entry.key), entry);
    }
    return entries;
  }

  #key({ mapKey }: FieldShape, part: ByteRange | null, path: ValuePath): Shown {
    const key = { kind: mapKey ?? '', enum: null };
    return part === null
      ? shownZero(key)
      : shownScalar(key, this.#bytes, part, this.#limits.bytes, path);
  }

  /** Shows one value. `parts`: of a message all that are merged; none where it is unset. */
  #one(
    of: MessageValue,
    field: FieldShape,
    parts: readonly ByteRange[],
    path: ValuePath,
    depth: number,
  ): Shown {
    const inMap = field.mapKey !== null;
    if (field.kind === 'message') {
      // An entry of a map without a value has an empty message.
      const inner = inside(of, field, parts);
      if (inner !== null && (parts.length > 0 || inMap))
        return this.message(inner, path, depth + 1);
      this.#nodes++;
      return { kind: 'null' };
    }
    this.#nodes++;
    const part = parts.at(-1);
    if (part === undefined) return field.nullable && !inMap ? { kind: 'null' } : shownZero(field);
    return shownScalar(field, this.#bytes, part, this.#limits.bytes, path);
  }

  #leftOut(why: 'depth' | 'nodes', parts: readonly ByteRange[], path: ValuePath): Shown {
    this.#nodes++;
    // The size of a message tells of its masked fields.
    const bytes =
      this.#access === 'full' ? parts.reduce((sum, { start, end }) => sum + end - start, 0) : null;
    return { kind: 'left-out', why, cut: { bytes, path } };
  }

  // -------------------------------------------------------------- google.protobuf

  /** Shows a Timestamp or a Duration in range. Null: it is none. @throws NoMessage */
  #timeOf({ shape, masks, parts }: MessageValue): Shown | null {
    const show =
      shape.name === 'google.protobuf.Timestamp'
        ? shownTime
        : shape.name === 'google.protobuf.Duration'
          ? shownDuration
          : null;
    const [seconds, nanos] = [shape.fields.get(1), shape.fields.get(2)];
    if (show === null || seconds?.kind !== 'int64' || nanos?.kind !== 'int32') return null;
    const hidden = [seconds, nanos].some((field) => this.#isMasked({ shape, masks, parts }, field));
    if (hidden) return null;
    const found = findValues(this.#bytes, parts, shape).parts;
    const valueOf = (number: number): bigint => {
      const part = found.get(number)?.at(-1);
      return part === undefined ? 0n : varintAt(this.#bytes, part);
    };
    return show(BigInt.asIntN(64, valueOf(1)), Number(BigInt.asIntN(32, valueOf(2))));
  }

  /** Shows an Any with its message in place of its bytes. Null: it is no Any. @throws NoMessage */
  #any(value: MessageValue, path: ValuePath, depth: number): Shown | null {
    const any = this.#insideAny(value);
    if (any === null) return null;
    this.#nodes++;
    const at = [...path, 'value'];
    const shown = any.inner ? this.message(any.inner, at, depth + 1) : this.#opaque(any.part, at);
    return {
      kind: 'message',
      type: ANY.name,
      fields: [
        { name: 'typeUrl', value: this.#url(any.url, [...path, 'typeUrl']) },
        { name: 'value', value: shown },
      ],
      more: 0,
      unknown: 0,
    };
  }

  #url(part: ByteRange | null, path: ValuePath): Shown {
    const url = { kind: 'string', enum: null };
    return part === null
      ? shownZero(url)
      : shownScalar(url, this.#bytes, part, this.#limits.bytes, path);
  }

  /** Bytes of a type that the schema does not have. Nothing says what in it is confidential. */
  #opaque(part: ByteRange | null, path: ValuePath): Shown {
    this.#nodes++;
    if (this.#access !== 'full') return NO_SCHEMA;
    const bytes = part ? this.#bytes.subarray(part.start, part.end) : Buffer.alloc(0);
    return shownBytes(bytes, this.#limits.bytes, path);
  }

  /** Finds the content of an Any. Null: the message is no Any. @throws NoMessage */
  #insideAny(value: MessageValue): {
    readonly url: ByteRange | null;
    readonly part: ByteRange | null;
    /** Null: the schema does not have the message. */
    readonly inner: MessageValue | null;
  } | null {
    const { shape, masks, parts } = value;
    if (shape.name !== ANY.name) return null;
    const [url, content] = [shape.fields.get(ANY.url), shape.fields.get(ANY.value)];
    if (url?.kind !== 'string' || content?.kind !== 'bytes') return null;
    const found = findValues(this.#bytes, parts, shape).parts;
    const part = found.get(ANY.value)?.at(-1) ?? null;
    const place = found.get(ANY.url)?.at(-1) ?? null;
    const text = place ? this.#bytes.toString('utf8', place.start, place.end) : '';
    const name = text.slice(text.lastIndexOf('/') + 1);
    const inner = shape.find(name);
    return {
      url: place,
      part,
      inner: inner && {
        shape: inner,
        masks: masks.flatMap((one) => one.find(name) ?? []),
        parts: part ? [part] : [],
      },
    };
  }
}

/** The message that a field's value is. Null: the field is no message. */
function inside(
  { masks }: MessageValue,
  field: FieldShape,
  parts: readonly ByteRange[],
): MessageValue | null {
  const shape = field.message();
  if (shape === null) return null;
  return {
    shape,
    masks: masks.flatMap(({ fields }) => fields.get(field.number)?.message() ?? []),
    parts,
  };
}
