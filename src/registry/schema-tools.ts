/** TEMPORARY until src/schema is there. */
import { createHash } from 'node:crypto';
import { MillraceError } from '../core/errors.ts';
import { createCatalog, type ProtoSource } from '../wire/catalog.ts';
export interface Finding { readonly rule: string; readonly path: string; readonly reader: string; readonly writer: string; readonly what: string; readonly cure: string }
export const LEVELS = ['NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE'] as const;
export type Level = (typeof LEVELS)[number];
export class InvalidSchemaError extends MillraceError {
  readonly code = 'INVALID_SCHEMA';
}
export interface PreparedSchema { readonly message: string; readonly fingerprint: string; readonly parsed: unknown }
export function prepareSchema(subject: string, files: readonly ProtoSource[]): Promise<PreparedSchema> {
  try {
    const catalog = createCatalog(files);
    const first = /message\s+(\w+)/.exec(files[0]?.text ?? '')?.[1] ?? '';
    const pkg = /package\s+([\w.]+)/.exec(files[0]?.text ?? '')?.[1] ?? '';
    const message = catalog.types.get(subject)?.messageName ?? `${pkg}.${first}`;
    const text = files.map((f) => f.text.replace(/\/\/.*$/gm, '').replace(/\s+/g, ' ')).join('\n');
    return Promise.resolve({ message, parsed: text, fingerprint: createHash('sha256').update(message + text).digest('hex') });
  } catch (error) {
    throw new InvalidSchemaError((error as Error).message, { cause: error });
  }
}
export function judge(_level: Level, candidate: PreparedSchema, previous: readonly PreparedSchema[]): { compatible: boolean; findings: Finding[] } {
  const fields = (p: PreparedSchema) => new Map([...(p.parsed as string).matchAll(/(\w+) (\w+) = (\d+);/g)].map((m) => [m[3], `${m[1]} ${m[2]}`]));
  const mine = fields(candidate);
  const findings: Finding[] = [];
  for (const p of previous) for (const [n, f] of fields(p)) if (mine.get(n) !== f) findings.push({ rule: 'FIELD_CHANGED', path: `${candidate.message}.${n}`, reader: mine.get(n) ?? 'absent', writer: f, what: `was ${f}`, cure: 'put it back' });
  return { compatible: findings.length === 0, findings };
}
