/**
 * What the registry needs of a schema: which message it is, its fingerprint, and the verdict against older ones.
 *
 * INTERIM: stands in until src/schema (parser with limits in a worker, the whole table of rules, buf as oracle) is merged;
 * then prepareSchema and judge call that, and nothing else changes. This one errs on the strict side: whatever is not
 * plainly compatible both ways is a finding, whatever the level's direction. It parses in this process.
 */
import { createHash } from 'node:crypto';
import { ConfigError, MillraceError } from '../core/errors.ts';
import { createCatalog, type Catalog, type ProtoSource } from '../wire/catalog.ts';

export interface Finding {
  readonly rule: string;
  readonly path: string;
  readonly reader: string;
  readonly writer: string;
  readonly what: string;
  readonly cure: string;
}

export const LEVELS = ['NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE'] as const;
export type Level = (typeof LEVELS)[number];

/** Text that is no schema, or none that is accepted. Nothing was registered. */
export class InvalidSchemaError extends MillraceError {
  readonly code = 'INVALID_SCHEMA';
}

interface FieldShape {
  readonly number: number;
  readonly name: string;
  /** Type, with `repeated`, `map<…>` and the oneof it is in. */
  readonly shape: string;
}
interface MessageShape {
  readonly fields: readonly FieldShape[];
  readonly reserved: readonly (string | readonly number[])[];
}
interface EnumShape {
  readonly values: Readonly<Record<string, number>>;
  readonly reserved: readonly (string | readonly number[])[];
}
/** Everything the message leads to, by full name. */
interface Shapes {
  readonly messages: ReadonlyMap<string, MessageShape>;
  readonly enums: ReadonlyMap<string, EnumShape>;
}

export interface PreparedSchema {
  /** Full name of the message that the subject's events are. */
  readonly message: string;
  readonly fingerprint: string;
  readonly shapes: Shapes;
}

type Message = ReturnType<Catalog['root']['lookupType']>;
const LIMITS = { files: 200, bytes: 2 * 1024 * 1024 };

/** @throws InvalidSchemaError */
export function prepareSchema(subject: string, files: readonly ProtoSource[]): Promise<PreparedSchema> {
  return Promise.resolve().then(() => prepare(subject, files));
}

