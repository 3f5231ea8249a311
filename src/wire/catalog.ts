/**
 * Declared event types: a folder of .proto text becomes a check, an encoder and a decoder per type.
 *
 * A message with `option (millrace.v1.event) = { type: "…", subject: "…" }` is the declaration.
 * Every process and pool thread that needs the types parses the text by reflection. protobufjs
 * compiles each message's codec at its first use.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import {
  ConfigError,
  CorruptDataError,
  InvalidEventError,
  UnknownEventTypeError,
} from '../core/errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';
import { compileReader, type MessageReader } from './message-reader.ts';
import { compileCheck, type Check } from './message-walkers.ts';
import { compileWriter, type MessageWriter } from './message-writer.ts';
import { PayloadArena } from './payload-arena.ts';
import { PayloadReader } from './payload-reader.ts';
import { describeExtended, ProtoFiles } from './proto-files.ts';

export interface ProtoSource {
  /** Path below the proto folder, as imports give it. */
  readonly name: string;
  readonly text: string;
}

export interface EventType {
  readonly name: string;
  /** Full name of the message, e.g. `shop.v1.OrderCreated`. */
  readonly messageName: string;
  /** Name of the subject's field in `data` (camelCase). */
  readonly subjectField: string;
  readonly maxBytes: number;
  /** Time within which a repeated id is dropped, ms; 0: ids are not compared. */
  readonly dedupeMs: number;
  /**
   * Checks data.
   * @throws InvalidEventError naming the field's path
   */
  check(data: unknown): void;
  subjectOf(data: unknown): string | undefined;
  /**
   * Checks the data and appends it, encoded, to the arena. After an error the arena may hold a part
   * of the data: truncate it.
   * @throws InvalidEventError naming the field's path
   */
  encodeTo(data: unknown, arena: PayloadArena): void;
  /**
   * Checks and encodes the data, into bytes of their own.
   * @throws InvalidEventError naming the field's path
   */
  encode(data: unknown): Uint8Array;
  /**
   * Decodes a payload into plain data, in the form of the generated types. Every field is an own
   * property, set or not. 64-bit fields are numbers.
   * @throws CorruptDataError('decode'), also for integers beyond 2^53
   */
  decode(bytes: Uint8Array): unknown;
  /** Like decode, for a part of a larger buffer. */
  decodeAt(bytes: Buffer, start: number, end: number): unknown;
}

export interface Catalog {
  readonly types: ReadonlyMap<string, EventType>;
  readonly sources: readonly ProtoSource[];
  /** Reflection, for code generation and the registry. */
  readonly root: protobuf.Root;
  /** @throws UnknownEventTypeError */
  get(type: string): EventType;
  /**
   * Returns the text of a type's schema: first the file that declares the type, then all files that
   * it imports, by name. Files that come with Millrace and Google's well-known files are left out.
   * @throws UnknownEventTypeError
   */
  filesOf(type: string): readonly ProtoSource[];
}

export const DEFAULT_MAX_BYTES = 262_144;
const FOLDER_LIMITS = { files: 2000, fileBytes: 1_048_576, allBytes: 16_777_216 };

/**
 * Reads the .proto files below a folder, sorted by name. `millrace/v1/` is left out, because those
 * files come with the package.
 * @throws ConfigError when the folder cannot be read or is too large
 */
export function loadProtoFolder(dir: string): ProtoSource[] {
  try {
    const names = (readdirSync(dir, { recursive: true }) as string[])
      .map((name) => name.replaceAll('\\', '/'))
      .filter(
        (name) =>
          name.endsWith('.proto') &&
          !name.startsWith('millrace/v1/') &&
          statSync(join(dir, name)).isFile(),
      )
      .sort();
    if (names.length > FOLDER_LIMITS.files)
      throw new ConfigError([
        `proto folder ${dir} holds ${names.length} files, the limit is ${FOLDER_LIMITS.files}`,
      ]);
    let total = 0;
    return names.map((name) => {
      const path = join(dir, name);
      const { size } = statSync(path);
      total += size;
      if (size > FOLDER_LIMITS.fileBytes)
        throw new ConfigError([`${path} is larger than ${FOLDER_LIMITS.fileBytes} bytes`]);
      if (total > FOLDER_LIMITS.allBytes)
        throw new ConfigError([
          `proto folder ${dir} holds more than ${FOLDER_LIMITS.allBytes} bytes`,
        ]);
      return { name, text: readFileSync(path, 'utf8') };
    });
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError([`proto folder ${dir} cannot be read: ${(error as Error).message}`]);
  }
}

/**
 * Creates the catalog of a project's event types.
 * @throws ConfigError listing every problem of every file
 */
