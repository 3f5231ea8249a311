/** A line of NDJSON <-> an event: CloudEvents 1.0 JSON, as `tail` prints it and `publish --file` takes it. */
import type { PublishItem } from '../pipeline/append/publisher.ts';
import type { Catalog } from '../wire/catalog.ts';
import type { EventHeader } from '../wire/event-batch.ts';
import { safeJson } from './printable.ts';

const OWN = new Set(['specversion', 'id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'dataschema', 'data', 'data_base64']);

/** @throws Error saying what is wrong with it */
export function parseEvent(value: unknown, defaultType: string | undefined): PublishItem {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not a JSON object');
  const from = value as Record<string, unknown>;
  const text = (name: string): string | undefined => {
    const found = from[name];
    if (found === undefined || found === null) return undefined;
    if (typeof found !== 'string') throw new Error(`"${name}" must be a string`);
    return found;
  };
  if (from['specversion'] !== undefined && from['specversion'] !== '1.0') throw new Error('"specversion" must be "1.0"');
  const type = text('type') ?? defaultType;
  if (type === undefined) throw new Error('it names no "type", and the command line gives none');
  if (from['data'] === undefined) throw new Error(from['data_base64'] === undefined ? 'it has no "data"' : '"data_base64" is not taken, only "data"');
  const out: { -readonly [K in keyof PublishItem]: PublishItem[K] } = { type, data: from['data'] };
  const [id, source, subject, time] = [text('id'), text('source'), text('subject'), text('time')];
  if (id !== undefined) out.id = id;
  if (source !== undefined) out.source = source;
  if (subject !== undefined) out.subject = subject;
  if (time !== undefined) {
    out.time = Date.parse(time);
    if (Number.isNaN(out.time)) throw new Error(`"time" is no RFC 3339 time: ${JSON.stringify(time)}`);
  }
  const extensions: [string, string][] = [];
  for (const [name, extension] of Object.entries(from)) {
    if (OWN.has(name) || extension === null) continue;
    if (!/^[a-z0-9]+$/.test(name)) throw new Error(`"${name}" is no attribute of CloudEvents: lower case letters and digits only`);
    if (typeof extension === 'object') throw new Error(`extension "${name}" must be a string, number or boolean`);
    extensions.push([name, String(extension)]);
  }
  if (extensions.length > 0) out.extensions = Object.fromEntries(extensions);
  return out;
}

/** @param more further members, e.g. its revision in a history */
export function formatEvent(
  header: Pick<EventHeader, 'id' | 'source' | 'subject' | 'timeMs' | 'extensions'>, type: string, data: unknown, more: Readonly<Record<string, unknown>> = {},
): string {
  return safeJson({
    specversion: '1.0', id: header.id, source: header.source, type, subject: header.subject,
    ...(header.timeMs > 0 && header.timeMs <= 8.64e15 ? { time: new Date(header.timeMs).toISOString() } : {}),
    datacontenttype: 'application/json', data: plain(data), ...header.extensions, ...more,
  });
}

/**
 * Decoded messages bring a toJSON of their own, by the rules of proto3 JSON: 64-bit integers as strings, enums by name.
 * Here JSON has what functions see and publish() takes: numbers. Bytes are base64.
 */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

/** What is used of a message's description. */
interface Described {
  readonly fullName: string;
  readonly fieldsArray: readonly { readonly name: string; readonly type: string; readonly repeated: boolean; readonly map: boolean; readonly resolvedType: unknown }[];
}

/** The inverse of `plain`: JSON has no bytes, so the fields that are some are taken as base64. Other data is left as it is. */
export function createBytesReader(catalog: Catalog): (type: string, data: unknown) => unknown {
  const messages = new Map<string, Described | null>();
  const read = (message: Described, data: unknown): unknown => {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return data;
    const out: Record<string, unknown> = { ...data };
    for (const field of message.fieldsArray) {
      const value = out[field.name];
      if (value === undefined || value === null) continue;
      const nested = field.resolvedType as Described | null;
      const convert =
        field.type === 'bytes' ? fromBase64 : nested?.fieldsArray && hasBytes(nested) ? (one: unknown) => read(nested, one) : null;
      if (!convert) continue;
      if (field.repeated) out[field.name] = Array.isArray(value) ? value.map(convert) : value;
      else if (field.map && typeof value === 'object') out[field.name] = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, convert(one)]));
      else out[field.name] = convert(value);
    }
    return out;
  };
  return (type, data) => {
    let message = messages.get(type);
    if (message === undefined) {
      const declared = catalog.types.get(type);
      const found: Described | null = declared ? catalog.root.lookupType(declared.messageName) : null;
      message = found && hasBytes(found) ? found : null;
      messages.set(type, message);
    }
    return message ? read(message, data) : data;
  };
}

function hasBytes(message: Described, seen = new Set<string>()): boolean {
  if (seen.has(message.fullName)) return false;
  seen.add(message.fullName);
  return message.fieldsArray.some(
    (field) => field.type === 'bytes' || ((field.resolvedType as Described | null)?.fieldsArray !== undefined && hasBytes(field.resolvedType as Described, seen)),
  );
}

function fromBase64(value: unknown): unknown {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return value;
  return Buffer.from(value, 'base64');
}
