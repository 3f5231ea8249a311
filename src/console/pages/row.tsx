/** A row of a view: its value, and the events that made it. */
import type { FC } from 'hono/jsx';
import { WHOLE_LIMITS, type Cut } from '../../payload/shown-payload.ts';
import { findGeneration, type Generation } from '../../views/generations.ts';
import { traceRow } from '../../views/row-trace.ts';
import { showTrace, type ShownRowEvent, type ShownTrace } from '../../views/show-trace.ts';
import { ChangedValues } from '../changed-values.tsx';
import type { PageContent, PageContext } from '../page.tsx';
import { count, shellWord, text } from '../page-figures.ts';
import { Command, Empty, Facts, State, TimeAt } from '../parts.tsx';
import { Value } from '../shown-value.tsx';

/** Most events of the streams that a page looks at. */
const SCAN = 1000;

/** @throws UnknownViewError, ViewGenerationError, InvalidTextError */
export async function rowPage(context: PageContext): Promise<PageContent> {
  const { deployment, c } = context;
  const [view, id] = [c.req.query('view') ?? '', c.req.query('id') ?? ''];
  const version = Number(c.req.query('version'));
  const generation = await findGeneration(deployment, view, version > 0 ? version : undefined);
  return {
    title: id === '' ? `Rows of ${text(view)}` : `${text(view)} ${text(id)}`,
    at: 'console/views',
    content: (
      <>
        <form class="find" method="get" role="search">
          <input type="hidden" name="view" value={view} />
          <input type="hidden" name="version" value={String(generation.version)} />
          <label>
            Id of the row
            <input name="id" value={id} required />
          </label>
          <button type="submit" class="primary">
            Show
          </button>
        </form>
        {id === '' ? (
          <Empty>A row has the id of its subject.</Empty>
        ) : (
          await rowOf(context, generation, id)
        )}
      </>
    ),
  };
}

async function rowOf(context: PageContext, generation: Generation, id: string) {
  const { deployment, shapes, access, c, folds } = context;
  const fold = folds().find(({ spec }) => spec.name === generation.name) ?? null;
  const wantsRow = c.req.query('whole') === 'row';
  const shown = await showTrace(
    await traceRow(deployment, generation, id, {
      // A reader who sees no rows need not wait for their fold.
      fold: access === 'full' ? fold : null,
      scan: SCAN,
    }),
    shapes.find,
    access,
    ...(wantsRow ? [WHOLE_LIMITS] : []),
  );
  const { view, version } = generation;
  const wholeRow = (): string =>
    `?${new URLSearchParams({ view, id, version: String(version), whole: 'row' }).toString()}`;
  const row = shown.row === null ? null : <Value value={shown.row.value} whole={wholeRow} />;
  if (wantsRow) return row ?? <Empty>There is no such row.</Empty>;
  return (
    <>
      <RowFacts trace={shown} />
      {row}
      <h2>Events that made it</h2>
      {shown.events.length === 0 ? <Empty>None was found.</Empty> : null}
      <ol class="steps">
        {shown.events.map((event) => (
          <Made root={context.root} id={id} event={event} wholeRow={wholeRow} />
        ))}
      </ol>
      <Command line={`millrace view trace ${shellWord(view)} ${shellWord(id)}`} />
    </>
  );
}

const RowFacts: FC<{ trace: ShownTrace }> = ({ trace }) => {
  const { version, row, damaged, missing, searched, folded } = trace;
  return (
    <>
      <Facts
        facts={[
          ['version', version],
          ['partition', trace.partition],
          ['events folded', row === null ? '–' : count(row.revision)],
          ['last event', row?.position ?? '–'],
        ]}
      />
      {damaged === null ? null : <p class="notice bad">{text(damaged, 600)}</p>}
      {row === null && damaged === null ? <Empty>There is no such row.</Empty> : null}
      {missing === 0 ? null : (
        <p class="muted">
          {`${count(missing)} events or more were not found: looked at ${count(searched.scanned)} events of the streams${searched.complete ? ', which is all of them' : ''}, and into the histories of ${searched.categories.join(', ') || 'no category'}.`}
        </p>
      )}
      {folded === null ? null : (
        <p>
          {folded.problem !== null ? (
            <State tone="bad">
              {`The event at ${folded.problem.position} cannot be folded: ${text(folded.problem.error.message ?? '')}`}
            </State>
          ) : folded.same ? (
            <State tone="good">A fold of these events leads to this row</State>
          ) : (
            <State tone="bad">A fold of these events leads to another row</State>
          )}
        </p>
      )}
    </>
  );
};

const Made: FC<{
  root: string;
  id: string;
  event: ShownRowEvent;
  wholeRow: (cut: Cut) => string;
}> = ({ root, id, event, wholeRow }) => {
  const { type, position, timeMs, history, later, data, changes } = event;
  // Retention takes events out of the streams, and leaves the histories.
  const page = (path?: string): string =>
    history === null
      ? `${root}console/event?${new URLSearchParams({ where: position, ...(path && { path }) }).toString()}`
      : `${root}console/history?${new URLSearchParams({
          category: history.category,
          id,
          ...(path
            ? { whole: String(history.revision), path }
            : { first: String(history.revision) }),
        }).toString()}`;
  return (
    <li>
      <details>
        <summary>
          <strong>{type}</strong> <TimeAt ms={timeMs} />
          {history === null ? '' : ` ${history.category} ${history.revision}`}
          {later ? ' (not in the row)' : ''}
        </summary>
        <div>
          <p>
            <a href={page()}>{position}</a>
          </p>
          {changes === null ? null : (
            <ChangedValues title="Changed in the row" difference={changes} whole={wholeRow} />
          )}
          <Value value={data} whole={({ path }) => page(JSON.stringify(path))} />
        </div>
      </details>
    </li>
  );
};
