/** The schema that events of a type are written with, as the registry has it. */
export interface LocalSchema {
  readonly id: number;
  readonly version: number;
  /** Why events of the type are not written any more: nobody could read them. */
  readonly refused?: Error;
}

/**
 * The id to stamp on an event; 0 for a type without one.
 * @throws the reason where the registry was lost and refuses the schema now
 *   (SchemaNotRegisteredError)
 */
export function schemaIdOf(
  schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>,
  type: string,
): number {
  const schema = schemas.get(type);
  if (schema === undefined) return 0;
  if (schema.refused) throw schema.refused;
  return schema.id;
}
