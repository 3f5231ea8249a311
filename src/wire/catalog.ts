/**
 * The declared event types: a folder of .proto text → per type a check, an encoder and a decoder.
 *
 * A message with `option (millrace.v1.event) = { type: "…", subject: "…" }` is the declaration. Parsed by reflection in every
 * process and pool thread that needs it; protobufjs compiles each message's codec at its first use.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { ConfigError, CorruptDataError, InvalidEventError, UnknownEventTypeError } from '../core/errors.ts';
import { NAME_PATTERN } from '../core/function-spec.ts';
import { BUNDLED, readBundled } from './bundled-protos.ts';
import { compileWriter } from './message-writer.ts';
import { compileCheck, zeroWideDefaults } from './message-walkers.ts';
import { PayloadReader, type PayloadArena } from './payload-codec.ts';

export interface ProtoSource {
  /** Path below the proto folder, as imports name it. */
  readonly name: string;
  readonly text: string;
}

export interface EventType {
  readonly name: string;
  /** Full name of the message, e.g. `shop.v1.OrderCreated`. */
  readonly messageName: string;
  /** The subject's field as it is in `data` (camelCase). */
  readonly subjectField: string;
  readonly maxBytes: number;
  /** @throws InvalidEventError naming the field's path */
  check(data: unknown): void;
  subjectOf(data: unknown): string | undefined;
  /**
   * Checks the data and appends it, encoded, to the arena. After an error the arena holds a part of it: truncate.
   * @throws InvalidEventError naming the field's path
   */
  encodeTo(data: unknown, arena: PayloadArena): void;
  /** Call check first. */
  encode(data: unknown): Uint8Array;
  /**
   * 64-bit fields become numbers.
   * @throws CorruptDataError('decode'), also for integers beyond 2^53
   */
  decode(bytes: Uint8Array): unknown;
  /** The same, of a part of a larger buffer. */
  decodeAt(bytes: Buffer, start: number, end: number): unknown;
}

export interface Catalog {
  readonly types: ReadonlyMap<string, EventType>;
  readonly sources: readonly ProtoSource[];
  /** Reflection, for code generation and the registry. */
  readonly root: protobuf.Root;
  /** @throws UnknownEventTypeError */
  get(type: string): EventType;
}

export const DEFAULT_MAX_BYTES = 262_144;
const FOLDER_LIMITS = { files: 2000, fileBytes: 1_048_576 };

/** @throws ConfigError when the folder cannot be read or is too large */
export function loadProtoFolder(dir: string): ProtoSource[] {
  let names: string[];
  try {
    names = (readdirSync(dir, { recursive: true }) as string[]).filter((name) => name.endsWith('.proto')).map((n) => n.replaceAll('\\', '/')).sort();
  } catch (error) {
    throw new ConfigError([`proto folder ${dir} cannot be read: ${(error as Error).message}`]);
  }
  if (names.length > FOLDER_LIMITS.files) throw new ConfigError([`proto folder ${dir} holds ${names.length} files, the limit is ${FOLDER_LIMITS.files}`]);
  return names
    .filter((name) => !name.startsWith('millrace/'))
    .map((name) => {
      const path = join(dir, name);
      if (statSync(path).size > FOLDER_LIMITS.fileBytes) throw new ConfigError([`${path} is larger than ${FOLDER_LIMITS.fileBytes} bytes`]);
      return { name, text: readFileSync(path, 'utf8') };
    });
}

