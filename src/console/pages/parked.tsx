/** Parked subjects: what heads the list of each, when it is due, and what holds it. */
import { formatLetterId } from '../../pipeline/dead/dead-letters.ts';
import { readWaitingUnits, type WaitingUnit } from '../../pipeline/retry/waiting-units.ts';
import type { FC } from 'hono/jsx';
import type { PageContent, PageContext } from '../page.tsx';
import { ChangeForm, Command, Empty, State, Table, TimeAt } from '../parts.tsx';
import { count, shellWord, text } from '../page-figures.ts';
import { mayChange, refusalFor } from '../granted.ts';

/** Subjects of a function that a page shows. */
const MOST = 50;

export async function parkedPage(context: PageContext): Promise<PageContent> {
  const { functions } = await context.lag();
  const parked = functions.filter((fn) => fn.parked > 0 || fn.states.held.events > 0);
  const chosen = context.c.req.query('function') ?? parked[0]?.name ?? '';
  const fn = parked.find(({ name }) => name === chosen);
  const units =
    fn === undefined ? [] : await readWaitingUnits(context.deployment, fn.name, { most: MOST });
  return {
    title: 'Parked',
    at: 'console/parked',
    content: (
      <>
        {parked.length === 0 ? (
          <p>
            <State tone="good">No event waits for a retry</State>
          </p>
        ) : (
          <Table
            caption="By function"
            rows={parked}
            columns={[
              {
                title: 'function',
                cell: ({ name }) => (
                  <a
                    href={`?function=${encodeURIComponent(name)}`}
                    aria-current={name === chosen ? 'true' : undefined}
                  >
                    {name}
                  </a>
                ),
              },
              { title: 'parked', right: true, cell: (one) => count(one.states.parked.events) },
              { title: 'held', right: true, cell: (one) => count(one.states.held.events) },
            ]}
          />
        )}
        {fn === undefined ? null : (
          <Units context={context} fn={fn.name} parked={fn.states.parked.events} units={units} />
        )}
      </>
    ),
  };
}

function Units({
  context,
  fn,
  parked,
  units,
}: {
  readonly context: PageContext;
  readonly fn: string;
  /** Events that wait for a retry. */
  readonly parked: number;
  readonly units: readonly WaitingUnit[];
}) {
  if (units.length === 0) return <Empty>No subject of {fn} is parked any more.</Empty>;
  return (
    <>
      <Table
        caption={`Subjects of ${fn}, those that are due first, ${MOST} at most`}
        rows={units}
        columns={[
          {
            title: 'subject',
            cell: ({ unit }) => (
              <a href={`${context.root}console/find?subject=${encodeURIComponent(unit)}`}>
                {text(unit) || '(none)'}
              </a>
            ),
          },
          { title: 'events', right: true, cell: ({ events }) => count(events) },
          {
            title: 'head',
            cell: ({ head }) => (head === null ? '–' : text(head.eventId) || '(unreadable)'),
          },
          { title: 'attempts', right: true, cell: ({ head }) => head?.attempts ?? '–' },
          {
            title: 'last error',
            cell: ({ head }) =>
              context.access === 'full' ? text(head?.error ?? '', 200) : 'not shown',
          },
          {
            title: 'due',
            cell: ({ dueMs, letter, partition }) =>
              letter !== null ? (
                <>
                  held by{' '}
                  <a
                    href={`${context.root}console/letter?id=${encodeURIComponent(formatLetterId(fn, partition, letter))}`}
                  >
                    a dead letter
                  </a>
                </>
              ) : (
                <TimeAt ms={dueMs} />
              ),
          },
          {
            title: 'retry',
            cell: ({ unit, dueMs }) =>
              dueMs === null ? null : <RunNow context={context} fn={fn} unit={unit} />,
          },
        ]}
      />
      <RunAllNow context={context} fn={fn} parked={parked} />
      <Command line={`millrace parked list ${shellWord(fn)}`} />
    </>
  );
}

/** @param event id of the event: with ordering 'none' it is the unit */
export const RunNow: FC<{ context: PageContext; fn: string; unit: string; event?: string }> = ({
  context,
  fn,
  unit,
  event,
}) => (
  <ChangeForm
    title="Run now"
    action={`${context.root}console/parked/run-now`}
    allowed={mayChange(context, 'operate')}
    refusal={refusalFor(context, 'operate')}
    command={`millrace parked run-now ${shellWord(fn)} --subject ${shellWord(unit)}`}
    hidden={{ function: fn, subject: unit, ...(event === undefined ? {} : { event }) }}
  >
    <p>The first event of this subject is tried again at once. The attempt counts as any other.</p>
  </ChangeForm>
);

const RunAllNow: FC<{ context: PageContext; fn: string; parked: number }> = ({
  context,
  fn,
  parked,
}) => (
  <ChangeForm
    title={`Run all of ${fn} now`}
    action={`${context.root}console/parked/run-now`}
    allowed={mayChange(context, 'operate')}
    refusal={refusalFor(context, 'operate')}
    command={`millrace parked run-now ${shellWord(fn)} --all`}
    hidden={{ function: fn, all: 'yes' }}
  >
    <p>
      {`${count(parked)} events wait for retries. The first event of each subject is tried again at once, and each attempt counts as any other. Subjects that a dead letter holds stay.`}
    </p>
  </ChangeForm>
);
