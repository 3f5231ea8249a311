/** Dead letters: by function, those of a function, and one letter with all that is known of it. */
import type { FC } from 'hono/jsx';
import { getDeadLetter, type DeadLetter } from '../../pipeline/dead/dead-letters.ts';
import { showError, type ErrorText } from '../../payload/show-error.ts';
import { readLetterPage } from '../../pipeline/dead/letter-page.ts';
import { readLetterGroups, type LetterGroup } from '../../pipeline/dead/letter-groups.ts';
import type { PageContent, PageContext } from '../page.tsx';
import {
  ChangeForm,
  Command,
  Empty,
  Facts,
  Long,
  SeenOf,
  State,
  Table,
  TimeAt,
} from '../parts.tsx';
import { count, letterOptions, shellWord, text } from '../page-figures.ts';
import { mayChange, refusalFor } from '../granted.ts';

/** Letters of a page. Each may have some hundred kilobytes. */
const PAGE = 30;
/** Letters that a page looks at, where a group is chosen. */
const LOOK = 300;

export async function deadPage(context: PageContext): Promise<PageContent> {
  const { functions } = await context.lag();
  const dead = functions.filter(({ letters }) => letters > 0);
  return {
    title: 'Dead letters',
    at: 'console/dead',
    content: (
      <>
        {dead.length === 0 ? (
          <p>
            <State tone="good">There is no dead letter</State>
          </p>
        ) : (
          <Table
            caption="By function"
            rows={dead}
            columns={[
              {
                title: 'function',
                cell: ({ name }) => (
                  <a href={`${context.root}console/dead/${encodeURIComponent(name)}`}>{name}</a>
                ),
              },
              { title: 'letters', right: true, cell: ({ letters }) => count(letters) },
              {
                title: 'events held behind them',
                right: true,
                cell: (fn) => count(fn.states.held.events),
              },
            ]}
          />
        )}
        <Command line="millrace dlq list" />
      </>
    ),
  };
}

export async function deadOfPage(context: PageContext): Promise<PageContent> {
  const name = context.c.req.param('function') ?? '';
  const [before, group] = ['before', 'group'].map((of) => context.c.req.query(of) || undefined);
  const filter = { function: name, ...(group !== undefined && { group }) };
  const [page, groups] = await Promise.all([
    readLetterPage(context.deployment, filter, {
      limit: PAGE,
      look: LOOK,
      ...(before !== undefined && { before }),
    }),
    readLetterGroups(context.deployment, { function: name }),
  ]);
  const all = groups.groups
    .filter((one) => group === undefined || one.group === group)
    .reduce((sum, { letters }) => sum + letters, 0);
  return {
    title: `Dead letters of ${name}`,
    at: 'console/dead',
    content: (
      <>
        <Groups context={context} groups={groups.groups} chosen={group} />
        <ReplayMany context={context} fn={name} group={group} all={all} />
        <PurgeMany context={context} fn={name} group={group} all={all} />
        {page.letters.length === 0 ? (
          <Empty>There is no {before === undefined ? '' : 'older '}dead letter here.</Empty>
        ) : (
          <>
            <Letters context={context} letters={page.letters} />
            <SeenOf shown={page.letters.length} all={all} what="letters, the newest first" />
          </>
        )}
        {page.next === null ? null : (
          <p>
            <a href={`?${new URLSearchParams({ ...(group && { group }), before: page.next })}`}>
              Older letters
            </a>
          </p>
        )}
        <Command line={`millrace dlq list ${letterOptions(name, group)}`} />
      </>
    ),
  };
}

const Groups: FC<{
  context: PageContext;
  groups: readonly LetterGroup[];
  chosen: string | undefined;
}> = ({ context, groups, chosen }) =>
  groups.length === 0 ? null : (
    <Table
      caption="By error"
      rows={groups}
      columns={[
        {
          title: 'group',
          cell: ({ group, about }) => (
            <a
              href={`?group=${encodeURIComponent(group)}`}
              aria-current={group === chosen ? 'true' : undefined}
            >
              {about === null ? group : errorLine(about, context, 160)}
            </a>
          ),
        },
        { title: 'at', cell: ({ about }) => text(about?.frames[0] ?? '–', 120) },
        { title: 'type', cell: ({ about }) => (about === null ? '–' : text(about.type)) },
        { title: 'letters', right: true, cell: ({ letters }) => count(letters) },
        { title: 'last 24 hours', cell: ({ hours }) => <Hours values={hours} /> },
        { title: 'first', cell: ({ firstMs }) => <TimeAt ms={firstMs} /> },
        { title: 'last', cell: ({ lastMs }) => <TimeAt ms={lastMs} /> },
      ]}
    />
  );

