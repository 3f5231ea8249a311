/**
 * A parsed schema as plain data. It holds all that a verdict needs, and nothing that could run.
 * Names are fully qualified, without a leading dot.
 */
export interface SchemaFile {
  /** The path that imports use, such as `shop/v1/orders.proto`. */
  readonly name: string;
  readonly text: string;
}

export interface FieldModel {
  readonly number: number;
  /** The name as the .proto has it. */
  readonly name: string;
  /** Scalar type, or full name of a message or enum. */
  readonly type: string;
  readonly kind: 'scalar' | 'message' | 'enum';
  readonly repeated: boolean;
  /** Type of a map's key; null: the field is no map. */
  readonly mapKey: string | null;
  /** Name of the field's oneof; null: none. A proto3 `optional` is in none. */
  readonly oneof: string | null;
  /** Whether a reader can tell unset from zero. */
  readonly presence: boolean;
  readonly required: boolean;
  /** proto2 default, as text; null without one. */
  readonly default: string | null;
  /** The JSON name, if it is declared. */
  readonly jsonName: string | null;
  /** Present where the field is masked. Absent elsewhere, so that older fingerprints stay. */
  readonly masked?: true;
}

/** Reserved ranges of numbers, both ends included, and reserved names. */
export interface Reserved {
  readonly ranges: readonly (readonly [number, number])[];
  readonly names: readonly string[];
}

export interface MessageModel {
  readonly syntax: string;
  readonly fields: readonly FieldModel[];
  readonly reserved: Reserved;
}

export interface EnumModel {
  readonly syntax: string;
  readonly values: readonly (readonly [name: string, number: number])[];
  readonly reserved: Reserved;
}

export interface ParsedSchema {
  readonly messages: Readonly<Record<string, MessageModel>>;
  readonly enums: Readonly<Record<string, EnumModel>>;
  /** Top-level messages of the first file, in its order. */
  readonly roots: readonly string[];
  /** From each event type to the message that declares it. */
  readonly events: Readonly<Record<string, string>>;
  /** From each extended message to the reason why schemas with it are refused. */
  readonly extended?: Readonly<Record<string, string>>;
  /** Hash of the canonical form of the schema's own file, see canonical.ts. */
  readonly text?: string;
}

export const LEVELS = [
  'NONE',
  'BACKWARD',
  'BACKWARD_TRANSITIVE',
  'FORWARD',
  'FORWARD_TRANSITIVE',
  'FULL',
  'FULL_TRANSITIVE',
] as const;
export type Level = (typeof LEVELS)[number];
