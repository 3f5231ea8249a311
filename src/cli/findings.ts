/** Findings of the compatibility check, for people. */
import type { Finding } from '../registry/schema-tools.ts';
import { printable } from './printable.ts';

export function findingLines(finding: Finding, prefix = ''): string {
  return [
    `  ${prefix}${finding.rule} at ${printable(finding.path)}: ${printable(finding.what, 500)}`,
    ...(finding.writer === '' && finding.reader === ''
      ? []
      : [
          `      written as ${printable(finding.writer) || 'nothing'}, read as ${printable(finding.reader) || 'nothing'}`,
        ]),
    `      ${printable(finding.cure, 500)}`,
  ].join('\n');
}
