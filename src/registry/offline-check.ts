/**
 * Checks the schemas of one state of the source against those of another. It needs no registry: for
 * CI.
 */
import type { Catalog } from '../wire/catalog.ts';
import { judge, prepareSchema, type Finding, type Level } from './schema-tools.ts';

export interface OfflineResult {
  readonly type: string;
  readonly compatible: boolean;
  readonly level: Level;
  readonly findings: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/**
 * Judges each type. A type that is new has no findings. A type that is gone is a finding, because
 * its events may still be there.
 * @throws InvalidSchemaError for text that is not accepted
 */
export async function checkOffline(
  now: Catalog,
  before: Catalog,
  level: Level,
  types: readonly string[],
): Promise<OfflineResult[]> {
  const results: OfflineResult[] = [];
  for (const type of types) {
    const old = before.types.get(type);
    const fresh = now.types.get(type);
    let findings: readonly Finding[] = [];
    let warnings: readonly Finding[] = [];
    let compatible = true;
    if (fresh) {
      const candidate = await prepareSchema(type, now.filesOf(type));
      if (old && level !== 'NONE')
        ({ compatible, findings, warnings } = await judge(level, candidate, [
          await prepareSchema(type, before.filesOf(type)),
        ]));
    } else if (old && level !== 'NONE') {
      compatible = false;
      findings = [
        {
          rule: 'EVENT_TYPE_REMOVED',
          path: old.messageName,
          reader: '',
          writer: type,
          what: `no message declares the event type "${type}" any more: its events could not be read`,
          cure: `Keep the message until millrace schema deploy-check finds no event of "${type}"`,
          breaks: 'both',
        },
      ];
    }
    results.push({ type, compatible, level, findings, warnings });
  }
  return results;
}
