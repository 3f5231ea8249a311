/** `millrace audit`: the changes that operators made. Reads only. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { AUDIT_RECORDS } from '../../audit/make-audited.ts';
import { readAudit, type AuditedChange } from '../../audit/read-audit.ts';
import type { CliContext } from '../context.ts';
import { formatCount, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';

interface AuditFlags {
  readonly limit: number;
  readonly payload?: boolean;
  readonly json?: boolean;
}

export function registerAudit(program: Command, context: CliContext): void {
  program
    .command('audit')
    .description('show the changes that operators made, with the state before and after')
    .option('--limit <n>', 'show at most this many, the newest', wholeNumber(1, AUDIT_RECORDS), 50)
    .option(
      '--payload',
      'with --json: also data of payloads that edits have changed; it may be confidential',
    )
    .option('--json', 'print one JSON object a line, with arguments, before and after')
    .addHelpText(
      'after',
      `
  done    the change was made
  failed  the change failed; the error is shown
  open    the change is being made, or its process died before its end was recorded

A change is recorded before it begins, and again when it ends. Without the first record it is not
made. The log keeps the last ${formatCount(AUDIT_RECORDS)} records, for all partitions together.
MILLRACE_ACTOR names the person or program behind a command. By default that is user@host.

Examples:
  millrace audit --limit 10
  millrace audit --json | jq 'select(.outcome != "done")'`,
    )
    .action((flags: AuditFlags) => audit(flags, context));
}

async function audit(flags: AuditFlags, context: CliContext): Promise<void> {
  const newest = await readAudit(await context.open({ protoDir: null, anew: true }), flags.limit);
  const changes = newest.reverse();
  if (flags.json) {
    for (const { atMs, endedMs, data, ...change } of changes)
      context.out(
        safeJson({
          at: isoTime(atMs),
          ended: endedMs === null ? null : isoTime(endedMs),
          ...change,
          ...(flags.payload ? { data } : {}),
        }),
      );
    return;
  }
  if (changes.length === 0) {
    context.err('millrace: no change is recorded');
    return;
  }
  context.out(
    table(
      ['at', 'who', 'action', 'target', 'outcome', 'change'].map((title) => ({ title })),
      changes.map((change) => [
        isoTime(change.atMs) ?? '-',
        printable(change.who, 40),
        printable(change.action, 40),
        printable(change.target, 60),
        change.outcome,
        printable(change.error ?? stateOf(change), 100),
      ]),
    ),
  );
}

/** Returns the states before and after, as far as they are recorded. */
function stateOf({ before, after }: AuditedChange): string {
  const text = (value: unknown): string => (value === null ? '' : JSON.stringify(value));
  return [text(before), text(after)].filter((part) => part !== '').join(' → ');
}
