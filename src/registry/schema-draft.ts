/** A schema that is offered to the registry. */
import { createHash } from 'node:crypto';
import type { ProtoSource } from '../wire/proto-folder.ts';
import type { SchemaReference } from './stored-records.ts';

export interface SchemaDraft {
  readonly subject: string;
  /** The file itself first, then all its imports. */
  readonly files: readonly ProtoSource[];
  readonly references?: readonly SchemaReference[];
}

/** Returns the hash by which the same text is found without being parsed. */
export function textHash(
  subject: string,
  files: readonly ProtoSource[],
  references: readonly SchemaReference[] = [],
): string {
  const parts = [
    subject,
    files.map(({ name, text }) => [name, text]),
    ...(references.length > 0 ? [references] : []),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
