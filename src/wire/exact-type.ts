/**
 * Payloads for people and for expressions. The data has the shape that handlers see, but 64-bit
 * integers beyond 2^53 are bigints. The typed data tells integers from doubles, and set fields from
 * unset ones.
 */
import protobuf from 'protobufjs';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { Catalog } from './catalog.ts';
import { ExactReader } from './exact-reader.ts';
import { INTEGERS, keyTypeOf } from './fields.ts';
import { compileReader, type MessageReader } from './message-reader.ts';

export interface ExactType {
  /** Full name of the message, e.g. `shop.v1.OrderCreated`. */
  readonly messageName: string;
  /**
   * Decodes a payload into plain data, in the form of the generated types. 64-bit fields are
   * numbers, or bigints beyond 2^53.
   * @throws CorruptDataError('decode')
   */
  decodeAt(bytes: Buffer, start: number, end: number): Record<string, unknown>;
  /**
   * Returns the data that `decodeAt` has returned in its typed form:
   * - a message is a Map without its unset fields, a map is a Map with keys of their type
   * - an integer is a bigint, a double is a number, an enum's value is its name
   * - a Timestamp is a Date, to the millisecond
   * - a wrapper is its value, a Struct is free data
   */
  typed(data: Record<string, unknown>): ReadonlyMap<string, unknown>;
}

/** Forms that the language of the expressions has classes for. */
export interface TypedForms {
  duration(seconds: bigint, nanos: number): unknown;
  /** @param value 2^63 or more */
  unsigned(value: bigint): unknown;
}

/** Decoding is synchronous and never nested: one reader serves all types. */
const reader = new ExactReader();

/** @throws CorruptDataError('missing') where the catalog has no such message */
export function exactType(catalog: Catalog, messageName: string, forms: TypedForms): ExactType {
  let message: protobuf.Type;
  try {
    message = catalog.root.lookupType(messageName);
  } catch (error) {
    throw new CorruptDataError('missing', `the schema has no message ${messageName}`, {
      cause: error,
    });
  }
  // Compiled at first use: most expressions need few of the types.
  let read: MessageReader | null = null;
  let typed: Form | null = null;
  return {
    messageName,
    decodeAt(bytes, start, end) {
      read ??= compileReader(message);
      try {
        return read(reader.over(bytes, start, end), end, null, 0, 0);
      } catch (error) {
        throw new CorruptDataError(
          'decode',
          `${end - start} bytes are no ${messageName}: ${(error as Error).message}`,
          { cause: error },
        );
      }
    },
    typed(data) {
      typed ??= new TypedWalkers(forms).plain(message);
      return typed(data) as ReadonlyMap<string, unknown>;
    },
  };
}

/** Returns the typed form of a value that is set. */
type Form = (value: unknown) => unknown;

const MOST_SIGNED = 2n ** 63n - 1n;

class TypedWalkers {
  readonly #forms: TypedForms;
  readonly #plain = new Map<protobuf.Type, Form>();

  constructor(forms: TypedForms) {
    this.#forms = forms;
  }

  /** Returns the form of a message as a Map of its set fields. */
  plain(message: protobuf.Type): Form {
    const known = this.#plain.get(message);
    if (known) return known;
    const fields: [name: string, form: Form][] = [];
    const form: Form = (data) => {
      const set = new Map<string, unknown>();
      for (const [name, formOf] of fields) {
        const value = (data as Record<string, unknown>)[name];
        if (value !== null && value !== undefined) set.set(name, formOf(value));
      }
      return set;
    };
    // The form is registered before its fields: a message may refer to itself.
    this.#plain.set(message, form);
    for (const field of message.fieldsArray)
      fields.push([field.name, this.#field(field.resolve())]);
    return form;
  }

  #field(field: protobuf.Field): Form {
    const one = this.#value(field);
    if (field.map) {
      const keyOf = keyForm(keyTypeOf(field));
      return (value) =>
        new Map(Object.entries(value as object).map(([key, each]) => [keyOf(key), one(each)]));
    }
    if (field.repeated) return (value) => (value as unknown[]).map((each) => one(each));
    return one;
  }

  #value({ type, resolvedType }: protobuf.Field): Form {
    if (resolvedType instanceof protobuf.Type) return this.#message(resolvedType);
    if (resolvedType instanceof protobuf.Enum) return enumForm(resolvedType);
    if (!(type in INTEGERS)) return (value) => value;
    if (type !== 'uint64' && type !== 'fixed64') return (value) => BigInt(value as number | bigint);
    return (value) => {
      const exact = BigInt(value as number | bigint);
      return exact > MOST_SIGNED ? this.#forms.unsigned(exact) : exact;
    };
  }

  /** Returns the form of a message's value. Well-known types have forms of their own. */
  #message(message: protobuf.Type): Form {
    const plain = this.plain(message);
    const fieldsOf = (value: unknown): Map<string, unknown> => plain(value) as Map<string, unknown>;
    const name = message.fullName.slice(1);
    switch (name) {
      case 'google.protobuf.Timestamp':
        return (value) => {
          const { seconds, nanos } = spanOf(fieldsOf(value));
          return new Date(Number(seconds) * 1000 + Math.floor(nanos / 1_000_000));
        };
      case 'google.protobuf.Duration':
        return (value) => {
          const { seconds, nanos } = spanOf(fieldsOf(value));
          return this.#forms.duration(seconds, nanos);
        };
      case 'google.protobuf.Struct':
        return (value) => fieldsOf(value).get('fields') ?? new Map();
      case 'google.protobuf.ListValue':
        return (value) => fieldsOf(value).get('values') ?? [];
      case 'google.protobuf.Value':
        return (value) => {
          const fields = fieldsOf(value);
          return fields.has('nullValue') ? null : (fields.values().next().value ?? null);
        };
      default:
        return WRAPPER.test(name) ? (value) => fieldsOf(value).get('value') ?? null : plain;
    }
  }
}

const WRAPPER = /^google\.protobuf\.(?:Double|Float|U?Int(?:32|64)|Bool|String|Bytes)Value$/;

function spanOf(fields: ReadonlyMap<string, unknown>): { seconds: bigint; nanos: number } {
  return {
    seconds: BigInt((fields.get('seconds') ?? 0n) as bigint),
    nanos: Number(fields.get('nanos') ?? 0),
  };
}

/** Names of an enum's values. A number without a name stays an integer. */
function enumForm({ values }: protobuf.Enum): Form {
  const names = new Map<number, string>();
  for (const [name, number] of Object.entries(values))
    if (!names.has(number)) names.set(number, name);
  return (value) => names.get(value as number) ?? BigInt(value as number);
}

/** Keys of data are texts, whatever the map's key type. */
function keyForm(type: string): (key: string) => unknown {
  if (type === 'string') return (key) => key;
  return type === 'bool' ? (key) => key === 'true' : (key) => BigInt(key);
}
