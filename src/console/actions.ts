/**
 * Changes that a page asks for. The guard has checked the role. Each change is recorded in the
 * audit log under the name that it has on the command line.
 */
import type { Change } from '../audit/make-audited.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { auditedEdit, planEdit, makeEdit } from '../mend/edit-letter.ts';
import { PayloadCodecs } from '../mend/payload-codecs.ts';
import type { ReplayFilter, ReplayPace } from '../mend/replay-state.ts';
import { getDeadLetter, listDeadLetters, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { letterPlaceOf, purgeDeadLetters, type LetterPlace } from '../pipeline/dead/purge.ts';
import { replayDeadLetter } from '../pipeline/dead/replay.ts';
import { runAllNow, runUnitNow } from '../pipeline/retry/run-now.ts';
import { readPartitions, requireFunction } from '../redis/counters.ts';
import { rollBackView } from '../views/generations.ts';
import { switchView } from '../views/view-status.ts';
import { serverTime } from '../redis/server-time.ts';
import type { PageContent, PageContext } from './page.tsx';
import { purgingPage } from './pages/purging.tsx';
import { editPage } from './pages/edit.tsx';
import { rehearsalPage } from './pages/rehearsal.tsx';

/** Letters that one request discards, and one call to Redis. */
const PURGE_MOST = 5000;
const PURGE_AT_ONCE = 500;

/** Way to a page that follows a change; or a page itself. */
export type Followed = { readonly to: string } | { readonly page: PageContent };

/** A page's context, with the way to make a change: it is recorded. */
export interface FormContext extends PageContext {
  readonly audited: <T>(change: Change<T>) => Promise<T>;
}

/** A change: the fields of its form in, the next page out. */
export type Action = (context: FormContext, form: URLSearchParams) => Promise<Followed>;

/** A form that asks for something that is not possible. Nothing was changed. */
export class FormError extends MillraceError {
  readonly code = 'CONSOLE_FORM';
}

const letterOf = ({ deployment }: PageContext, form: URLSearchParams) =>
  getDeadLetter(deployment, form.get('id') ?? '');
const lettersOf = (fn: string): string => `console/dead/${encodeURIComponent(fn)}`;

/** A change of one letter, for the audit log. */
const changeOf = (action: string, { id, function: fn, type }: DeadLetter) => ({
  action,
  target: id,
  wanted: { function: fn, type },
});

export const replayLetter: Action = async (context, form) => {
  const letter = await letterOf(context, form);
  await context.audited({
    ...changeOf('dlq replay', letter),
    make: () => replayDeadLetter(context.deployment, letter),
  });
  return { to: lettersOf(letter.function) };
};

export const purgeLetter: Action = async (context, form) => {
  const letter = await letterOf(context, form);
  await context.audited({
    ...changeOf('dlq purge', letter),
    make: () => purgeDeadLetters(context.deployment, [letter]),
  });
  return { to: lettersOf(letter.function) };
};

/** A rehearsal writes nothing, and its effects outside happen. So it is recorded. */
export const rehearseLetter: Action = async (context, form) => {
  const letter = await letterOf(context, form);
  if (!context.mending.canRehearse)
    throw new FormError(
      'This process knows no functions, so it rehearses nothing. The console of millrace start does, and so does millrace dlq rehearse',
    );
  const rehearsal = await context.audited({
    ...changeOf('dlq rehearse', letter),
    make: () => context.mending.rehearse(letter),
    after: (result) => result && { outcome: result.outcome },
  });
  return { page: rehearsalPage(context, rehearsal) };
};

/** Makes one parked subject due, or all of a function. */
export const runNow: Action = async ({ deployment, audited }, form) => {
  const [fn, subject, event] = [form.get('function') ?? '', form.get('subject'), form.get('event')];
  const all = form.get('all') === 'yes';
  requireFunction(await readPartitions(deployment), fn);
  if (subject === null && !all)
    throw new FormError('The form names no subject. Nothing was changed');
  await audited({
    action: 'parked run-now',
    target: fn,
    wanted: subject === null ? { all } : { subject },
    async make() {
      if (subject === null) return { moved: await runAllNow(deployment, fn), held: 0 };
      const done = await runUnitNow(deployment, fn, subject);
      return done.moved + done.held === 0 && event !== null
        ? runUnitNow(deployment, fn, event)
        : done;
    },
    after: (result) => result,
  });
  return { to: `console/parked?function=${encodeURIComponent(fn)}` };
};

/** @throws FormError: an edit shows the data before */
function needWholeData({ access }: PageContext): void {
  if (access !== 'full')
    throw new FormError('An edit shows the whole data, and your token may not see it');
}

/** Checks new data, and shows the difference. Changes nothing. */
export const checkEdit: Action = async (context, form) => {
  needWholeData(context);
  const letter = await letterOf(context, form);
  const data = form.get('data') ?? '';
  const codecs = new PayloadCodecs(context.deployment);
  try {
    const plan = await planEdit(codecs, letter, parsed(data));
    return { page: editPage(context, { letter, data, plan, problem: null }) };
  } catch (error) {
    // The text stays in the form: a person mends it there.
    if (!(error instanceof MillraceError) || error.retryable) throw error;
    return { page: editPage(context, { letter, data, plan: null, problem: error.message }) };
  }
};

export const editLetter: Action = async (context, form) => {
  needWholeData(context);
  const letter = await letterOf(context, form);
  const codecs = new PayloadCodecs(context.deployment);
  const plan = await planEdit(codecs, letter, parsed(form.get('data') ?? ''));
  const id = await context.audited({
    action: 'dlq edit',
    target: letter.id,
    ...(await auditedEdit(codecs, plan)),
    make: () => makeEdit(context.deployment, plan, `console, role ${context.role}`),
    after: (edited) => edited && { letter: edited },
  });
  return { to: `console/letter?id=${encodeURIComponent(id)}` };
};

/** @throws FormError */
function parsed(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch (error) {
    throw new FormError(`The data is no JSON: ${(error as Error).message}. Nothing was changed`);
  }
}

/**
 * Discards letters of a function or group, so many at a time: a request must end. The page that
 * follows offers to go on. Only letters that were there at the first request are discarded.
 */
export const purgeMany: Action = async (context, form) => {
  const { deployment, audited } = context;
  const text = (name: string): string | undefined => form.get(name)?.trim() || undefined;
  const [fn, group] = [text('function'), text('group')];
  if (fn === undefined) throw new FormError('The form names no function');
  const before = text('before') ?? String(await serverTime(deployment));
  const places: LetterPlace[] = [];
  let isRest = false;
  for await (const letter of listDeadLetters(deployment, {
    function: fn,
    ...(group !== undefined && { group }),
  })) {
    if (Number.parseInt(letter.letterId, 10) > Number(before)) continue;
    isRest = places.length === PURGE_MOST;
    if (isRest) break;
    places.push(letterPlaceOf(letter));
  }
  let now = 0;
  await audited({
    action: 'dlq purge',
    target: group ?? fn,
    wanted: { function: fn, group, before },
    async make() {
      for (let i = 0; i < places.length; i += PURGE_AT_ONCE)
        now += await purgeDeadLetters(deployment, places.slice(i, i + PURGE_AT_ONCE));
    },
    after: () => ({ purged: now }),
  });
  const purged = (Number(text('purged') ?? 0) || 0) + now;
  if (!isRest) return { to: lettersOf(fn) };
  return { page: purgingPage(context, { function: fn, group: group ?? '', before, purged }) };
};

/** Begins a replay of all letters of a function or group, at a pace. */
export const replayMany: Action = async (context, form) => {
  const text = (name: string): string | undefined => form.get(name)?.trim() || undefined;
  const group = text('group');
  const filter: ReplayFilter = {
    function: text('function'),
    ...(group !== undefined && { group }),
  };
  if (filter.function === undefined) throw new FormError('The form names no function');
  const pace: ReplayPace = {
    canary: numberIn(text('canary'), 'the canary', 1, 1000),
    rate: numberIn(text('rate'), 'the rate', 0.1, 100_000),
    stopAt: percentIn(text('stopAt')),
  };
  const id = await context.audited({
    action: 'dlq replay',
    target: group ?? filter.function,
    wanted: { ...filter, ...pace },
    async make() {
      const replay = await context.mending.replay(filter, pace);
      if (replay === null)
        throw new FormError('Eight replays run here already: wait for one, or stop one');
      return replay;
    },
    // The replay goes on behind this record. Its own state tells how far it came.
    after: (replay) => replay && { replay },
  });
  return { to: `console/replay?id=${id}` };
};

export const stopReplay: Action = async ({ audited, mending }, form) => {
  const id = form.get('id') ?? '';
  await audited({
    action: 'dlq replay stop',
    target: id,
    make() {
      if (!mending.cancel(id))
        throw new FormError(
          'This process does not run that replay: it has ended, or another one does',
        );
      return Promise.resolve();
    },
  });
  return { to: `console/replay?id=${encodeURIComponent(id)}` };
};

/** Versions after a switch, for the audit log. */
const versionsOf = (done: { readonly from: number; readonly to: number } | undefined) =>
  done && { live: done.to, before: done.from };

export const rollBack: Action = async ({ deployment, audited }, form) => {
  const view = form.get('view') ?? '';
  await audited({
    action: 'view rollback',
    target: view,
    make: () => rollBackView(deployment, view),
    after: versionsOf,
  });
  return { to: 'console/views' };
};

/** Verifies the version, as far as this process has the view's code, and makes it live. */
export const switchVersion: Action = async ({ deployment, folds, audited }, form) => {
  const [view, version] = [form.get('view') ?? '', Number(form.get('version'))];
  const fold = folds().find(({ spec }) => spec.name === `${view}@${version}`) ?? null;
  await audited({
    action: 'view switch',
    target: `${view}@${version}`,
    make: () => switchView(deployment, view, version, { fold }),
    after: versionsOf,
  });
  return { to: 'console/views' };
};

/** Null: the field is empty. @throws FormError */
function numberIn(value: string | undefined, what: string, least: number, most: number) {
  if (value === undefined) return null;
  const number = Number(value);
  if (!(number >= least && number <= most))
    throw new FormError(`For ${what} give a number from ${least} to ${most}, or nothing`);
  return number;
}

function percentIn(value: string | undefined): number | null {
  const percent = numberIn(value?.replace(/\s*%$/, ''), 'the share of failures', 0, 100);
  return percent === null ? null : percent / 100;
}
