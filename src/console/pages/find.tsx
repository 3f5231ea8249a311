/** Find: an event by its id, or the newest events of a subject, and for each function why. */
import type { FC } from 'hono/jsx';
import { formatPosition } from '../../core/position.ts';
import {
  explain,
  type ExplainedEvent,
  type ExplainQuery,
  type FunctionState,
  type WaitingEvent,
} from '../../explain/explain.ts';
import { EXAMPLE } from '../../find/find-errors.ts';
import type { FoundEvent } from '../../find/found-event.ts';
import { lookUpEvents } from '../../find/look-up-events.ts';
import { searchEvents, type SearchProgress } from '../../find/search-events.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Facts, State, Table, TimeAt, type Tone } from '../parts.tsx';
import { count, length, shellWord, text } from '../page-figures.ts';
import { RunNow } from './parked.tsx';

/** Events that a search looks at, and events that it shows. */
const SCAN = 20_000;
const LIMIT = 20;
/** Bounds of one step of a search by expression. */
const SEARCH = { limit: 50, maxEvents: 20_000, maxMs: 150, share: 1 } as const;

export async function findPage(context: PageContext): Promise<PageContent> {
  const value = (name: string): string => context.c.req.query(name) ?? '';
  return {
    title: 'Find',
    at: 'console/find',
    content: (
      <>
        <form class="find" method="get" role="search">
          <label>
            Event id
            <input name="id" value={value('id')} autocomplete="off" />
          </label>
          <label>
            or subject
            <input name="subject" value={value('subject')} autocomplete="off" />
          </label>
          <label>
            or position
            <input name="position" value={value('position')} autocomplete="off" />
          </label>
          <button type="submit" class="primary">
            Find
          </button>
        </form>
        <form class="find" method="get" role="search" aria-label="By expression">
          <label class="wide">
            or expression over attributes and data (CEL)
            <input
              name="expression"
              value={value('expression')}
              placeholder={EXAMPLE}
              autocomplete="off"
            />
          </label>
          <label>
            types (separated by spaces; none: all)
            <input name="types" value={value('types')} autocomplete="off" />
          </label>
          <button type="submit" class="primary">
            Search
          </button>
        </form>
        {await resultsOf(context)}
      </>
    ),
  };
}

async function resultsOf(context: PageContext) {
  const value = (name: string): string => context.c.req.query(name) ?? '';
  if (value('expression') !== '') return matchesOf(context, value('expression'));
  const query = queryOf(context);
  if (query !== null) return foundFor(context, query);
  if (value('position') !== '') return foundAt(context, value('position'));
  return (
    <Empty>
      A search by subject is quick, because a subject has one partition. A search by id looks at all
      streams, the newest events first. So does a search by expression, a few thousand events at a
      time.
    </Empty>
  );
}

function queryOf({ c }: PageContext): ExplainQuery | null {
  const id = c.req.query('id') ?? '';
  const subject = c.req.query('subject') ?? '';
  if (id !== '') return { eventId: id };
  return subject === '' ? null : { subject };
}

async function foundAt({ deployment, root }: PageContext, position: string) {
  const { events } = await lookUpEvents(deployment, { position });
  return events.length === 0 ? (
    <Empty>There is no event at this position (any more).</Empty>
  ) : (
    <Matches root={root} events={events} />
  );
}

/** Searches for a moment, and offers to go on. */
async function matchesOf({ deployment, root, c, access }: PageContext, expression: string) {
  if (access === 'none')
    return <Empty>A search by expression reads payloads, and your token may not see them.</Empty>;
  const types = (c.req.query('types') ?? '').split(/[\s,]+/).filter((type) => type !== '');
  const after = c.req.query('after') ?? '';
  const events: FoundEvent[] = [];
  let last: SearchProgress | null = null;
  const steps = searchEvents(deployment, expression, {
    ...(types.length > 0 && { types }),
    ...(after !== '' && { after }),
    // An expression would tell what is masked.
    masked: access !== 'full',
    ...SEARCH,
  });
  for await (const { match, progress } of steps) {
    if (match !== undefined) events.push(match);
    else last = progress;
  }
  const before = Number(c.req.query('searched') ?? 0) || 0;
  const searched = before + (last?.searched ?? 0);
  const more = last !== null && last.end !== 'all' && last.end !== 'since' && last.next !== null;
  const next = new URLSearchParams({
    expression,
    types: types.join(' '),
    after: last?.next ?? '',
    searched: String(searched),
  });
  return (
    <div id="results">
      <p class="muted">
        {`Searched ${count(searched)} of ${count(Math.max(searched, last?.retained ?? 0))} events, newest first.`}
        {(last?.unjudged ?? 0) > 0
          ? ` The expression fails on ${count(last?.unjudged ?? 0)}: ${text(last?.firstUnjudged ?? '')}.`
          : ''}
        {(last?.unreadable ?? 0) > 0 ? ` ${count(last?.unreadable ?? 0)} cannot be read.` : ''}
      </p>
      {events.length === 0 ? (
        <Empty>No match so far.</Empty>
      ) : (
        <Matches root={root} events={events} />
      )}
      {more ? (
        <p>
          <a href={`?${next.toString()}`} data-next>
            Search on
          </a>
        </p>
      ) : null}
      <Command
        line={`millrace find ${shellWord(expression)}${types.map((type) => ` --type ${shellWord(type)}`).join('')}`}
      />
    </div>
  );
}

