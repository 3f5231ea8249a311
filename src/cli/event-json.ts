/**
 * Lines of NDJSON and their events: CloudEvents 1.0 JSON, as `tail` prints it and `publish --file`
 * takes it.
 */
import { EVENT_ATTRIBUTES, extensionProblem } from '../core/extensions.ts';
import { formatRfc3339, parseRfc3339, END_OF_TIME_MS } from '../core/rfc3339.ts';
import type { PublishItem } from '../pipeline/append/publish-item.ts';
import type { EventHeader } from '../wire/event-header.ts';
import { plainJson } from '../wire/payload-json.ts';
import { safeJson } from './printable.ts';

/**
 * Reads an event from the JSON of a line.
 * @throws Error whose message names the problem
 */
export function parseEvent(value: unknown, defaultType: string | undefined): PublishItem {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error('not a JSON object');
  const from = value as Record<string, unknown>;
  const text = (name: string): string | undefined => {
    const found = from[name];
    if (found === undefined || found === null) return undefined;
    if (typeof found !== 'string') throw new Error(`"${name}" must be a string`);
    return found;
  };
  if (from['specversion'] !== undefined && from['specversion'] !== '1.0')
    throw new Error('"specversion" must be "1.0"');
  const type = text('type') ?? defaultType;
  if (type === undefined) throw new Error('it has no "type", and the command line gives none');
  if (from['data'] === undefined)
    throw new Error(
      from['data_base64'] === undefined
        ? 'it has no "data"'
        : '"data_base64" is not supported: use "data"',
    );
  const out: { -readonly [K in keyof PublishItem]: PublishItem[K] } = { type, data: from['data'] };
  const [id, source, subject, time] = [text('id'), text('source'), text('subject'), text('time')];
  if (id !== undefined) out.id = id;
  if (source !== undefined) out.source = source;
  if (subject !== undefined) out.subject = subject;
  if (time !== undefined) out.time = timeOf(time);
  const contentType = text('datacontenttype');
  if (
    contentType !== undefined &&
    !/^application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i.test(contentType)
  ) {
    throw new Error(
      `"datacontenttype" must be JSON, it is ${JSON.stringify(contentType.slice(0, 60))}`,
    );
  }
  text('dataschema');
  const extensions = extensionsOf(from);
  if (extensions !== null) out.extensions = extensions;
  return out;
}

/** Checks a time and returns its text unchanged. A number would lose digits of it. */
function timeOf(text: string): string {
  const moment = parseRfc3339(text);
  if (moment === null)
    throw new Error(`"time" is not an RFC 3339 time: ${JSON.stringify(text.slice(0, 60))}`);
  if (moment.ms < 0) throw new Error(`"time" is before 1970: ${JSON.stringify(text)}`);
  return text;
}

/**
 * Reads the extension attributes as text: strings, booleans and 32-bit integers. Null: there are
 * none.
 */
function extensionsOf(from: Readonly<Record<string, unknown>>): Record<string, string> | null {
  const extensions: [string, string][] = [];
  for (const [name, value] of Object.entries(from)) {
    if (EVENT_ATTRIBUTES.has(name) || value === null) continue;
    if (typeof value === 'object')
      throw new Error(`extension "${name}" must be a string, number or boolean`);
    if (typeof value === 'number' && (value | 0) !== value) {
      throw new Error(
        `extension "${name}" is not a 32-bit integer, the only number of CloudEvents. Write a string`,
      );
    }
    extensions.push([name, String(value)]);
  }
  if (extensions.length === 0) return null;
  const all = Object.fromEntries(extensions);
  const problem = extensionProblem(all);
  if (problem)
    throw new Error(
      `"${problem.path.slice('extensions.'.length)}" is not an attribute of CloudEvents: ${problem.what}`,
    );
  return all;
}

/**
 * Formats an event as one line. The event's own attributes win over extensions of the same name,
 * which a foreign producer may have written.
 * @param more further members, e.g. the event's revision in a history
 */
export function formatEvent(
  header: Pick<EventHeader, 'id' | 'source' | 'subject' | 'timeMs' | 'extensions'> & {
    readonly timeNanos?: number;
  },
  type: string,
  data: unknown,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const extensions = Object.entries(header.extensions ?? {}).filter(
    ([name]) => !EVENT_ATTRIBUTES.has(name),
  );
  return safeJson({
    specversion: '1.0',
    id: header.id,
    source: header.source,
    type,
    subject: header.subject,
    ...(header.timeMs < END_OF_TIME_MS
      ? { time: formatRfc3339({ ms: header.timeMs, nanos: nanosOf(header) }) }
      : {}),
    datacontenttype: 'application/json',
    data: plainJson(data),
    ...Object.fromEntries(extensions),
    ...more,
  });
}

/**
 * Nanoseconds within the millisecond. A foreign producer's value of a millisecond or more counts as
 * 0.
 */
function nanosOf({ timeNanos = 0 }: { readonly timeNanos?: number }): number {
  return timeNanos < 1_000_000 ? timeNanos : 0;
}
