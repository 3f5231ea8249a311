/**
 * Turns .proto text into a model. For schemas of strangers it runs in a throw-away thread
 * (parse-thread.ts). No code is made from the schema.
 */
import protobuf from 'protobufjs';
import { BUNDLED } from '../wire/bundled-protos.ts';
import { isMasked } from '../wire/masked-fields.ts';
import { describeExtended, ProtoFiles } from '../wire/proto-files.ts';
import { canonicalHash } from './canonical.ts';
import { checkName, checkSchemaText, InvalidSchemaError, SCHEMA_LIMITS } from './limits.ts';
import type {
  EnumModel,
  FieldModel,
  MessageModel,
  ParsedSchema,
  Reserved,
  SchemaFile,
} from './model.ts';

/**
 * @param files the schema's own file first, then its imports
 * @throws InvalidSchemaError naming file and line, or message and field
 */
export function readModel(files: readonly SchemaFile[]): ParsedSchema {
  checkSchemaText(files);
  const protos = parse(files);
  const { root } = protos;
  resolveFields(root);
  const own = files[0]?.name;
  const found = new Contents(own);
  found.add(root, true);
  if (found.isEmpty && !protos.extensions.some(({ file }) => file === own)) {
    throw new InvalidSchemaError(`${own ?? 'it'} declares no message`);
  }
  return {
    messages: found.messages,
    enums: found.enums,
    roots: found.roots,
    events: Object.fromEntries(found.events),
    extended: extendedIn(protos),
    text: canonicalHash(files[0]?.text ?? ''),
  };
}

function parse(files: readonly SchemaFile[]): ProtoFiles {
  const protos = new ProtoFiles(
    files.map((file) => file.name),
    true,
  );
  for (const { name, text } of files) {
    // Millrace's own files are loaded already. A copy that comes with the schema is ignored.
    if ((BUNDLED as readonly string[]).includes(name)) continue;
    try {
      for (const path of protos.add(name, text)) {
        if (!protos.load(path))
          throw new InvalidSchemaError(`it imports ${path}, which did not come with it`);
      }
    } catch (error) {
      throw new InvalidSchemaError(`${name}: ${(error as Error).message}`, { cause: error });
    }
  }
  return protos;
}

/** Messages and enums of a schema's files, within the limits. */
class Contents {
  readonly messages: Record<string, MessageModel> = {};
  readonly enums: Record<string, EnumModel> = {};
  /**
   * Messages by event type. A map, because a type may have any name, even one that means something
   * to objects.
   */
  readonly events = new Map<string, string>();
  /** Top-level messages of the schema's own file. */
  readonly roots: string[] = [];
  readonly #own: string | undefined;
  /** Number of enums and services of the schema's own file. A file may have no message. */
  #others = 0;
  #messageCount = 0;
  #members = 0;

  /** @param own name of the schema's own file */
  constructor(own: string | undefined) {
    this.#own = own;
  }

  get isEmpty(): boolean {
    return this.roots.length === 0 && this.#others === 0;
  }

