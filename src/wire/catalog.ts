/**
 * Declared event types: a folder of .proto text becomes a check, an encoder and a decoder per type.
 *
 * A message with `option (millrace.v1.event) = { type: "…", subject: "…" }` is the declaration.
 * Every process and pool thread that needs the types parses the text by reflection. protobufjs
 * compiles each message's codec at its first use.
 */
import protobuf from 'protobufjs';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { ConfigError, UnknownEventTypeError } from '../core/errors/input-errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';
import { declarationOf, unsupported } from './event-declaration.ts';
import { createType, DEFAULT_MAX_BYTES, type EventType } from './event-type.ts';
import { isMasked, maskProblems } from './masked-fields.ts';
import { describeExtended, ProtoFiles } from './proto-files.ts';
import type { ProtoSource } from './proto-folder.ts';
import { OWN_OPTIONS } from './proto-text.ts';

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
    problems.push(`${file}, line ${line}: an extension's target, ${of}, is no message`);
  for (const { file, line, name } of files.unknown)
    problems.push(
      `${file}, line ${line}: Millrace has no option (${name}); it has ${OWN_OPTIONS.join(' and ')}, written without blanks`,
    );
  if (problems.length === 0) problems.push(...maskProblems(root));
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
  if (isMasked(field)) {
    return refuse(
      `its subject "${subject}" is masked, but a subject stands in keys, lists and logs: take another field as the subject, or remove the mask`,
    );
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

function messagesOf(namespace: protobuf.NamespaceBase): protobuf.Type[] {
  const out: protobuf.Type[] = [];
  for (const nested of namespace.nestedArray) {
    if (nested instanceof protobuf.Type) out.push(nested);
    if (nested instanceof protobuf.Namespace) out.push(...messagesOf(nested));
  }
  return out;
}
