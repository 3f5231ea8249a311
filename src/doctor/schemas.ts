/** Compares the schemas under proto/ with the registry. Registers nothing. */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { describeFindings } from '../registry/schema-errors.ts';
import type { SchemaRegistry } from '../registry/registry.ts';
import type { Catalog } from '../wire/catalog.ts';
import { someOf, type Diagnosis } from './diagnosis.ts';

/** Most types that are compared. Each takes two round trips. */
const MOST_TYPES = 500;

export interface SchemaFacts {
  readonly type: string;
  /** `new`: compatible, and not registered. `refused`: the registry would refuse it. */
  readonly state: 'registered' | 'new' | 'refused';
  readonly level: string;
  /** Reasons of a refusal. */
  readonly findings: readonly string[];
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readSchemas(
  registry: SchemaRegistry,
  catalog: Catalog,
): Promise<SchemaFacts[]> {
  const found: SchemaFacts[] = [];
  for (const subject of [...catalog.types.keys()].slice(0, MOST_TYPES)) {
    const draft = { subject, files: catalog.filesOf(subject) };
    try {
      if (await registry.find(draft)) {
        found.push({ type: subject, state: 'registered', level: '', findings: [] });
        continue;
      }
      const { compatible, level, findings } = await registry.check(draft);
      const state = compatible ? 'new' : 'refused';
      found.push({ type: subject, state, level, findings: describeFindings(findings) });
    } catch (error) {
      // A schema or a record that cannot be read costs its own type only.
      if (!(error instanceof MillraceError) || error.retryable) throw error;
      found.push({ type: subject, state: 'refused', level: '', findings: [error.message] });
    }
  }
  return found;
}

/** @param mode MILLRACE_MODE */
export function judgeSchemas(facts: readonly SchemaFacts[], mode: string): Diagnosis[] {
  const fresh = facts.filter(({ state }) => state === 'new').map(({ type }) => type);
  const found: Diagnosis[] = facts
    .filter(({ state }) => state === 'refused')
    .map(({ type, level, findings }) => ({
      code: 'schema-incompatible',
      severity: 'error',
      about: type,
      problem: `The schema under proto/ contradicts the registered versions${level === '' ? '' : ` (level ${level})`}: no process starts with it`,
      evidence: someOf(
        findings.map((line) => line.trim()),
        2,
      ),
      cure: 'Change the schema as the findings say',
      command: `millrace schema check ${type}`,
    }));
  if (fresh.length > 0)
    found.push({
      code: 'schema-unregistered',
      severity: mode === 'production' ? 'error' : 'info',
      about: someOf(fresh),
      problem:
        mode === 'production'
          ? 'Schemas under proto/ are not registered, and MILLRACE_MODE is production: no process starts'
          : 'Schemas under proto/ are not registered yet. The first start registers them',
      evidence: `${fresh.length} of ${facts.length} event types: ${someOf(fresh)}`,
      cure: 'Register them',
      command: 'millrace schema register',
    });
  return found;
}
