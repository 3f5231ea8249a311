/** `millrace doctor`: names the causes of trouble, with evidence and cure. Reads only. */
import type { Command } from 'commander';
import type { Environment } from '../../config.ts';
import type { UnfitProblem } from '../../deployment.ts';
import { bySeverity, type Diagnosis, type Severity } from '../../doctor/diagnosis.ts';
import { examine } from '../../doctor/doctor.ts';
import { judgeUnopened } from '../../doctor/unopened.ts';
import type { LongRunningContext } from '../context.ts';
import { plural } from '../options.ts';
import { printable, safeJson } from '../printable.ts';

/** Longest text of a finding that is printed. */
const MOST_CHARACTERS = 600;

export function registerDoctor(program: Command, context: LongRunningContext): void {
  program
    .command('doctor')
    .description('look at the server and the deployment, and name causes of trouble with the cure')
    .option('--json', 'print one JSON object, with all findings')
    .addHelpText(
      'after',
      `
  error    events are lost or do not move, or no process starts
  warning  this will happen, or data may be lost
  info     a fact, or something that could not be found out ("unknown")

Each finding has a stable code, evidence and a cure. A line that begins with "$" is a command for
bash: the cure, or its first step. "$ADMIN_REDIS_URL" in it stands for the URL of an administrator.
The command only reads, and its work in Redis does not grow with the number of events.
It works where INFO, CONFIG and ACL are denied. Findings that need them then say "unknown".
Exit status 1: there is an error. 0: there is none.

Examples:
  millrace doctor
  millrace doctor --json | jq -r '.findings[] | select(.severity == "error") | .code'`,
    )
    .action((flags: { readonly json?: boolean }) => doctor(flags, context));
}

async function doctor(
  flags: { readonly json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const findings = await findAll(context);
  const count = (severity: Severity): number =>
    findings.filter((one) => one.severity === severity).length;
  const [errors, warnings] = [count('error'), count('warning')];
  if (errors > 0) context.fail();
  if (flags.json) {
    context.out(safeJson({ ok: errors === 0, errors, warnings, findings }));
    return;
  }
  context.out(findings.map(describe).join('\n'));
  context.err(`millrace: ${plural(errors, 'error')}, ${plural(warnings, 'warning')}`);
}

async function findAll(context: LongRunningContext): Promise<Diagnosis[]> {
  const refusals: UnfitProblem[] = [];
  try {
    const deployment = await context.open({
      anew: true,
      unfit: (problem) => refusals.push(problem),
      // The findings tell the same, with the cure.
      log: () => {},
    });
    return await examine(deployment, refusals);
  } catch (error) {
    return bySeverity(judgeUnopened(error, environmentOf(context)));
  }
}

function environmentOf(context: LongRunningContext): Partial<Environment> {
  try {
    return context.environment();
  } catch {
    // The settings themselves are wrong, and nobody knows what was meant.
    return {};
  }
}

function describe(finding: Diagnosis): string {
  const { severity, code, about, problem, evidence, cure, command } = finding;
  const head = `${severity.padEnd(8)} ${code}${about === null ? '' : `  ${text(about)}`}`;
  if (cure === null) return `${head}: ${text(evidence)}`;
  return [
    head,
    text(problem),
    text(evidence),
    text(cure),
    // Half a command is none.
    ...(command === null ? [] : [`$ ${printable(command, 10_000)}`]),
  ].join('\n         ');
}

function text(of: string): string {
  return printable(of, MOST_CHARACTERS);
}
