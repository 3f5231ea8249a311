/** One function: its types and partitions, what waits and why, its letters and parked subjects. */
import { UnknownFunctionError } from '../../redis/counters.ts';
import type { TypeLag } from '../../lag/lag.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Facts, State, Table } from '../parts.tsx';
import { count, length, rate, shellWord } from '../page-figures.ts';
import { judged } from './function-state.ts';
import { Hours, hoursOf, trendOf } from './trend.tsx';

/** @throws UnknownFunctionError */
export async function functionPage(context: PageContext): Promise<PageContent> {
  const name = context.c.req.param('function') ?? '';
  const { functions } = await context.lag();
  const fn = functions.find((one) => one.name === name);
  if (fn === undefined)
    throw new UnknownFunctionError(
      name,
      functions.map((one) => one.name),
    );
  const [tone, word] = judged(fn);
  const { root } = context;
  return {
    title: name,
    at: '',
    content: (
      <>
        <p>
          <State tone={tone}>{word}</State>
        </p>
        <Facts
          facts={[
            ['in', rate(fn.rate?.arrivalPerSecond)],
            ['out', rate(fn.rate?.servicePerSecond)],
            [
              'time to drain',
              fn.rate === null ? '–' : fn.rate.drainMs === null ? 'never' : length(fn.rate.drainMs),
            ],
            ['oldest waiting event', length(fn.oldestMs)],
            ['lag (not delivered)', stateText(fn.states.lag)],
            ['pending (delivered)', stateText(fn.states.pending)],
            ['parked (for a retry)', stateText(fn.states.parked)],
            ['held (behind a dead letter)', stateText(fn.states.held)],
            [
              'dead letters',
              <a href={`${root}console/dead/${encodeURIComponent(name)}`}>{count(fn.letters)}</a>,
            ],
            ['skipped (seen before)', count(fn.skipped)],
          ]}
        />
        <Hours chosen={hoursOf(context)} />
        {await trendOf(context, name, hoursOf(context))}
        <Table
          caption="By type and partition"
          rows={fn.types}
          columns={[
            { title: 'type', cell: (row: TypeLag) => row.type },
            { title: 'partition', right: true, cell: (row) => row.partition },
            { title: 'lag', right: true, cell: (row) => count(row.lag) },
            { title: 'pending', right: true, cell: (row) => count(row.pending) },
            { title: 'parked', right: true, cell: (row) => count(row.parked) },
            { title: 'dead', right: true, cell: (row) => count(row.dead) },
            { title: 'done', right: true, cell: (row) => count(row.done) },
            { title: 'appended', right: true, cell: (row) => count(row.appended) },
            { title: 'oldest', right: true, cell: (row) => length(row.oldestMs) },
          ]}
        />
        <h2>The same by command</h2>
        <Command line={`millrace lag --function ${shellWord(name)} --rates`} />
        <Command line={`millrace functions show ${shellWord(name)}`} />
      </>
    ),
  };
}

function stateText({ events, oldestMs }: { events: number; oldestMs: number | null }): string {
  return events === 0 ? '0' : `${count(events)}, the oldest ${length(oldestMs)}`;
}