function prepare(subject: string, files: readonly ProtoSource[]): PreparedSchema {
  const bytes = files.reduce((sum, file) => sum + file.text.length, 0);
  if (files.length > LIMITS.files || bytes > LIMITS.bytes) throw new InvalidSchemaError(`${files.length} files with ${bytes} characters; the limits are ${LIMITS.files} and ${LIMITS.bytes}`);
  let catalog: Catalog;
  try {
    catalog = createCatalog(files);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new InvalidSchemaError(error.problems.join('; '), { cause: error });
  }
  const own = messagesOf(catalog.root, files[0]?.name ?? '');
  const declared = catalog.types.get(subject)?.messageName;
  const roots = declared === undefined ? own : own.filter((one) => one.fullName === `.${declared}`);
  const first = roots[0] ?? (declared === undefined ? undefined : catalog.root.lookupType(declared));
  if (!first) throw new InvalidSchemaError('it has no message');
  const shapes: { messages: Map<string, MessageShape>; enums: Map<string, EnumShape> } = { messages: new Map(), enums: new Map() };
  for (const one of roots.length > 0 ? roots : [first]) collect(one, shapes);
  const canonical = JSON.stringify([declared ?? own.map((one) => one.fullName), [...shapes.messages].sort(byKey), [...shapes.enums].sort(byKey)]);
  return { message: first.fullName.slice(1), fingerprint: createHash('sha256').update(canonical).digest('hex'), shapes };
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

/** Messages at the top of a file, in its order. */
function messagesOf(namespace: { readonly nestedArray: readonly unknown[] }, file: string): Message[] {
  return namespace.nestedArray.flatMap((nested) => {
    if (typeof nested !== 'object' || nested === null || !('nestedArray' in nested)) return [];
    if ('fieldsArray' in nested) return (nested as Message).filename === file ? [nested as Message] : [];
    return messagesOf(nested as { nestedArray: readonly unknown[] }, file);
  });
}

function collect(message: Message, shapes: { messages: Map<string, MessageShape>; enums: Map<string, EnumShape> }): void {
  if (shapes.messages.has(message.fullName)) return;
  const fields: FieldShape[] = [];
  shapes.messages.set(message.fullName, { fields, reserved: (message.reserved ?? []) as MessageShape['reserved'] });
  for (const field of [...message.fieldsArray].sort((a, b) => a.id - b.id)) {
    field.resolve();
    const { resolvedType } = field;
    const type = resolvedType?.fullName ?? field.type;
    const oneof = field.partOf !== null && !field.partOf.isProto3Optional ? `, in a oneof with ${field.partOf.fieldsArray.map((one) => one.id).sort((a, b) => a - b).join(' ')}` : '';
    const shape = field.map ? `map<${(field as unknown as { keyType: string }).keyType}, ${type}>` : `${field.repeated ? `repeated ${field.packed ? 'packed ' : ''}` : ''}${type}`;
    fields.push({ number: field.id, name: field.name, shape: shape + oneof });
    if (resolvedType && 'fieldsArray' in resolvedType) collect(resolvedType, shapes);
    else if (resolvedType) {
      const values = Object.fromEntries(Object.entries(resolvedType.values).sort((a, b) => a[1] - b[1] || byKey(a, b)));
      shapes.enums.set(resolvedType.fullName, { values, reserved: (resolvedType.reserved ?? []) as EnumShape['reserved'] });
    }
  }
}

/** All findings against all of the previous ones, each once. */
export function judge(level: Level, candidate: PreparedSchema, previous: readonly PreparedSchema[]): { readonly compatible: boolean; readonly findings: readonly Finding[] } {
  if (level === 'NONE') return { compatible: true, findings: [] };
  const findings = new Map<string, Finding>();
  const add = (finding: Finding): void => void findings.set(`${finding.rule} ${finding.path} ${finding.writer}`, finding);
  for (const one of previous) compare(candidate, one, add);
  return { compatible: findings.size === 0, findings: [...findings.values()] };
}

function compare(now: PreparedSchema, before: PreparedSchema, add: (finding: Finding) => void): void {
  if (now.message !== before.message) {
    add({ rule: 'MESSAGE_RENAMED', path: before.message, reader: now.message, writer: before.message, what: `the message was ${before.message} and is ${now.message}`, cure: `Name it ${before.message} again, or declare a new event type` });
  }
  for (const [name, old] of before.shapes.messages) {
    const fresh = now.shapes.messages.get(name);
    if (!fresh) continue; // the field that led to it is a finding, or reserved
    for (const field of old.fields) {
      const path = `${name.slice(1)}.${field.name}`;
      const same = fresh.fields.find((one) => one.number === field.number);
      if (same && same.shape !== field.shape) {
        add({ rule: 'FIELD_CHANGED', path, reader: same.shape, writer: field.shape, what: `field ${field.number} was ${field.shape} and is ${same.shape}`, cure: `Make it ${field.shape} again; give what is new a new field with a new number` });
      } else if (!same && !(isReserved(fresh.reserved, field.number) && fresh.reserved.includes(field.name))) {
        add({ rule: 'FIELD_REMOVED_UNRESERVED', path, reader: '', writer: field.shape, what: `field ${field.number} is gone, and its number and name are not reserved`, cure: `Add: reserved ${field.number}; reserved "${field.name}";` });
      }
    }
    for (const reserved of old.reserved) {
      const still = typeof reserved === 'string' ? fresh.reserved.includes(reserved) : rangeReserved(fresh.reserved, reserved);
      if (!still) add({ rule: 'RESERVATION_REMOVED', path: name.slice(1), reader: '', writer: String(reserved), what: `${String(reserved)} was reserved and no longer is`, cure: 'Reserve it again: an old field had it' });
    }
  }
  for (const [name, old] of before.shapes.enums) {
    const fresh = now.shapes.enums.get(name);
    if (!fresh) continue;
    const numbers = new Set(Object.values(fresh.values));
    for (const [value, number] of Object.entries(old.values)) {
      if (!numbers.has(number) && !isReserved(fresh.reserved, number)) {
        add({ rule: 'ENUM_VALUE_REMOVED', path: `${name.slice(1)}.${value}`, reader: '', writer: String(number), what: `value ${number} is gone and not reserved`, cure: `Add: reserved ${number};` });
      }
    }
  }
}

function isReserved(reserved: MessageShape['reserved'], number: number): boolean {
  return reserved.some((one) => typeof one !== 'string' && number >= (one[0] as number) && number <= (one[1] as number));
}

function rangeReserved(reserved: MessageShape['reserved'], range: readonly number[]): boolean {
  const [first, last] = range as [number, number];
  if (last - first > 1000) return isReserved(reserved, first) && isReserved(reserved, last);
  for (let number = first; number <= last; number++) if (!isReserved(reserved, number)) return false;
  return true;
}
