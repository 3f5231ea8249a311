/**
 * CloudEvents 1.0 in its JSON format <-> events. Payloads keep the shape functions see and publish() takes (camelCase names, 64-bit
 * integers and enums as numbers), with what JSON has no word for spelled as proto3 JSON does: bytes as base64, NaN and the infinities as strings.
 */
import protobuf from 'protobufjs';
import { InvalidEventError } from '../core/errors.ts';
import type { Catalog } from './catalog.ts';
import type { EventHeader } from './event-batch.ts';

export interface CloudEvent {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  /** RFC 3339; absent where the event says no time. */
  readonly time?: string;
  readonly datacontenttype: 'application/json';
  readonly data: unknown;
  /** Extension attributes. */
  readonly [extension: string]: unknown;
}

/** What a CloudEvent says; what it leaves out is the publisher's to fill in. */
export interface ParsedCloudEvent {
  readonly type: string;
  readonly subject?: string;
  readonly id?: string;
  readonly source?: string;
  readonly timeMs?: number;
  readonly data: unknown;
  readonly extensions: Readonly<Record<string, string>> | null;
}

const ATTRIBUTES = new Set(['specversion', 'id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'dataschema', 'data', 'data_base64']);
const ATTRIBUTE_NAME = /^[a-z0-9]+$/;
/** The last ms a Date can hold. */
const MAX_TIME_MS = 8.64e15;

/**
 * An extension that is none (its name is an attribute's, or no CloudEvents name even in lower case) is left out: a foreign
 * producer's extension `data` must not take the place of the payload.
 */
export function toCloudEvent(
  header: Pick<EventHeader, 'id' | 'subject' | 'source' | 'timeMs' | 'extensions'>, type: string, data: unknown,
): CloudEvent {
  const extensions: [string, string][] = [];
  for (const [key, value] of Object.entries(header.extensions ?? {})) {
    const name = key.toLowerCase();
    if (ATTRIBUTE_NAME.test(name) && !ATTRIBUTES.has(name)) extensions.push([name, value]);
  }
  return {
    specversion: '1.0',
    id: header.id,
    source: header.source,
    type,
    subject: header.subject,
    ...(header.timeMs > 0 && header.timeMs <= MAX_TIME_MS ? { time: new Date(header.timeMs).toISOString() } : {}),
    datacontenttype: 'application/json',
    data: toJson(data),
    ...Object.fromEntries(extensions),
  };
}

/**
 * @param json the parsed JSON
 * @param catalog turns base64 into bytes where the type has bytes; the payload itself is not checked here (EventType.check)
 * @throws InvalidEventError naming the attribute
 */
export function parseCloudEvent(json: unknown, catalog: Catalog, defaultType?: string): ParsedCloudEvent {
  let type = defaultType ?? '?';
  const refuse = (attribute: string, problem: string): never => {
    throw new InvalidEventError(type, attribute, problem);
  };
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return refuse('', 'a CloudEvents JSON object was expected');
  const from = json as Record<string, unknown>;
  /** Absent, null and empty are the same: no attribute may be empty. */
  const text = (name: string): string | undefined => {
    const value = Object.hasOwn(from, name) ? from[name] : undefined;
    if (value === undefined || value === null || value === '') return undefined;
    return typeof value === 'string' ? value : refuse(name, 'a string was expected');
  };
  type = text('type') ?? defaultType ?? refuse('type', 'it is missing');
  if (Object.hasOwn(from, 'specversion') && from['specversion'] !== '1.0') refuse('specversion', '"1.0" was expected');
  const contentType = text('datacontenttype');
  if (contentType !== undefined && !/^application\/(.+\+)?json\s*(;|$)/i.test(contentType)) refuse('datacontenttype', `JSON was expected, got ${contentType}`);
  if (Object.hasOwn(from, 'data_base64')) refuse('data_base64', 'the payload is taken as JSON only: give "data"');
  if (!Object.hasOwn(from, 'data')) refuse('data', 'it is missing');

  const subject = text('subject');
  const id = text('id');
  const source = text('source');
  const time = text('time');
  const timeMs = time === undefined ? undefined : (parseTime(time) ?? refuse('time', `an RFC 3339 time from 1970 on was expected, got ${JSON.stringify(time.slice(0, 60))}`));

  const extensions: [string, string][] = [];
  for (const [name, value] of Object.entries(from)) {
    if (ATTRIBUTES.has(name) || value === null) continue;
    if (!ATTRIBUTE_NAME.test(name)) refuse(name, 'CloudEvents attribute names are of lower case letters and digits only');
    if (typeof value === 'object') refuse(name, 'an extension must be a string, a number or a boolean');
    extensions.push([name, String(value)]);
  }
  const declared = catalog.types.get(type);
  return {
    type,
    ...(subject === undefined ? {} : { subject }),
    ...(id === undefined ? {} : { id }),
    ...(source === undefined ? {} : { source }),
    ...(timeMs === undefined ? {} : { timeMs }),
    data: declared ? fromJson(catalog.root.lookupType(declared.messageName), from['data']) : from['data'],
    extensions: extensions.length > 0 ? Object.fromEntries(extensions) : null,
  };
}

/** Date.parse alone takes much that is no RFC 3339, e.g. "May 5" or "2026". */
function parseTime(text: string): number | null {
  if (!/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text)) return null;
  const ms = Date.parse(text.toUpperCase());
  return ms >= 0 ? ms : null;
}

// ---------------------------------------------------------------- payloads

/** Field by field: decoded messages bring a toJSON that writes 64-bit integers as strings and enums by name. */
function toJson(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  if (Array.isArray(value)) return value.map(toJson);
  return mapValues(value, toJson);
}

/** Own keys, `__proto__` among them, stay own keys. */
function mapValues(value: object, convert: (one: unknown, key: string) => unknown): object {
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, convert(one, key)]));
}

