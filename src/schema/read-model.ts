/**
 * .proto text -> model. Runs in a throw-away thread (parse-thread.ts) for what strangers send;
 * nothing of it is compiled.
 */
import protobuf from 'protobufjs';
import { BUNDLED } from '../wire/bundled-protos.ts';
import { describeExtended, ProtoFiles } from '../wire/proto-files.ts';
import { canonicalHash } from './canonical.ts';
import { checkName, checkText, InvalidSchemaError, SCHEMA_LIMITS } from './limits.ts';
import type {
  EnumModel,
  FieldModel,
  MessageModel,
  ParsedSchema,
  Reserved,
  SchemaFile,
} from './model.ts';

/**
 * @param files the schema's own file first, then what it imports
 * @throws InvalidSchemaError naming file and line, or message and field
 */
export function readModel(files: readonly SchemaFile[]): ParsedSchema {
  checkText(files);
  const protos = new ProtoFiles(
    files.map((file) => file.name),
    true,
  );
  const { root } = protos;
  for (const { name, text } of files) {
    // Ours stand already, whoever sends a copy along.
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

  resolveFields(root);
  const messages: Record<string, MessageModel> = {};
  const enums: Record<string, EnumModel> = {};
  /** A type may have any name, also one that means something to objects. */
  const events = new Map<string, string>();
  const roots: string[] = [];
  /** Enums and services of the schema's own file: it may have no message. */
  let others = 0;
  let messageCount = 0;
  let members = 0;
  const count = (more: number): void => {
    members += more;
    if (members > SCHEMA_LIMITS.members)
      throw new InvalidSchemaError(
        `more than ${SCHEMA_LIMITS.members} fields, enum values and reservations`,
      );
  };
  const walk = (space: protobuf.NamespaceBase, top: boolean): void => {
    for (const nested of space.nestedArray) {
      const where = nested.fullName.slice(1);
      if (!(nested instanceof protobuf.Field)) checkName(nested.name, where);
      if (nested instanceof protobuf.Type) {
        if (++messageCount > SCHEMA_LIMITS.messages)
          throw new InvalidSchemaError(`more than ${SCHEMA_LIMITS.messages} messages`);
        count(nested.fieldsArray.length + (nested.reserved?.length ?? 0));
        messages[where] = messageOf(nested, where);
        if (top && nested.filename === files[0]?.name) roots.push(where);
        const type = eventType(nested);
        if (type !== null) events.set(type, where);
        walk(nested, false);
      } else if (nested instanceof protobuf.Enum) {
        count(Object.keys(nested.values).length + (nested.reserved?.length ?? 0));
        enums[where] = enumOf(nested, where);
        if (nested.filename === files[0]?.name) others++;
      } else if (nested instanceof protobuf.Service) others++;
      else if (nested instanceof protobuf.Namespace) walk(nested, top);
    }
  };
  walk(root, true);
  if (
    roots.length === 0 &&
    others === 0 &&
    !protos.extensions.some(({ file }) => file === files[0]?.name)
  ) {
    throw new InvalidSchemaError(`${files[0]?.name ?? 'it'} declares no message`);
  }
  return {
    messages,
    enums,
    roots,
    events: Object.fromEntries(events),
    extended: extendedIn(protos),
    text: canonicalHash(files[0]?.text ?? ''),
  };
}

/** Message -> why data that carries it is not supported. */
function extendedIn(protos: ProtoFiles): Record<string, string> {
  for (const { file, line, of } of protos.dangling()) {
    throw new InvalidSchemaError(`${file}, line ${line}: it extends ${of}, which is no message`);
  }
  return Object.fromEntries(
    protos.extended().map((extended) => [extended.of, describeExtended(extended)]),
  );
}

/** Finds the types of all fields, then what their syntax makes of them (required, presence). */
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

/** proto2 | proto3 | an edition, as protobufjs has worked it out for this object. */
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
      // (hasPresence is the oneof itself where it is in one)
      presence:
        !field.repeated &&
        !field.map &&
        (kind === 'message' || oneof !== null || Boolean(field.hasPresence)),
      required: field.required,
      default: field.options?.['default'] === undefined ? null : String(field.options['default']),
      jsonName:
        typeof field.options?.['json_name'] === 'string' ? field.options['json_name'] : null,
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