/** @throws ConfigError listing every problem of every file */
export function createCatalog(sources: readonly ProtoSource[]): Catalog {
  const problems: string[] = [];
  const root = new protobuf.Root();
  const known = new Set<string>([...BUNDLED, ...sources.map((s) => s.name)]);
  const files = new Map<string, string>();
  // options.proto extends descriptor.proto, which reflection has no use for: the option is read off the parsed text.
  for (const name of BUNDLED) if (!name.endsWith('options.proto')) protobuf.parse(readBundled(name), root);
  for (const { name, text } of sources) {
    try {
      const before = new Set(messagesOf(root).map((m) => m.fullName));
      const parsed = protobuf.parse(text, root);
      for (const message of messagesOf(root)) if (!before.has(message.fullName)) files.set(message.fullName, name);
      for (const path of [...(parsed.imports ?? []), ...(parsed.weakImports ?? [])]) {
        if (path.startsWith('google/protobuf/')) addWellKnown(root, path, name, problems);
        else if (!known.has(path)) problems.push(`${name}: imports ${path}, which is not in the proto folder`);
      }
    } catch (error) {
      problems.push(`${name}: ${(error as Error).message}`);
    }
  }
  const types = new Map<string, EventType>();
  if (problems.length === 0) {
    try {
      root.resolveAll();
    } catch (error) {
      problems.push((error as Error).message);
    }
    for (const message of messagesOf(root)) {
      const declared = declarationOf(message);
      if (!declared) continue;
      const where = `${files.get(message.fullName) ?? '?'}: message ${message.fullName.slice(1)}`;
      const { type, subject, maxBytes } = declared;
      if (!NAME_PATTERN.test(type)) {
        problems.push(`${where}: event type "${type}" must match ${NAME_PATTERN.source}`);
        continue;
      }
      const other = types.get(type);
      if (other) {
        problems.push(`${where}: event type "${type}" is declared by ${other.messageName} already`);
        continue;
      }
      const field = message.fieldsArray.find((f) => f.name === subject || f.name === camel(subject));
      if (!field || field.type !== 'string' || field.repeated || field.map) {
        problems.push(`${where}: its subject "${subject}" is not a string field of it`);
        continue;
      }
      types.set(type, createType(type, message, field.name, maxBytes));
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    types,
    sources,
    root,
    get(type) {
      const found = types.get(type);
      if (!found) throw new UnknownEventTypeError(type, [...types.keys()]);
      return found;
    },
  };
}

function createType(name: string, message: protobuf.Type, subjectField: string, maxBytes: number): EventType {
  const check = compileCheck(message);
  const write = compileWriter(message);
  zeroWideDefaults(message);
  const decodeAt = (bytes: Buffer, start: number, end: number): unknown => {
    try {
      return message.decode(reader.over(bytes, start, end));
    } catch (error) {
      throw new CorruptDataError('decode', `${end - start} bytes are no ${message.fullName.slice(1)}: ${(error as Error).message}`, { cause: error });
    }
  };
  return {
    name,
    messageName: message.fullName.slice(1),
    subjectField,
    maxBytes,
    check(data) {
      const problem = check(data, '');
      if (problem) throw new InvalidEventError(name, problem.path, problem.what);
    },
    subjectOf: (data) => (data as Record<string, string | undefined>)[subjectField],
    encodeTo(data, arena) {
      const problem = write(data, arena.writer);
      if (problem) throw new InvalidEventError(name, problem.path, problem.what);
    },
    encode: (data) => message.encode(data as protobuf.Message<object>).finish(),
    decode: (bytes) => decodeAt(Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length),
    decodeAt,
  };
}

/** Decoding is synchronous and never nested: one reader serves all types. */
const reader = new PayloadReader();

function declarationOf(message: protobuf.Type): { type: string; subject: string; maxBytes: number } | null {
  for (const option of (message.parsedOptions ?? []) as Record<string, unknown>[]) {
    const value = (option['(millrace.v1.event)'] ?? option['(.millrace.v1.event)']) as Record<string, unknown> | undefined;
    if (!value) continue;
    const maxBytes = Number(value['max_bytes'] ?? value['maxBytes'] ?? 0);
    return { type: String(value['type'] ?? ''), subject: String(value['subject'] ?? ''), maxBytes: maxBytes > 0 ? maxBytes : DEFAULT_MAX_BYTES };
  }
  return null;
}

function messagesOf(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  const out: protobuf.Type[] = [];
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) out.push(nested);
    if (nested instanceof protobuf.Namespace) out.push(...messagesOf(nested));
  }
  return out;
}

function addWellKnown(root: protobuf.Root, path: string, importer: string, problems: string[]): void {
  if (path === 'google/protobuf/descriptor.proto') return;
  const common = protobuf.common.get(path);
  if (!common) problems.push(`${importer}: imports ${path}, which is not supported`);
  else if (!wellKnownLoaded(root, path)) root.addJSON(common.nested ?? {});
}

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());
}

/** protobufjs ships the well-known types as JSON: adding the same one twice is an error. */
function wellKnownLoaded(root: protobuf.Root, path: string): boolean {
  const name = path.slice('google/protobuf/'.length, -'.proto'.length);
  const probe = { any: 'Any', duration: 'Duration', empty: 'Empty', struct: 'Struct', timestamp: 'Timestamp', wrappers: 'StringValue', field_mask: 'FieldMask' }[name];
  return probe !== undefined && root.lookup(`.google.protobuf.${probe}`) !== null;
}