export function createCatalog(sources: readonly ProtoSource[]): Catalog {
  const problems: string[] = [];
  const files = new ProtoFiles(
    sources.map((source) => source.name),
    false,
  );
  const { root } = files;
  const importsOf = addSources(files, sources, problems);
  if (problems.length === 0) resolve(root, problems);
  for (const { file, line, of } of files.dangling())
    problems.push(`${file}, line ${line}: it extends ${of}, which is no message`);
  const types = new Map<string, EventType>();
  const declaredIn = new Map<string, string>();
  if (problems.length === 0) {
    for (const message of messagesOf(root)) {
      const type = eventTypeOf(message, files, types, problems);
      if (type === null) continue;
      types.set(type.name, type);
      declaredIn.set(type.name, message.filename ?? '');
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
    filesOf(type) {
      this.get(type);
      return closureOf(declaredIn.get(type) as string, sources, importsOf);
    },
  };
}

/**
 * Parses all files.
 * @returns each file's imports
 */
function addSources(
  files: ProtoFiles,
  sources: readonly ProtoSource[],
  problems: string[],
): Map<string, readonly string[]> {
  const importsOf = new Map<string, readonly string[]>();
  for (const { name, text } of sources) {
    try {
      const imports = files.add(name, text);
      importsOf.set(name, imports);
      for (const path of imports) {
        if (files.load(path)) continue;
        const why = path.startsWith('google/protobuf/')
          ? 'not supported'
          : 'not in the proto folder';
        problems.push(`${name}: imports ${path}, which is ${why}`);
      }
    } catch (error) {
      // "illegal id ';' (a.proto, line 3)": the problem begins with the file's name already
      problems.push(`${name}: ${(error as Error).message.replace(`(${name}, line `, '(line ')}`);
    }
  }
  return importsOf;
}

/**
 * Returns the event type that a message declares. Null: it declares none, or has problems.
 * @param others types declared before it
 */
function eventTypeOf(
  message: protobuf.Type,
  files: ProtoFiles,
  others: ReadonlyMap<string, EventType>,
  problems: string[],
): EventType | null {
  const where = `${message.filename ?? '?'}: message ${message.fullName.slice(1)}`;
  const declared = declarationOf(message, where, problems);
  if (!declared) return null;
  const { type, subject, maxBytes, dedupeMs } = declared;
  const refuse = (...found: readonly string[]): null => {
    problems.push(...found.map((problem) => `${where}: ${problem}`));
    return null;
  };
  if (!TYPE_PATTERN.test(type)) {
    return refuse(`event type "${type}" must match ${TYPE_PATTERN.source}`);
  }
  const other = others.get(type);
  if (other) return refuse(`event type "${type}" is declared by ${other.messageName} already`);
  const field = message.fieldsArray.find(
    (f) => f.name === subject || f.name === protobuf.util.camelCase(subject),
  );
  if (!field || field.type !== 'string' || field.repeated || field.map) {
    return refuse(`its subject "${subject}" is not a string field of it`);
  }
  const unfit = [...unsupported(message), ...files.carried(message).map(describeExtended)];
  if (unfit.length > 0) return refuse(...unfit);
  return createType(type, message, field.name, maxBytes, dedupeMs);
}

/** Returns a file of the sources, and the files that it imports, directly or not. */
function closureOf(
  root: string,
  sources: readonly ProtoSource[],
  importsOf: ReadonlyMap<string, readonly string[]>,
): ProtoSource[] {
  const byName = new Map(sources.map((source) => [source.name, source]));
  const wanted = new Set([root]);
  for (const name of wanted)
    for (const path of importsOf.get(name) ?? []) if (byName.has(path)) wanted.add(path);
  wanted.delete(root);
  return [root, ...[...wanted].sort()].map((name) => byName.get(name) as ProtoSource);
}

/**
 * Returns a codec for one message of a catalog, whether or not it declares an event type. Upcasters
 * use it to read the data of other versions.
 * @throws CorruptDataError('missing') when the catalog has no such message
 */
export function messageType(catalog: Catalog, type: string, messageName: string): EventType {
  const message = messagesOf(catalog.root).find((one) => one.fullName.slice(1) === messageName);
  if (!message)
    throw new CorruptDataError('missing', `the schema of "${type}" has no message ${messageName}`);
  return catalog.types.get(type)?.messageName === messageName
    ? catalog.get(type)
    : createType(type, message, '', DEFAULT_MAX_BYTES, 0);
}

function createType(
  name: string,
  message: protobuf.Type,
  subjectField: string,
  maxBytes: number,
  dedupeMs: number,
): EventType {
  // Codecs are compiled at first use: most processes use few of the declared types.
  let check: Check | null = null;
  let write: MessageWriter | null = null;
  let read: MessageReader | null = null;
  const decodeAt = (bytes: Buffer, start: number, end: number): unknown => {
    read ??= compileReader(message);
    try {
      return read(reader.over(bytes, start, end), end, null, 0, 0);
    } catch (error) {
      throw new CorruptDataError(
        'decode',
        `${end - start} bytes are no ${message.fullName.slice(1)}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  };
  const encodeTo = (data: unknown, arena: PayloadArena): void => {
    const problem = (write ??= compileWriter(message))(data, arena);
    if (problem) throw new InvalidEventError(name, problem.path, problem.what);
  };
  return {
    name,
    messageName: message.fullName.slice(1),
    subjectField,
    maxBytes,
    dedupeMs,
    check(data) {
      const problem = (check ??= compileCheck(message))(data, '');
      if (problem) throw new InvalidEventError(name, problem.path, problem.what);
    },
    subjectOf: (data) =>
      (data as Record<string, string | undefined> | null | undefined)?.[subjectField],
    encodeTo,
    encode(data) {
      const arena = new PayloadArena();
      encodeTo(data, arena);
      return arena.buffer.subarray(0, arena.end);
    },
    decode: (bytes) =>
      decodeAt(
        Buffer.isBuffer(bytes)
          ? bytes
          : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        0,
        bytes.length,
      ),
    decodeAt,
  };
}

/** Decoding is synchronous and never nested: one reader serves all types. */
const reader = new PayloadReader();

/**
 * Resolves all names. protobufjs stops at the first unknown name, so each field is resolved again:
 * then all problems are reported at once.
 */
function resolve(root: protobuf.Root, problems: string[]): void {
  try {
    root.resolveAll();
  } catch (error) {
    const before = problems.length;
    for (const message of messagesOf(root)) {
      for (const field of message.fieldsArray) {
        try {
          field.resolve();
        } catch (problem) {
          problems.push(
            `${message.filename ?? '?'}: message ${message.fullName.slice(1)}, field ${field.name}: ${(problem as Error).message}`,
          );
        }
      }
    }
    if (problems.length === before) problems.push((error as Error).message);
  }
}

interface Declaration {
  readonly type: string;
  readonly subject: string;
  readonly maxBytes: number;
  readonly dedupeMs: number;
}

/**
 * Reads a message's declaration. Null: it declares no event type, or a wrong one; then a problem is
 * added.
 */
function declarationOf(
  message: protobuf.Type,
  where: string,
  problems: string[],
): Declaration | null {
  for (const option of (message.parsedOptions ?? []) as Record<string, unknown>[]) {
    const value = (option['(millrace.v1.event)'] ?? option['(.millrace.v1.event)']) as
      Record<string, unknown> | undefined;
    if (!value) continue;
    const unknown = Object.keys(value).filter(
      (key) => !['type', 'subject', 'max_bytes', 'maxBytes', 'dedupe_ms', 'dedupeMs'].includes(key),
    );
    const maxBytes = value['max_bytes'] ?? value['maxBytes'] ?? 0;
    const dedupeMs = value['dedupe_ms'] ?? value['dedupeMs'] ?? 0;
    if (unknown.length > 0)
      problems.push(
        `${where}: its option (millrace.v1.event) has no ${unknown.join(', ')}; it has type, subject, max_bytes, dedupe_ms`,
      );
    else if (
      typeof maxBytes !== 'number' ||
      !Number.isInteger(maxBytes) ||
      maxBytes < 0 ||
      maxBytes > 0xffffffff
    ) {
      problems.push(
        `${where}: max_bytes must be a whole number of bytes, it is ${JSON.stringify(maxBytes)}`,
      );
    } else if (
      typeof dedupeMs !== 'number' ||
      !Number.isInteger(dedupeMs) ||
      dedupeMs > 0xffffffff ||
      (dedupeMs !== 0 && dedupeMs < 1000)
    ) {
      problems.push(
        `${where}: dedupe_ms must be a whole number of ms, 1000 or more, it is ${JSON.stringify(dedupeMs)}`,
      );
    } else
      return {
        type: String(value['type'] ?? ''),
        subject: String(value['subject'] ?? ''),
        maxBytes: maxBytes > 0 ? maxBytes : DEFAULT_MAX_BYTES,
        dedupeMs,
      };
    return null;
  }
  return null;
}

/**
 * Returns the unsupported features of a message, and of the messages in it:
 * - Default values: leaving out zeros, as proto3 does, would turn a 0 into another default.
 * - Required fields: a missing one would be invented.
 * - Fields named like a member of every object: they would always seem set.
 */
function unsupported(message: protobuf.Type, seen: Set<protobuf.Type> = new Set()): string[] {
  if (seen.has(message)) return [];
  seen.add(message);
  return message.fieldsArray.flatMap((field) => {
    const name = `field ${field.name} of ${message.fullName.slice(1)}`;
    if (field.required) return [`${name} is required, which is not supported: make it optional`];
    if (field.delimited) return [`${name} is a group, which is not supported: make it a message`];
    if (field.name in Object.prototype)
      return [`${name} has the name of a member of every JavaScript object: rename it`];
    if (!field.repeated && !field.map && !isZero(field.typeDefault))
      return [`${name} has a default other than zero, which is not supported`];
    return field.resolvedType instanceof protobuf.Type ? unsupported(field.resolvedType, seen) : [];
  });
}

function isZero(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return !value;
  // The value is a Long, or bytes.
  return 'low' in value && 'high' in value
    ? value.low === 0 && value.high === 0
    : (value as ArrayLike<unknown>).length === 0;
}

function messagesOf(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  const out: protobuf.Type[] = [];
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) out.push(nested);
    if (nested instanceof protobuf.Namespace) out.push(...messagesOf(nested));
  }
  return out;
}