/** Letters in each hour as bars, with their sum for those who do not see bars. */
const Hours: FC<{ values: readonly number[] | null }> = ({ values }) => {
  if (values === null) return <>–</>;
  const most = Math.max(1, ...values);
  return (
    <>
      <svg class="hours" viewBox="0 0 96 16" width="96" height="16" aria-hidden="true">
        {values.map((value, i) => {
          const height = value === 0 ? 1 : 2 + (14 * value) / most;
          return <rect x={i * 4} y={16 - height} width={3} height={height} />;
        })}
      </svg>{' '}
      {count(values.reduce((sum, value) => sum + value, 0))}
    </>
  );
};

/** A replay of all letters of the function, or of one group, at a pace. */
const ReplayMany: FC<{
  context: PageContext;
  fn: string;
  group: string | undefined;
  all: number;
}> = ({ context, fn, group, all }) =>
  all === 0 ? null : (
    <details class="change">
      <summary>{`Replay all ${count(all)} letters${group === undefined ? '' : ' of this group'}…`}</summary>
      <div>
        <p>
          {`${count(all)} events go back to ${fn}: first the canary, whose outcomes are awaited, then the others at the rate. The replay stops where more fail than allowed. Only letters that are there now are replayed.`}
        </p>
        <Command
          line={`millrace dlq replay ${letterOptions(fn, group)} --canary 10 --rate 100 --stop-at 5%`}
        />
        {mayChange(context, 'operate') ? (
          <form class="find" method="post" action={`${context.root}console/dead/replay-many`}>
            <input type="hidden" name="function" value={fn} />
            {group === undefined ? null : <input type="hidden" name="group" value={group} />}
            <label>
              canary (letters)
              <input name="canary" value="10" inputmode="numeric" />
            </label>
            <label>
              letters a second
              <input name="rate" value="100" inputmode="numeric" />
            </label>
            <label>
              stop above failures
              <input name="stopAt" value="5%" />
            </label>
            <button type="submit" class="primary">
              {`Replay ${count(all)} letters`}
            </button>
          </form>
        ) : (
          <p class="muted">{refusalFor(context, 'operate')}</p>
        )}
      </div>
    </details>
  );

const PurgeMany: typeof ReplayMany = ({ context, fn, group, all }) =>
  all === 0 ? null : (
    <ChangeForm
      title={`Discard all ${count(all)} letters${group === undefined ? '' : ' of this group'}`}
      action={`${context.root}console/dead/purge-many`}
      allowed={mayChange(context, 'admin')}
      refusal={refusalFor(context, 'admin')}
      command={`millrace dlq purge ${letterOptions(fn, group)} --yes`}
      hidden={{ function: fn, ...(group === undefined ? {} : { group }) }}
      danger
    >
      <p>
        {`${count(all)} events are gone for good: ${fn} never handles them. Subjects that they hold go on without them. Letters that die from now on stay.`}
      </p>
    </ChangeForm>
  );

const letterPath = (root: string, id: string): string =>
  `${root}console/letter?id=${encodeURIComponent(id)}`;

const Letters: FC<{ context: PageContext; letters: readonly DeadLetter[] }> = ({
  context,
  letters,
}) => (
  <Table
    caption="Letters"
    rows={letters}
    columns={[
      {
        title: 'died',
        cell: (letter) => (
          <a href={letterPath(context.root, letter.id)}>
            <TimeAt ms={letter.lastFailedMs} />
          </a>
        ),
      },
      { title: 'reason', cell: ({ reason }) => text(reason) },
      { title: 'error', cell: ({ error }) => errorLine(error, context, 160) },
      { title: 'type', cell: ({ type }) => text(type) },
      { title: 'subject', cell: ({ subject }) => text(subject) },
      { title: 'event', cell: ({ eventId }) => text(eventId) },
      { title: 'attempts', right: true, cell: ({ attempts }) => attempts },
    ]}
  />
);

