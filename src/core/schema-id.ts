import { SchemaNotRegisteredError } from './errors/input-errors.ts';

/**
 * Schema of a type's events as this process writes them, with its id and version in the registry.
 */
export interface LocalSchema {
  readonly id: number;
  readonly version: number;
  /**
   * Number of times that the registry has lost it. Version numbers of its type from before a loss
   * mean nothing afterwards. Absent: 0.
   */
  readonly lost?: number;
  /** Reasons for which events of the type are not written any more. Absent: they are written. */
  readonly refused?: readonly string[];
}

/**
 * Returns the schema id to stamp on an event; 0 for a type without a schema.
 * @throws SchemaNotRegisteredError: the registry was lost, and refuses the schema now
 */
export function schemaIdOf(
  schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>,
  type: string,
): number {
  const schema = schemas.get(type);
  if (schema === undefined) return 0;
  if (schema.refused)
    throw new SchemaNotRegisteredError(schema.refused, `event "${type}" was not written`);
  return schema.id;
}
