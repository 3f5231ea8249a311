/** `millrace dlq replay`: at a chosen pace, first a canary, until too many fail. */
import { InvalidArgumentError, type Command } from 'commander';
import { monotonicMs } from '../../core/clock.ts';
import type { Deployment } from '../../deployment.ts';
import type { ReplayEnd, ReplayPace, ReplayRunState } from '../../mend/replay-state.ts';
import { ReplayRun } from '../../mend/replay-run.ts';
import { listDeadLetters, type DeadLetter } from '../../pipeline/dead/dead-letters.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { formatCount, plural, timeSpan, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import {
  letterChangeOf,
  checkScope,
  missing,
  PROGRESS_LETTERS,
  type ChangeFlags,
} from './dlq-change.ts';
import { checkIds, filterOf } from './dlq-filter.ts';

export interface ReplayFlags extends ChangeFlags {
  readonly canary?: number;
  readonly rate?: number;
  /** 0 to 1 */
  readonly stopAt?: number;
  /** ms */
  readonly within?: number;
  readonly resume?: string;
}

/** Time between two lines of progress, ms. */
const PROGRESS_MS = 5000;
/** Letters that a dry run shows. */
const SAMPLE = 5;

export function paced(command: Command): Command {
  return command
    .option(
      '--canary <n>',
      'replay this many first, and the others only once all of them are done',
      wholeNumber(1, 1000),
    )
    .option('--rate <n/s>', 'replay at most so many a second, such as 20/s', perSecond)
    .option('--stop-at <share>', 'stop once more than this share has failed, such as 5%', share)
    .option(
      '--within <time>',
      'time for the canary, and for the last events, to have outcomes; default 60s',
      timeSpan(1000, 'at least 1s, such as 90s or 5m'),
    )
    .option('--resume <replay>', 'go on with a replay that was stopped or interrupted');
}

function perSecond(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text) ?? [];
  const rate = Number(number);
  if (!(rate > 0)) throw new InvalidArgumentError('It must be a number a second, such as 20/s.');
  return rate;
}

function share(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  const percent = Number(number);
  if (!(percent <= 100)) throw new InvalidArgumentError('It must be from 0% to 100%.');
  return percent / 100;
}

/** Replays the chosen letters, and prints the result. */
export async function replay(
  ids: readonly string[],
  flags: ReplayFlags,
  context: LongRunningContext,
): Promise<void> {
  checkReplay(ids, flags);
  const deployment = await context.open({ protoDir: null });
  checkIds(ids, deployment.partitions);
  if (flags.dryRun) await tryOut(ids, flags, deployment, context);
  else await replayPaced(ids, flags, deployment, context);
}

/** @throws UsageError */
function checkReplay(ids: readonly string[], flags: ReplayFlags): void {
  if (flags.resume === undefined) {
    checkScope(ids, flags);
    return;
  }
  const { function: fn, type, subject, reason, event, group, limit, all, dryRun } = flags;
  const more = [fn, type, subject, reason, event, group, limit, all, dryRun];
  if (ids.length > 0 || more.some((value) => value !== undefined))
    throw new UsageError(
      '--resume goes on with the letters of its beginning: give no ids, filters, --all or --dry-run',
    );
}

/** Counts the chosen letters, and shows some of them. Changes nothing. */
async function tryOut(
  ids: readonly string[],
  flags: ReplayFlags,
  deployment: Deployment,
  context: LongRunningContext,
): Promise<void> {
  const result = { replayed: 0, gone: 0, notReplayable: 0, dryRun: true };
  const sample: DeadLetter[] = [];
  let seen = 0;
  for await (const letter of listDeadLetters(deployment, filterOf(flags, ids))) {
    seen++;
    if (letter.kind === 'event') {
      result.replayed++;
      if (sample.length < SAMPLE) sample.push(letter);
    } else {
      result.notReplayable++;
      tellNotReplayable(letter, context);
    }
    if (seen % PROGRESS_LETTERS === 0) context.err(`millrace: ${plural(seen, 'letter')} so far`);
  }
  result.gone = missing(ids, seen, flags, context);
  if (flags.json) {
    const shown = sample.map(({ id, type, subject, error }) => ({
      id,
      type,
      subject,
      error: { name: error.name, message: error.message },
    }));
    context.out(safeJson({ ...result, sample: shown }));
  } else {
    context.out(resultLine(result, 'would be replayed'));
    if (sample.length > 0) context.out(sampleTable(sample));
  }
  failNotReplayable(result);
}

function sampleTable(sample: readonly DeadLetter[]): string {
  return table(
    [{ title: 'some of them' }, { title: 'type' }, { title: 'subject' }, { title: 'error' }],
    sample.map(({ id, type, subject, error }) => [
      id,
      type,
      subject,
      `${error.name}: ${error.message}`,
    ]),
  );
}

