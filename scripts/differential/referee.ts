/**
 * A third parser, strict and slow, because @bufbuild/protobuf is lax with wrong bytes. It reads a
 * field of another wire type than its own, a message beyond its end, and unknown numbers of closed
 * enums in lists. This parser decides by the rules of protobuf: such bytes are invalid, or they are
 * the same message without the fields that count as unknown.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { varintOf, wireTypeOf } from './generate.ts';
import { SCALAR_NAMES } from './oracle.ts';

/** Bytes that no reader may accept. */
export class InvalidError extends Error {}

const MOST_DEPTH = 100;

class Bytes {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  varint(mostBytes = 10): bigint {
    let value = 0n;
    for (let i = 0; i < mostBytes; i++) {
      if (this.at >= this.end) throw new InvalidError('truncated');
      const byte = this.bytes[this.at++] as number;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return value;
    }
    throw new InvalidError('a varint too long');
  }

  tag(): { id: number; wireType: number } {
    const tag = this.varint(5);
    if (tag > 0xffff_ffffn || tag < 8n) throw new InvalidError('no tag');
    return { id: Number(tag >> 3n), wireType: Number(tag & 7n) };
  }

  /** Returns the bytes that a length announces. */
  within(): Bytes {
    const length = this.varint(5);
    if (length > BigInt(this.end - this.at)) throw new InvalidError('a length beyond the end');
    const from = this.at;
    this.at += Number(length);
    return new Bytes(this.bytes, from, this.at);
  }

  skip(id: number, wireType: number, depth: number): void {
    if (wireType === 0) this.varint();
    else if (wireType === 1) this.forward(8);
    else if (wireType === 2) this.within();
    else if (wireType === 5) this.forward(4);
    else if (wireType === 3) {
      if (depth > MOST_DEPTH) throw new InvalidError('too deep');
      for (;;) {
        const next = this.tag();
        if (next.wireType === 4 && next.id === id) return;
        this.skip(next.id, next.wireType, depth + 1);
      }
    } else throw new InvalidError(`wire type ${wireType}`);
  }

  forward(count: number): void {
    if (count > this.end - this.at) throw new InvalidError('truncated');
    this.at += count;
  }

  slice(from: number, to = this.at): Buffer {
    return this.bytes.subarray(from, to);
  }
}

/**
 * Whether the message being cleaned has a 64-bit value beyond 2^53, even one that a later value
 * replaces.
 */
let beyond = false;

/**
 * Returns the message without the fields that count as unknown.
 * @throws InvalidError
 */
export function cleaned(
  desc: DescMessage,
  bytes: Buffer,
): { readonly bytes: Buffer; readonly beyond: boolean } {
  beyond = false;
  return { bytes: clean(desc, new Bytes(bytes), 0), beyond };
}

function isBeyond(type: string, bytes: Buffer, varint: bigint): boolean {
  const value =
    type === 'fixed64'
      ? bytes.readBigUInt64LE()
      : type === 'sfixed64'
        ? bytes.readBigInt64LE()
        : type === 'sint64'
          ? varint & 1n
            ? -(varint >> 1n) - 1n
            : varint >> 1n
          : type === 'int64'
            ? BigInt.asIntN(64, varint)
            : BigInt.asUintN(64, varint);
  return !Number.isSafeInteger(Number(value));
}

function clean(desc: DescMessage, from: Bytes, depth: number): Buffer {
  if (depth > MOST_DEPTH) throw new InvalidError('too deep');
  const fields = new Map(desc.fields.map((field) => [field.number, field]));
  const out: Buffer[] = [];
  while (from.at < from.end) {
    const start = from.at;
    const { id, wireType } = from.tag();
    const head = from.slice(start);
    const field = fields.get(id);
    if (!field || !fits(field, wireType)) from.skip(id, wireType, depth + 1);
    else if (field.fieldKind === 'map') out.push(...cleanEntry(field, head, from.within(), depth));
    else if (field.message)
      out.push(head, delimited(clean(field.message, from.within(), depth + 1)));
    else out.push(...cleanScalars(field, head, wireType, from));
  }
  return Buffer.concat(out);
}

