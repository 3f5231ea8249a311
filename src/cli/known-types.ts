/** Event types that a command may name. A misspelt type must be an error, never an empty answer. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { UnknownEventTypeError } from '../core/errors/input-errors.ts';
import type { Deployment } from '../deployment.ts';
import { knownTypes, readPartitions } from '../redis/counters.ts';
import { createCatalog } from '../wire/catalog.ts';
import { loadProtoFolder } from '../wire/proto-folder.ts';

/**
 * Types of the deployment: published, consumed or dead-lettered there, or registered with a schema.
 */
export async function deployedTypes(deployment: Deployment): Promise<Set<string>> {
  const [states, subjects] = await Promise.all([
    readPartitions(deployment),
    deployment.registry.subjects(),
  ]);
  return new Set([...knownTypes(states), ...subjects]);
}

/**
 * Checks a type whose settings a command is about to change. Types of ./proto are known too,
 * because settings may come before the first event.
 * @throws UnknownEventTypeError with the nearest known type
 */
export async function requireKnownType(deployment: Deployment, type: string): Promise<void> {
  const known = await deployedTypes(deployment);
  if (known.has(type)) return;
  const declared = [...deployment.catalog.types.keys(), ...declaredTypes()];
  if (declared.includes(type)) return;
  throw new UnknownEventTypeError(type, [...new Set([...known, ...declared])].sort());
}

/** Types of ./proto. None if the folder is missing or has mistakes, which other commands report. */
function declaredTypes(): string[] {
  try {
    return existsSync('proto')
      ? [...createCatalog(loadProtoFolder(resolve('proto'))).types.keys()]
      : [];
  } catch {
    return [];
  }
}