/** The inverse of toJson, as far as the value is what its field wants; the rest stays, for EventType.check to refuse. */
function fromJson(message: protobuf.Type, data: unknown): unknown {
  if (!needsConversion(message) || typeof data !== 'object' || data === null || Array.isArray(data)) return data;
  return mapValues(data, (value, key) => {
    const field = Object.hasOwn(message.fields, key) ? message.fields[key] : undefined;
    if (!field) return value;
    if (field.repeated) return Array.isArray(value) ? value.map((one) => valueFromJson(field, one)) : value;
    if (field.map) return typeof value === 'object' && value !== null && !Array.isArray(value) ? mapValues(value, (one) => valueFromJson(field, one)) : value;
    return valueFromJson(field, value);
  });
}

const NOT_FINITE: ReadonlyMap<unknown, number> = new Map([['NaN', NaN], ['Infinity', Infinity], ['-Infinity', -Infinity]]);

function valueFromJson(field: protobuf.Field, value: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return fromJson(field.resolvedType, value);
  if (field.type === 'double' || field.type === 'float') return NOT_FINITE.get(value) ?? value;
  if (field.type !== 'bytes' || typeof value !== 'string' || !isBase64(value)) return value;
  return Buffer.from(value, 'base64');
}

/** Strict: Buffer.from skips what it does not know, and a payload would silently lose bytes. */
function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

/** Most messages are JSON as they are: whether one is, is found out once. */
const needs = new WeakMap<protobuf.Type, boolean>();

function needsConversion(message: protobuf.Type): boolean {
  const known = needs.get(message);
  if (known !== undefined) return known;
  const reachable = new Set<protobuf.Type>([message]);
  let found = false;
  for (const one of reachable) {
    for (const field of one.fieldsArray) {
      if (field.resolvedType instanceof protobuf.Type) reachable.add(field.resolvedType);
      else found ||= field.type === 'bytes' || field.type === 'double' || field.type === 'float';
    }
  }
  needs.set(message, found);
  return found;
}