function typeOf(field: DescField): string {
  return field.message
    ? 'bytes'
    : field.enum
      ? 'int32'
      : (SCALAR_NAMES[field.scalar as number] as string);
}

function fits(field: DescField, wireType: number): boolean {
  if (field.fieldKind === 'map') return wireType === 2;
  const own = wireTypeOf(typeOf(field));
  return wireType === own || (field.fieldKind === 'list' && wireType === 2 && own !== 2);
}

const delimited = (body: Buffer): Buffer => Buffer.concat([varintOf(body.length), body]);

function cleanScalars(field: DescField, head: Buffer, wireType: number, from: Bytes): Buffer[] {
  const type = typeOf(field);
  if (field.fieldKind !== 'list' || wireType !== 2 || wireTypeOf(type) === 2) {
    const value = scalar(field, type, from);
    return value === null ? [] : [head, value];
  }
  const inner = from.within();
  const values: Buffer[] = [];
  while (inner.at < inner.end) {
    const value = scalar(field, type, inner);
    if (value !== null) values.push(value);
  }
  return [head, delimited(Buffer.concat(values))];
}

/** Returns one value's bytes; null: a number that its closed enum does not have. */
function scalar(field: DescField, type: string, from: Bytes): Buffer | null {
  const start = from.at;
  if (wireTypeOf(type) === 2) {
    const body = from.within();
    if (type === 'string') checkText(field, from.bytes.subarray(body.at, body.end));
    return delimited(from.bytes.subarray(body.at, body.end));
  }
  if (wireTypeOf(type) === 0) {
    const value = from.varint();
    const number = Number(BigInt.asIntN(32, value));
    if (field.enum && !field.enum.open && !field.enum.values.some((one) => one.number === number))
      return null;
    if (/int64$/.test(type) && isBeyond(type, from.slice(start), BigInt.asUintN(64, value)))
      beyond = true;
  } else {
    from.forward(wireTypeOf(type) === 1 ? 8 : 4);
    if (/fixed64$/.test(type) && isBeyond(type, from.slice(start), 0n)) beyond = true;
  }
  return from.slice(start);
}

function checkText(field: DescField, bytes: Buffer): void {
  if (field.parent.file.edition === 998) return;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new InvalidError('no UTF-8');
  }
}

/** Returns the last key and the last value of an entry; messages merge. */
function cleanEntry(
  field: DescField & { readonly fieldKind: 'map' },
  head: Buffer,
  from: Bytes,
  depth: number,
): Buffer[] {
  const keyType = SCALAR_NAMES[field.mapKey] as string;
  let key: Buffer | null = null;
  let value: Buffer | null = null;
  let merged: Buffer | null = null;
  let known = true;
  while (from.at < from.end) {
    const { id, wireType } = from.tag();
    if (id === 1 && wireType === wireTypeOf(keyType))
      key = scalar({ ...field, enum: undefined, parent: field.parent } as DescField, keyType, from);
    else if (id === 2 && wireType === wireTypeOf(typeOf(field))) {
      if (field.message)
        merged = Buffer.concat([
          merged ?? Buffer.alloc(0),
          clean(field.message, from.within(), depth + 1),
        ]);
      else {
        value = scalar(field, typeOf(field), from);
        known = value !== null;
      }
    } else from.skip(id, wireType, depth + 1);
  }
  if (!known) return [];
  const body: Buffer[] = [];
  if (key !== null) body.push(varintOf(8 | wireTypeOf(keyType)), key);
  if (value !== null) body.push(varintOf(16 | wireTypeOf(typeOf(field))), value);
  if (merged !== null) body.push(varintOf(18), delimited(merged));
  return [head, delimited(Buffer.concat(body))];
}