/** @throws DeadLetterIdError, DeadLetterNotFoundError */
export async function letterPage(context: PageContext): Promise<PageContent> {
  const letter = await getDeadLetter(context.deployment, context.c.req.query('id') ?? '');
  const { root } = context;
  const error = showError(letter.error, context.access);
  return {
    title: 'Dead letter',
    at: 'console/dead',
    content: (
      <>
        <Facts
          facts={[
            ['letter', letter.id],
            ['function', letter.function],
            ['version of the function', text(letter.version) || '–'],
            ['type', text(letter.type)],
            [
              'subject',
              <a href={`${root}console/find?subject=${encodeURIComponent(letter.subject)}`}>
                {text(letter.subject)}
              </a>,
            ],
            [
              'event',
              <a href={`${root}console/find?id=${encodeURIComponent(letter.eventId)}`}>
                {text(letter.eventId)}
              </a>,
            ],
            ['position', `${letter.partition}/${letter.entryId}/${letter.position}`],
            ['reason', text(letter.reason)],
            ['attempts', letter.attempts],
            ['first failed', <TimeAt ms={letter.firstFailedMs} />],
            ['last failed', <TimeAt ms={letter.lastFailedMs} />],
            ['dispatcher', text(letter.dispatcher)],
            ['size', `${count(letter.bytes.length)} bytes`],
          ]}
        />
        <h2>{errorLine(letter.error, context, 1000)}</h2>
        {error.cause === null ? null : <p>Cause: {text(error.cause, 2000)}</p>}
        {error.stack.length === 0 ? null : <Long value={error.stack.join('\n')} />}
        {error.masked ? (
          <p class="muted">Messages may quote data, and your token may not see data.</p>
        ) : null}
        <Attempts context={context} letter={letter} />
        <LetterChanges context={context} letter={letter} />
        <h2>The same by command</h2>
        <Command line={`millrace dlq show ${shellWord(letter.id)}`} />
      </>
    ),
  };
}

/** Returns an error in a line, as far as the client may see it. */
function errorLine(error: ErrorText, { access }: PageContext, max: number): string {
  const { name, message } = showError(error, access);
  return text(message === null ? (name ?? 'an error') : `${name ?? ''}: ${message}`, max);
}

const Attempts: FC<{ context: PageContext; letter: DeadLetter }> = ({ context, letter }) =>
  letter.history.length === 0 ? null : (
    <Table
      caption="Attempts"
      rows={letter.history}
      columns={[
        { title: 'attempt', cell: ({ attempt }) => attempt },
        { title: 'when', cell: ({ atMs }) => <TimeAt ms={atMs} /> },
        { title: 'error', cell: (attempt) => errorLine(attempt, context, 600) },
        {
          title: 'cause',
          cell: (attempt) => text(showError(attempt, context.access).cause ?? '', 600),
        },
      ]}
    />
  );

const LetterChanges: FC<{ context: PageContext; letter: DeadLetter }> = ({ context, letter }) => (
  <>
    {letter.kind === 'event' ? (
      <>
        <ChangeForm
          title="Rehearse this letter"
          action={`${context.root}console/letter/rehearse`}
          allowed={mayChange(context, 'operate') && context.mending.canRehearse}
          refusal={
            context.mending.canRehearse
              ? refusalFor(context, 'operate')
              : 'This process knows no functions. The console of millrace start rehearses, and so does the command.'
          }
          command={`millrace dlq rehearse ${shellWord(letter.id)}`}
          hidden={{ id: letter.id }}
        >
          <p>
            {`1 event runs through ${letter.function} as it is now. Nothing is written to Redis: rows and emitted events are shown. Effects of the handler outside Millrace are not caught: they happen.`}
          </p>
        </ChangeForm>
        <p>
          <a href={`${context.root}console/letter/edit?id=${encodeURIComponent(letter.id)}`}>
            Edit the data of this event
          </a>
        </p>
        <ChangeForm
          title="Replay this letter"
          action={`${context.root}console/dead/replay`}
          allowed={mayChange(context, 'operate')}
          refusal={refusalFor(context, 'operate')}
          command={`millrace dlq replay ${shellWord(letter.id)}`}
          hidden={{ id: letter.id }}
        >
          <p>
            {`1 event goes back to ${letter.function}. The event keeps its history and starts with no attempts. If it fails again, it becomes a new letter.`}
          </p>
        </ChangeForm>
      </>
    ) : (
      <p class="muted">
        The content of this letter could not be read as a whole. So no event can be replayed.
      </p>
    )}
    <ChangeForm
      title="Discard this letter"
      action={`${context.root}console/dead/purge`}
      allowed={mayChange(context, 'admin')}
      refusal={refusalFor(context, 'admin')}
      command={`millrace dlq purge ${shellWord(letter.id)} --yes`}
      hidden={{ id: letter.id }}
      danger
    >
      <p>
        {`${count(letter.events)} ${letter.events === 1 ? 'event' : 'events'} of ${letter.function} will never run. This cannot be undone.`}
      </p>
    </ChangeForm>
  </>
);
