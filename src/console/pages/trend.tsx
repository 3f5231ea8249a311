/** The last hours of the deployment or of a function as charts, with what happened. */
import type { FC } from 'hono/jsx';
import { readMarks, type Marks } from '../../trend/read-marks.ts';
import { readTrend, type Trend } from '../../trend/read-trend.ts';
import { Chart, type ChartMark } from '../chart.tsx';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Table, TimeAt } from '../parts.tsx';
import { count, length, shellWord, size, text } from '../page-figures.ts';

const HOURS = [1, 6, 24, 72] as const;
const POINTS = 240;
const MOST_MARKS = 100;

export async function trendPage(context: PageContext): Promise<PageContent> {
  const hours = hoursOf(context);
  return {
    title: 'Trend',
    at: 'console/trend',
    content: (
      <>
        <Hours chosen={hours} />
        {await trendOf(context, null, hours)}
      </>
    ),
  };
}

/** Returns the chosen hours; another number is one day. */
export function hoursOf({ c }: PageContext): number {
  const asked = Number(c.req.query('hours') ?? 24);
  return HOURS.find((hours) => hours === asked) ?? 24;
}

export const Hours: FC<{ chosen: number }> = ({ chosen }) => (
  <p>
    {HOURS.map((hours) => (
      <>
        <a href={`?hours=${hours}`} aria-current={hours === chosen ? 'true' : undefined}>
          {hours === 1 ? '1 hour' : `${hours} hours`}
        </a>{' '}
      </>
    ))}
  </p>
);

/** Returns the charts and marks of a function. Null: those of the deployment. */
export async function trendOf({ deployment }: PageContext, fn: string | null, hours: number) {
  const [trend, marks] = await Promise.all([
    readTrend(deployment, { function: fn, hours, points: POINTS }),
    readMarks(deployment, { hours, most: MOST_MARKS, ...(fn !== null && { function: fn }) }),
  ]);
  const command = `millrace trend${fn === null ? '' : ` ${shellWord(fn)}`} --hours ${hours}`;
  return (
    <>
      {trend.samples === 0 ? (
        <Empty>
          There is no sample yet. A dispatcher takes one each minute, unless MILLRACE_TREND is off.
        </Empty>
      ) : (
        <Charts trend={trend} marks={marks} />
      )}
      <MarkTable marks={marks} />
      <Command line={command} />
    </>
  );
}

const perSecond = (value: number): string => `${count(value / 60)}/s`;

const Charts: FC<{ trend: Trend; marks: Marks }> = ({ trend, marks }) => {
  const { times, stepMs, series } = trend;
  const line = (name: string, shown = name) => ({ name: shown, values: series[name] ?? [] });
  const chartMarks = marks.marks.map(({ atMs, kind, text: what }): ChartMark => ({
    atMs,
    text: `${kind}: ${text(what)}`,
  }));
  const common = { times, stepMs, marks: chartMarks };
  const ofFunction = trend.function !== null;
  return (
    <>
      <Chart
        {...common}
        title="Events a second"
        lines={[line('appended', 'in'), line('done'), line('died', 'dead')]}
        shown={perSecond}
      />
      {ofFunction ? (
        <>
          <Chart
            {...common}
            title="Waiting events"
            lines={[line('lag'), line('pending'), line('parked')]}
            shown={count}
          />
          <Chart
            {...common}
            title="Age of the oldest"
            lines={[line('oldestMs', 'age')]}
            shown={length}
          />
        </>
      ) : (
        <>
          <Chart {...common} title="Waiting events" lines={[line('waiting')]} shown={count} />
          <Chart
            {...common}
            title="Memory of Redis"
            lines={[line('usedBytes', 'used')]}
            shown={size}
          />
          <Chart
            {...common}
            title="Threads"
            lines={[line('threads'), line('busy')]}
            shown={count}
          />
        </>
      )}
    </>
  );
};

const MarkTable: FC<{ marks: Marks }> = ({ marks }) =>
  marks.marks.length === 0 ? (
    <Empty>Nothing was changed, lost or restarted in this time.</Empty>
  ) : (
    <Table
      caption={`Marks${marks.isCut ? `, the newest ${marks.marks.length}` : ''}`}
      rows={marks.marks}
      columns={[
        { title: 'when', cell: ({ atMs }) => <TimeAt ms={atMs} /> },
        { title: 'kind', cell: ({ kind }) => kind },
        { title: 'function', cell: (mark) => mark.function ?? '–' },
        { title: 'type', cell: (mark) => mark.type ?? '–' },
        { title: 'what', cell: (mark) => text(mark.text) },
      ]}
    />
  );
