/** A line of NDJSON <-> an event: CloudEvents 1.0 JSON, as `tail` prints it and `publish --file` takes it. */
import type { PublishItem } from '../pipeline/append/publisher.ts';
import type { EventHeader } from '../wire/event-batch.ts';

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

export function formatEvent(header: EventHeader, type: string, data: unknown): string {
  return JSON.stringify({
    specversion: '1.0', id: header.id, source: header.source, type, subject: header.subject,
    ...(header.timeMs > 0 && header.timeMs <= 8.64e15 ? { time: new Date(header.timeMs).toISOString() } : {}),
    datacontenttype: 'application/json', data, ...header.extensions,
  });
}