  /** @param top whether the namespace is outside of any message */
  add(space: protobuf.NamespaceBase, top: boolean): void {
    for (const nested of space.nestedArray) {
      const where = nested.fullName.slice(1);
      if (!(nested instanceof protobuf.Field)) checkName(nested.name, where);
      if (nested instanceof protobuf.Type) this.#message(nested, where, top);
      else if (nested instanceof protobuf.Enum) {
        this.#count(Object.keys(nested.values).length + (nested.reserved?.length ?? 0));
        this.enums[where] = enumOf(nested, where);
        if (nested.filename === this.#own) this.#others++;
      } else if (nested instanceof protobuf.Service) this.#others++;
      else if (nested instanceof protobuf.Namespace) this.add(nested, top);
    }
  }

  #message(message: protobuf.Type, where: string, top: boolean): void {
    if (++this.#messageCount > SCHEMA_LIMITS.messages)
      throw new InvalidSchemaError(`more than ${SCHEMA_LIMITS.messages} messages`);
    this.#count(message.fieldsArray.length + (message.reserved?.length ?? 0));
    this.messages[where] = messageOf(message, where);
    if (top && message.filename === this.#own) this.roots.push(where);
    const type = eventType(message);
    if (type !== null) this.events.set(type, where);
    this.add(message, false);
  }

  #count(more: number): void {
    this.#members += more;
    if (this.#members > SCHEMA_LIMITS.members)
      throw new InvalidSchemaError(
        `more than ${SCHEMA_LIMITS.members} fields, enum values and reservations`,
      );
  }
}

/** Returns, for each extended message, why data with the extension is not supported. */
function extendedIn(protos: ProtoFiles): Record<string, string> {
  for (const { file, line, of } of protos.dangling()) {
    throw new InvalidSchemaError(
      `${file}, line ${line}: an extension's target, ${of}, is no message`,
    );
  }
  return Object.fromEntries(
    protos.extended().map((extended) => [extended.of, describeExtended(extended)]),
  );
}

/**
 * Finds the types of all fields, then the properties that depend on the syntax (required,
 * presence).
 */
function resolveFields(root: protobuf.Root): void {
  const walk = (space: protobuf.NamespaceBase): void => {
    for (const nested of space.nestedArray) {
      if (nested instanceof protobuf.Type) {
        for (const field of nested.fieldsArray) {
          try {
            field.resolve();
          } catch (error) {
            throw new InvalidSchemaError(
              `${nested.fullName.slice(1)}.${field.name}: ${(error as Error).message}`,
              { cause: error },
            );
          }
        }
      }
      if (nested instanceof protobuf.Namespace) walk(nested);
    }
  };
  walk(root);
  try {
    root.resolveAll();
  } catch (error) {
    throw new InvalidSchemaError((error as Error).message, { cause: error });
  }
}

function eventType(message: protobuf.Type): string | null {
  const options = (message.parsedOptions ?? []) as Record<string, { type?: unknown } | undefined>[];
  for (const option of options) {
    const declared = option['(millrace.v1.event)'] ?? option['(.millrace.v1.event)'];
    if (typeof declared?.type === 'string') return declared.type;
  }
  return null;
}

/** The syntax of the object, as protobufjs has found it: proto2, proto3 or an edition. */
function syntaxOf(object: protobuf.ReflectionObject): string {
  for (let at: protobuf.ReflectionObject | null = object; at !== null; at = at.parent) {
    const edition = (at as unknown as { _edition?: string })._edition;
    if (typeof edition === 'string') return edition;
  }
  return 'proto2';
}

function messageOf(message: protobuf.Type, where: string): MessageModel {
  const fields = message.fieldsArray.map((field): FieldModel => {
    checkName(field.name, `${where}.${field.name}`);
    const { resolvedType } = field;
    const kind =
      resolvedType instanceof protobuf.Type
        ? 'message'
        : resolvedType instanceof protobuf.Enum
          ? 'enum'
          : 'scalar';
    if (field.delimited)
      throw new InvalidSchemaError(
        `${where}.${field.name}: groups are not supported; use a message field`,
      );
    const oneof =
      field.partOf !== null && !field.partOf.isProto3Optional ? field.partOf.name : null;
    return {
      number: field.id,
      name: field.name,
      type: resolvedType ? resolvedType.fullName.slice(1) : field.type,
      kind,
      repeated: field.repeated,
      mapKey: field instanceof protobuf.MapField ? field.keyType : null,
      oneof,
      // `hasPresence` is the oneof itself for a field in a oneof.
      presence:
        !field.repeated &&
        !field.map &&
        (kind === 'message' || oneof !== null || Boolean(field.hasPresence)),
      required: field.required,
      default: field.options?.['default'] === undefined ? null : String(field.options['default']),
      jsonName:
        typeof field.options?.['json_name'] === 'string' ? field.options['json_name'] : null,
      ...(isMasked(field) ? { masked: true as const } : {}),
    };
  });
  fields.sort((a, b) => a.number - b.number);
  return { syntax: syntaxOf(message), fields, reserved: reservedOf(message.reserved, where) };
}

function enumOf(type: protobuf.Enum, where: string): EnumModel {
  const values = Object.entries(type.values).map(([name, number]) => {
    checkName(name, `${where}.${name}`);
    return [name, number] as const;
  });
  values.sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  return { syntax: syntaxOf(type), values, reserved: reservedOf(type.reserved, where) };
}

function reservedOf(
  reserved: readonly (readonly number[] | string)[] | undefined,
  where: string,
): Reserved {
  const ranges: [number, number][] = [];
  const names: string[] = [];
  for (const one of reserved ?? []) {
    if (typeof one === 'string') names.push(one);
    else {
      const [from, to] = one as [number, number];
      if (!(from <= to))
        throw new InvalidSchemaError(`${where}: "reserved ${from} to ${to}" is no range`);
      ranges.push([from, to]);
    }
  }
  return { ranges, names };
}