async function replayPaced(
  ids: readonly string[],
  flags: ReplayFlags,
  deployment: Deployment,
  context: LongRunningContext,
): Promise<void> {
  const run = await openRun(ids, flags, deployment);
  const stop = context.takeStop();
  let told = { letters: 0, atMs: monotonicMs() };
  // The id is told early: a process that dies tells nothing at its end.
  const progress = (state: ReplayRunState): void => {
    const letters = handledBy(state);
    const nowMs = monotonicMs();
    if (letters - told.letters < PROGRESS_LETTERS && nowMs - told.atMs < PROGRESS_MS) return;
    told = { letters, atMs: nowMs };
    context.err(
      `millrace: replay ${state.id}: ${plural(letters, 'letter')} so far${outcomesText(state)}`,
    );
  };
  const change = letterChangeOf('dlq replay', ids, flags);
  const end = await audited(deployment, {
    ...change,
    ...(flags.resume === undefined ? {} : { target: flags.resume }),
    wanted: { ...(change.wanted as object), replay: run.state.id },
    make: () =>
      run
        .proceed({
          signal: stop.first,
          progress,
          notReplayable: (letter) => tellNotReplayable(letter, context),
          ...(flags.within === undefined ? {} : { outcomesMs: flags.within }),
        })
        .catch((error: unknown) => {
          context.err(`millrace: go on with: millrace dlq replay --resume ${run.state.id}`);
          throw error;
        }),
    after: () => auditedState(run.state),
    problemOf: (result) => (result === 'finished' ? null : reasonOf(result, run.state)),
  });
  tellEnd(ids, flags, run, end, context);
}

function openRun(
  ids: readonly string[],
  flags: ReplayFlags,
  deployment: Deployment,
): Promise<ReplayRun> {
  const { canary, rate, stopAt, resume } = flags;
  if (resume === undefined)
    return ReplayRun.begin(deployment, filterOf(flags, ids), {
      canary: canary ?? null,
      rate: rate ?? null,
      stopAt: stopAt ?? null,
    });
  const pace: Partial<ReplayPace> = {
    ...(canary === undefined ? {} : { canary }),
    ...(rate === undefined ? {} : { rate }),
    ...(stopAt === undefined ? {} : { stopAt }),
  };
  return ReplayRun.resume(deployment, resume, pace);
}

function tellEnd(
  ids: readonly string[],
  flags: ReplayFlags,
  run: ReplayRun,
  end: ReplayEnd,
  context: LongRunningContext,
): void {
  const { state } = run;
  const { replayed, notReplayable, outcomes } = state;
  const missed = end === 'finished' ? missing(ids, handledBy(state), flags, context) : 0;
  const result = { replayed, gone: state.gone + missed, notReplayable, dryRun: false };
  if (flags.json) context.out(safeJson({ ...result, replay: state.id, end, outcomes }));
  else context.out(`${resultLine(result, 'replayed')}${outcomesText(state)}`);
  if (end !== 'finished') {
    context.err(
      `millrace: ${reasonOf(end, state)}. ${run.saved ? `Go on with: millrace dlq replay --resume ${state.id}` : 'Redis takes no writes, so the progress is not kept: run the command again'}`,
    );
    context.fail();
  } else if (outcomes.dead + outcomes.retrying > 0)
    context.err(
      'millrace: events that failed again are not replayed by the same replay: dlq groups shows the dead ones',
    );
  failNotReplayable(result);
}

const handledBy = ({ replayed, gone, notReplayable }: ReplayRunState): number =>
  replayed + gone + notReplayable;

function auditedState(state: ReplayRunState): object {
  const { id, replayed, gone, notReplayable, outcomes } = state;
  return { replay: id, replayed, gone, notReplayable, ...outcomes };
}

function reasonOf(end: ReplayEnd, { outcomes, pace }: ReplayRunState): string {
  const failed = outcomes.dead + outcomes.retrying;
  const known = failed + outcomes.done;
  const of = `${formatCount(failed)} of ${plural(known, 'event')} failed again`;
  switch (end) {
    case 'finished':
      return 'all letters were handled';
    case 'interrupted':
      return 'interrupted';
    case 'canary-failed':
      return `the canary failed: ${of}`;
    case 'undecided':
      return `${plural(outcomes.open, 'event')} did not run in time, so the others wait: millrace explain says why`;
    case 'failure-rate':
      return `too many fail: ${of}, and --stop-at is ${(pace.stopAt ?? 0) * 100}%`;
  }
}

/** '': no outcomes were followed. Without --stop-at only those of the canary are. */
function outcomesText({ replayed, outcomes }: ReplayRunState): string {
  const { done, dead, retrying, open } = outcomes;
  const followed = done + dead + retrying + open;
  if (followed === 0) return '';
  const parts = [`${formatCount(done)} done`, `${formatCount(dead)} dead again`];
  if (retrying > 0) parts.push(`${formatCount(retrying)} tried again later`);
  if (open > 0) parts.push(`${formatCount(open)} without an outcome yet`);
  const of = followed < replayed ? `of the ${formatCount(followed)} followed: ` : '';
  return `; ${of}${parts.join(', ')}`;
}

interface Result {
  readonly replayed: number;
  readonly gone: number;
  readonly notReplayable: number;
}

function resultLine({ replayed, gone, notReplayable }: Result, verb: string): string {
  return `${plural(replayed, 'dead letter')} ${verb}${gone > 0 ? `, ${gone} gone already` : ''}${notReplayable > 0 ? `, ${notReplayable} cannot be replayed` : ''}`;
}

function tellNotReplayable({ id, reason }: DeadLetter, context: LongRunningContext): void {
  context.err(
    `millrace: dead letter ${id} cannot be replayed: its content could not be read (${printable(reason)})`,
  );
}

function failNotReplayable({ notReplayable }: Result): void {
  if (notReplayable > 0)
    throw new Error(`${plural(notReplayable, 'dead letter')} cannot be replayed`);
}
