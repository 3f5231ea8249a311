/** `millrace schema deploy-check`: whether the functions can read every retained event. */
import type { Command } from 'commander';
import { describeFunctions } from '../../pipeline/run/describe-functions.ts';
import { deployCheck, type DeployReport } from '../../registry/deploy-check.ts';
import type { LongRunningContext } from '../context.ts';
import { findingLines } from '../findings.ts';
import { formatCount } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { ownFiles } from './start.ts';

interface Flags {
  readonly proto: string;
  readonly json?: boolean;
}

export function registerDeployCheck(schema: Command, context: LongRunningContext): void {
  schema
    .command('deploy-check')
    .description(
      'list the schema versions of all retained events; fail if a function cannot read one',
    )
    .argument('[dir]', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that the functions read with', './proto')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
The check reads every event of the functions' types: in the streams, in the retries and in the dead
letters. A rewind delivers old events again, and a replay delivers dead ones again.
Nothing is changed. Exit status 1 if a function cannot read an event.

Example:
  millrace schema deploy-check ./workers --proto ./proto`,
    )
    .action((dir: string, flags: Flags) => run(dir, flags, context));
}

async function run(dir: string, flags: Flags, context: LongRunningContext): Promise<void> {
  const deployment = await context.open({ protoDir: flags.proto, anew: true });
  const functions = await describeFunctions({
    ...deployment,
    functionsDir: dir,
    skipFiles: ownFiles(dir),
  });
  const report = await deployCheck(
    deployment,
    deployment.catalog,
    functions.map((fn) => fn.spec),
    (events) => {
      if (process.stderr.isTTY) context.err(`millrace: ${formatCount(events)} events so far`);
    },
  );
  if (report.unreadableBy.length > 0) context.fail();
  if (flags.json) context.out(safeJson(asJson(report)));
  else print(report, context);
}

function asJson(report: DeployReport): unknown {
  return {
    ok: report.unreadableBy.length === 0,
    schemas: report.schemas.map(({ type, schema, streams, parked, dead }) => ({
      type,
      schema,
      version: versionOf(report, type, schema),
      streams,
      parked,
      dead,
    })),
    unreadable: report.unreadable,
    refused: report.unreadableBy,
  };
}

function versionOf(report: DeployReport, type: string, schema: number): number | null {
  return report.versions.get(schema)?.find((use) => use.subject === type)?.version ?? null;
}

function print(report: DeployReport, context: LongRunningContext): void {
  const columns = [
    { title: 'type' },
    { title: 'version', right: true },
    { title: 'schema', right: true },
    { title: 'in streams', right: true },
    { title: 'parked', right: true },
    { title: 'dead', right: true },
  ];
  const rows = report.schemas.map(({ type, schema, streams, parked, dead }) => [
    type,
    schema === 0 ? 'not stamped' : String(versionOf(report, type, schema) ?? 'unknown'),
    String(schema),
    formatCount(streams),
    formatCount(parked),
    formatCount(dead),
  ]);
  if (rows.length > 0) context.out(table(columns, rows));
  else context.err("millrace: there is no event of the functions' types");
  if (report.unreadable > 0)
    context.err(
      `millrace: ${formatCount(report.unreadable)} of the entries and letters could not be decoded: their events were not checked`,
    );
  for (const { function: fn, type, why, findings } of report.unreadableBy) {
    context.out(`${printable(fn)} cannot read ${printable(type)}: ${printable(why, 500)}`);
    for (const finding of findings) context.out(findingLines(finding));
  }
  if (report.unreadableBy.length === 0)
    context.out('every function can read every event that is there');
}