const Matches: FC<{ root: string; events: readonly FoundEvent[] }> = ({ root, events }) => (
  <Table
    caption="Events"
    rows={events}
    columns={[
      {
        title: 'event',
        cell: ({ id, where }) => (
          <a href={`${root}console/event?where=${encodeURIComponent(where)}`}>{text(id)}</a>
        ),
      },
      { title: 'appended', cell: ({ appendedMs }) => <TimeAt ms={appendedMs} /> },
      { title: 'type', cell: ({ type }) => type },
      { title: 'subject', cell: ({ subject }) => text(subject) },
      { title: 'position', cell: ({ where }) => where },
    ]}
  />
);

async function foundFor(context: PageContext, query: ExplainQuery) {
  const { deployment, access } = context;
  const report = await explain(deployment, query, {
    scan: SCAN,
    limit: LIMIT,
    quotes: access === 'full',
  });
  const { searched, events, waiting } = report;
  const command =
    'eventId' in query
      ? `millrace explain ${shellWord(query.eventId)}`
      : `millrace explain --subject ${shellWord(query.subject)}`;
  return (
    <>
      <p class="muted">
        {`Searched ${count(searched.events)} events in ${searched.partitions} partitions`}
        {searched.complete ? ': all that are kept. ' : ', the newest ones. '}
        {searched.unseen === undefined ? '' : `Not looked at: ${searched.unseen.join('; ')}.`}
      </p>
      {events.length + waiting.length === 0 ? <Empty>Nothing was found.</Empty> : null}
      {[...events].reverse().map((event) => (
        <Explained context={context} event={event} />
      ))}
      {waiting.map((event) => (
        <Waiting event={event} />
      ))}
      <Command line={command} />
    </>
  );
}

const TONES: Record<FunctionState['state'], Tone> = {
  done: 'good',
  skipped: 'quiet',
  unknown: 'quiet',
  pending: 'good',
  lag: 'quiet',
  parked: 'warn',
  dead: 'bad',
};

const Explained: FC<{ context: PageContext; event: ExplainedEvent }> = ({ context, event }) => (
  <section>
    <h2>
      <a href={`${context.root}console/event?where=${encodeURIComponent(formatPosition(event))}`}>
        {text(event.id)}
      </a>
    </h2>
    <Facts
      facts={[
        ['type', event.type],
        ['subject', text(event.subject)],
        ['position', formatPosition(event)],
        ['appended', <TimeAt ms={event.appendedMs} />],
        ['in its stream', event.inStream ? 'yes' : 'no longer, or too far back to be looked at'],
      ]}
    />
    <StateTable context={context} id={event.id} subject={event.subject} states={event.functions} />
  </section>
);

export const StateTable: FC<{
  context: PageContext;
  id: string;
  subject: string;
  states: readonly FunctionState[];
}> = ({ context, id, subject, states }) =>
  states.length === 0 ? (
    <Empty>No function reads this type.</Empty>
  ) : (
    <Table
      caption={`Functions of ${text(id)}`}
      rows={states}
      columns={[
        { title: 'function', cell: (fn) => fn.function },
        { title: 'state', cell: (fn) => <State tone={TONES[fn.state]}>{fn.state}</State> },
        { title: 'why', cell: (fn) => text(fn.why, 1000) },
        {
          title: 'attempts',
          right: true,
          cell: (fn) => ('attempts' in fn ? fn.attempts : '–'),
        },
        {
          title: 'cure',
          cell: (fn) => <Cure context={context} id={id} subject={subject} of={fn} />,
        },
      ]}
    />
  );

/** The way to get an event on: as a button where there is one, and as a command. */
const Cure: FC<{ context: PageContext; id: string; subject: string; of: FunctionState }> = ({
  context,
  id,
  subject,
  of: fn,
}) => {
  switch (fn.state) {
    case 'dead':
      return (
        <>
          <a href={`${context.root}console/letter?id=${encodeURIComponent(fn.letter)}`}>
            rehearse, edit or replay it
          </a>
          <Command line={`millrace dlq replay ${shellWord(fn.letter)}`} />
        </>
      );
    case 'parked':
      if (fn.behind !== null) return <>{`it follows ${text(fn.behind)}`}</>;
      return (
        <>
          {fn.dueInMs === null ? null : `due in ${length(Math.max(0, fn.dueInMs))}`}
          <RunNow context={context} fn={fn.function} unit={subject} event={id} />
        </>
      );
    case 'pending':
    case 'lag':
      if (fn.dispatcher !== null) return <>none needed: it is on its way</>;
      return (
        <>
          no dispatcher serves it
          <Command line="millrace start" />
        </>
      );
    case 'done':
    case 'skipped':
    case 'unknown':
      return null;
  }
};

const Waiting: FC<{ event: WaitingEvent }> = ({ event }) => (
  <section>
    <h2>{text(event.id)}</h2>
    <Facts
      facts={[
        ['type', event.type],
        ['subject', text(event.subject)],
        ['where', event.where],
        ['due', <TimeAt ms={event.dueMs} />],
        ['why', text(event.why, 1000)],
      ]}
    />
  </section>
);
