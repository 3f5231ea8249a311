/** Flow, the first page: types, functions, what waits, and whether the books are right. */
import type { FC } from 'hono/jsx';
import { readAlerts } from '../../alerts/alert-store.ts';
import { shownState } from '../../alerts/shown-alert.ts';
import { readSilences } from '../../alerts/silences.ts';
import { serverTime } from '../../redis/server-time.ts';
import type { RatedFunction, RatedLag } from '../../lag/rates.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Empty, State, Table } from '../parts.tsx';
import { count, length, rate, text } from '../page-figures.ts';
import { Picture } from './flow-picture.tsx';
import { functionPath, judged } from './function-state.ts';

export async function flowPage(context: PageContext): Promise<PageContent> {
  const report = await context.lag();
  const [firing, origins] = await Promise.all([
    readFiring(context),
    context.origins.read(context.deployment, report),
  ]);
  return {
    title: 'Flow',
    at: '',
    live: true,
    content: (
      <>
        <Alerts root={context.root} firing={firing} />
        {report.functions.length === 0 ? (
          <Empty>
            No function has started here yet. <code>millrace init</code> writes a first one, and{' '}
            <code>millrace start</code> runs it.
          </Empty>
        ) : (
          <>
            <Picture root={context.root} report={report} origins={origins} />
            <Functions root={context.root} report={report} />
            <Books report={report} />
          </>
        )}
      </>
    ),
  };
}

interface Firing {
  readonly name: string;
  readonly about: string;
  readonly summary: string;
}

async function readFiring({ deployment }: PageContext): Promise<Firing[]> {
  const [{ alerts }, silences] = await Promise.all([
    readAlerts(deployment),
    serverTime(deployment).then((nowMs) => readSilences(deployment, nowMs)),
  ]);
  return [...alerts.values()]
    .filter((alert) => shownState(alert, silences) === 'firing')
    .map(({ name, labels, summary }) => ({
      name,
      about: labels['function'] ?? '',
      summary,
    }));
}

const Alerts: FC<{ root: string; firing: readonly Firing[] }> = ({ root, firing }) =>
  firing.length === 0 ? (
    <p>
      <State tone="good">No alert fires</State>
    </p>
  ) : (
    <div class="notice bad">
      <h2>{`${firing.length} ${firing.length === 1 ? 'alert fires' : 'alerts fire'}`}</h2>
      <ul>
        {firing.map(({ name, about, summary }) => (
          <li>
            <a href={`${root}console/alerts`}>{`${name} ${text(about)}`.trim()}</a>: {text(summary)}
          </li>
        ))}
      </ul>
    </div>
  );

const Functions: FC<{ root: string; report: RatedLag }> = ({ root, report }) => (
  <Table
    caption="Functions"
    rows={report.functions}
    columns={[
      {
        title: 'function',
        cell: (fn) => <a href={functionPath(root, fn.name)}>{fn.name}</a>,
      },
      {
        title: 'state',
        cell: (fn) => {
          const [tone, word] = judged(fn);
          return <State tone={tone}>{word}</State>;
        },
      },
      { title: 'in', right: true, cell: (fn) => rate(fn.rate?.arrivalPerSecond) },
      { title: 'out', right: true, cell: (fn) => rate(fn.rate?.servicePerSecond) },
      { title: 'waiting', right: true, cell: (fn) => count(fn.lag + fn.pending) },
      { title: 'oldest', right: true, cell: (fn) => length(fn.oldestMs) },
      {
        title: 'time to drain',
        right: true,
        cell: (fn) =>
          fn.rate === null ? '–' : fn.rate.drainMs === null ? 'never' : length(fn.rate.drainMs),
      },
      {
        title: 'parked',
        right: true,
        cell: (fn) =>
          fn.parked === 0 ? '0' : <a href={`${root}console/parked`}>{count(fn.parked)}</a>,
      },
      {
        title: 'dead letters',
        right: true,
        cell: (fn) =>
          fn.letters === 0 ? (
            '0'
          ) : (
            <a href={`${root}console/dead/${encodeURIComponent(fn.name)}`}>{count(fn.letters)}</a>
          ),
      },
    ]}
  />
);

/** The books: each appended event is in exactly one state. */
const Books: FC<{ report: RatedLag }> = ({ report }) => (
  <Table
    caption="The books: done + parked + dead + pending + lag = appended"
    rows={report.functions}
    columns={[
      { title: 'function', cell: (fn) => fn.name },
      {
        title: 'books',
        cell: (fn) =>
          fn.conserved ? (
            <State tone="good">right</State>
          ) : (
            <State tone="bad">{difference(fn)}</State>
          ),
      },
      { title: 'done', right: true, cell: (fn) => count(fn.done) },
      { title: 'parked', right: true, cell: (fn) => count(fn.parked) },
      { title: 'dead', right: true, cell: (fn) => count(fn.dead) },
      { title: 'pending', right: true, cell: (fn) => count(fn.pending) },
      { title: 'lag', right: true, cell: (fn) => count(fn.lag) },
      { title: 'appended', right: true, cell: (fn) => count(fn.appended) },
    ]}
  />
);

function difference(fn: RatedFunction): string {
  const left = fn.appended - fn.done - fn.parked - fn.dead - fn.pending - fn.lag;
  if (left > 0) return `${count(left)} events are in no state`;
  if (left < 0) return `${count(-left)} events are in two states`;
  return 'wrong in a partition: see millrace doctor';
}
