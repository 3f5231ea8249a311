/**
 * A parsed schema as plain data: what a verdict needs, and nothing that could run. Names are fully
 * qualified, without a leading dot.
 */
export interface SchemaFile {
  /** As it is imported: `shop/v1/orders.proto`. */
  readonly name: string;
  readonly text: string;
}

export interface FieldModel {
  readonly number: number;
  /** As written in the .proto. */
  readonly name: string;
  /** Scalar type, or full name of a message or enum. */
  readonly type: string;
  readonly kind: 'scalar' | 'message' | 'enum';
  readonly repeated: boolean;
  /** Key type of a map, null where it is none. */
  readonly mapKey: string | null;
  /** Name of the oneof it is in (a proto3 `optional` is in none). */
  readonly oneof: string | null;
  /** A reader can tell unset from zero. */
  readonly presence: boolean;
  readonly required: boolean;
  /** proto2 default, as text; null without one. */
  readonly default: string | null;
  /** Where declared. */
  readonly jsonName: string | null;
}

/** Numbers in ranges, both ends included, and names. */
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
  /** Messages at the top of the first file, in its order. */
  readonly roots: readonly string[];
  /** Event type -> message that declares it. */
  readonly events: Readonly<Record<string, string>>;
  /** Extended message -> why schemas whose data carry it are refused. */
  readonly extended?: Readonly<Record<string, string>>;
  /** Hash of the canonical form of the schema's own file: canonical.ts. */
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
