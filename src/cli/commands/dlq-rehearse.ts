/** `millrace dlq rehearse`: runs the events of dead letters, and writes nothing to Redis. */
import type { OutputPiece } from '../../core/thread-protocol.ts';
import type { Deployment } from '../../deployment.ts';
import { Rehearsals, type Rehearsal, type RehearsalOutcome } from '../../mend/rehearse.ts';
import {
  DeadLetterNotFoundError,
  getDeadLetter,
  listDeadLetters,
} from '../../pipeline/dead/dead-letters.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { duration, printable, printableLines, safeJson } from '../printable.ts';
import { differenceLines } from './dlq-differences.ts';
import { checkScope, missing, type ChangeFlags } from './dlq-change.ts';
import { checkIds, filterOf } from './dlq-filter.ts';
import { ownFiles } from './start.ts';

export interface RehearseFlags extends ChangeFlags {
  readonly dir: string;
  readonly proto: string;
  readonly externalEffectsHappen?: boolean;
}

/** Letters that are rehearsed without ids and --limit. */
const DEFAULT_LIMIT = 10;

export async function rehearse(
  ids: readonly string[],
  flags: RehearseFlags,
  context: LongRunningContext,
): Promise<void> {
  checkScope(ids, flags);
  const deployment = await context.open({ protoDir: flags.proto });
  checkIds(ids, deployment.partitions);
  const chosen = await choose(ids, flags, deployment);
  const letters = [...chosen.values()].reduce((sum, one) => sum + one.length, 0);
  const what = `${plural(letters, 'event')} of dead letters (${[...chosen].map(([fn, { length }]) => `${fn}: ${length}`).join(', ') || 'none'})`;
  if (letters > 0 && !flags.externalEffectsHappen && !flags.yes)
    throw new UsageError(
      `a rehearsal would run ${what} through the functions of ${flags.dir}. Effects of the handlers outside Millrace (HTTP, other databases, files) are NOT caught: they happen. Add --external-effects-happen to run them`,
    );
  const counts: Record<RehearsalOutcome, number> = { done: 0, failed: 0, waits: 0, 'not-run': 0 };
  let outside = 0;
  if (letters > 0)
    outside = await audited(deployment, {
      action: 'dlq rehearse',
      target: [...chosen.keys()].join(' '),
      wanted: { ids, letters, dir: flags.dir },
      make: () => runAll([...chosen.values()].flat(), flags, { deployment, context, counts }),
      after: () => counts,
    });
  if (!flags.json)
    context.out(
      `${plural(letters, 'event')} rehearsed: ${counts.done} done, ${counts.failed} failed, ${counts.waits} waiting, ${counts['not-run']} not run. Nothing was written to Redis`,
    );
  if (outside > 0)
    context.err(
      `millrace: effects of ${plural(outside, 'handler run')} outside Millrace (HTTP, other databases, files) were not caught: they have happened`,
    );
  missing(ids, letters, flags, context);
  if (counts.done < letters) context.fail();
}

/** Returns the ids of the chosen letters, by function. */
async function choose(
  ids: readonly string[],
  flags: RehearseFlags,
  deployment: Deployment,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const out = new Map<string, string[]>();
  const limit = flags.limit ?? (ids.length > 0 ? ids.length : DEFAULT_LIMIT);
  const filter = { ...filterOf(flags, ids), limit };
  for await (const { id, function: fn } of listDeadLetters(deployment, filter)) {
    const known = out.get(fn);
    if (known) known.push(id);
    else out.set(fn, [id]);
  }
  return out;
}

interface Run {
  readonly deployment: Deployment;
  readonly context: LongRunningContext;
  readonly counts: Record<RehearsalOutcome, number>;
}

/** @returns number of events whose handlers may have had effects outside */
async function runAll(
  ids: readonly string[],
  flags: RehearseFlags,
  { deployment, context, counts }: Run,
): Promise<number> {
  const stop = context.takeStop();
  const rehearsals = await Rehearsals.open({
    deployment,
    functionsDir: flags.dir,
    skipFiles: ownFiles(flags.dir),
    signal: stop.first,
  });
  let outside = 0;
  try {
    for (const id of ids) {
      if (stop.first.aborted) throw new Error('interrupted: the other events were not rehearsed');
      const letter = await getDeadLetter(deployment, id).catch((error: unknown) => {
        if (error instanceof DeadLetterNotFoundError) return null;
        throw error;
      });
      if (letter === null) {
        context.err(`millrace: dead letter ${id} is gone meanwhile`);
        continue;
      }
      const rehearsal = await rehearsals.run(letter);
      counts[rehearsal.outcome]++;
      if (rehearsal.externalEffects === 'happened') outside++;
      if (flags.json) context.out(safeJson(rehearsal));
      else for (const line of linesOf(rehearsal)) context.out(line);
    }
  } finally {
    await rehearsals.close();
  }
  return outside;
}

function linesOf(rehearsal: Rehearsal): readonly string[] {
  const { letter, eventId, type, outcome, problem, failure, rows, emitted } = rehearsal;
  const ran =
    rehearsal.function === null
      ? ''
      : ` by ${rehearsal.function} (${printable(rehearsal.version ?? '', 12)}) in ${duration(rehearsal.durationMs)}`;
  const lines = [`${letter} ${printable(type)} ${printable(eventId)}: ${outcome}${ran}`];
  if (problem !== null) lines.push(`  ${printable(problem, 500)}`);
  if (failure) {
    const { name, message, stack } = failure.error;
    const known =
      failure.asBefore === null ? '' : failure.asBefore ? ', as before' : ', another fault';
    lines.push(`  ${failure.reason}${known}: ${printable(name)}: ${printable(message, 500)}`);
    if (stack !== '') lines.push(printableLines(stack, 6).replace(/^/gm, '    '));
  }
  for (const { id, differences, eventsBefore, eventsAfter } of rows ?? []) {
    lines.push(`  row ${printable(id)} (${eventsBefore} -> ${eventsAfter} events):`);
    lines.push(...differenceLines(differences).map((line) => `  ${line}`));
  }
  for (const one of emitted)
    lines.push(
      `  emits ${printable(one.type)} for ${printable(one.subject)}: ${one.problem === undefined ? printable(safeJson(one.data), 300) : `(${printable(one.problem)})`}`,
    );
  lines.push(...rehearsal.output.map((piece) => `  ${piece.from}: ${outputText(piece)}`));
  if (rehearsal.outputLeftOut > 0)
    lines.push(`  … and ${plural(rehearsal.outputLeftOut, 'more piece')} of output`);
  return lines;
}

function outputText({ text }: OutputPiece): string {
  return printable(text, 300);
}
