/** A rehearsal: what the function as it is now would do with a dead event. */
import type { FC } from 'hono/jsx';
import type { Rehearsal } from '../../mend/rehearse.ts';
import type { Differences } from '../../mend/field-differences.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Facts, Long, State, Table, type Tone } from '../parts.tsx';
import { length, shellWord, text } from '../page-figures.ts';

const TONES: Record<Rehearsal['outcome'], Tone> = {
  done: 'good',
  failed: 'bad',
  waits: 'warn',
  'not-run': 'quiet',
};

export function rehearsalPage({ root, access }: PageContext, rehearsal: Rehearsal): PageContent {
  const { failure, rows, emitted, output } = rehearsal;
  const full = access === 'full';
  return {
    title: 'Rehearsal',
    at: 'console/dead',
    content: (
      <>
        <p>
          <State tone={TONES[rehearsal.outcome]}>{rehearsal.outcome}</State>{' '}
          {rehearsal.problem === null ? '' : text(rehearsal.problem, 1000)}
        </p>
        <p class={rehearsal.externalEffects === 'happened' ? 'notice bad' : 'notice'}>
          {rehearsal.externalEffects === 'happened'
            ? 'Nothing was written to Redis. Effects of the handler outside Millrace (HTTP, other databases, files) were not caught: they have happened.'
            : 'Nothing was written, and nothing happened outside.'}
        </p>
        <Facts
          facts={[
            [
              'letter',
              <a href={`${root}console/letter?id=${encodeURIComponent(rehearsal.letter)}`}>
                {rehearsal.letter}
              </a>,
            ],
            ['function', rehearsal.function ?? '–'],
            ['version', text(rehearsal.version ?? '–', 20)],
            ['type', text(rehearsal.type)],
            ['subject', text(rehearsal.subject)],
            ['time', length(rehearsal.durationMs)],
          ]}
        />
        <Failure failure={failure} full={full} />
        <Rows rows={rows} full={full} />
        <Emitted emitted={emitted} full={full} />
        {output.length === 0 || !full ? null : (
          <>
            <h2>Output</h2>
            <Long value={output.map((piece) => piece.text).join('')} />
          </>
        )}
        <Command line={`millrace dlq rehearse ${shellWord(rehearsal.letter)}`} />
      </>
    ),
  };
}

const Failure: FC<{ failure: Rehearsal['failure']; full: boolean }> = ({ failure, full }) =>
  failure === null ? null : (
    <>
      <h2>{`Failure${failure.asBefore === null ? '' : failure.asBefore ? ', as before' : ', another fault than before'}`}</h2>
      <p>
        {full
          ? text(`${failure.error.name}: ${failure.error.message}`, 2000)
          : text(failure.error.name)}
      </p>
      {full && failure.error.stack !== '' ? <Long value={failure.error.stack} /> : null}
    </>
  );

const Rows: FC<{ rows: Rehearsal['rows']; full: boolean }> = ({ rows, full }) =>
  rows === null ? null : (
    <>
      <h2>Rows that the view would write</h2>
      {rows.length === 0 ? <Empty>None.</Empty> : null}
      {full ? (
        rows.map((row) => (
          <Changes
            caption={`Row ${text(row.id)}: ${row.eventsBefore} to ${row.eventsAfter} events`}
            differences={row.differences}
          />
        ))
      ) : (
        <Empty>{`${rows.length} rows. Your token may not see their content.`}</Empty>
      )}
    </>
  );

const Emitted: FC<{ emitted: Rehearsal['emitted']; full: boolean }> = ({ emitted, full }) =>
  emitted.length === 0 ? null : (
    <Table
      caption="Events that would be emitted"
      rows={emitted}
      columns={[
        { title: 'type', cell: ({ type }) => type },
        { title: 'subject', cell: ({ subject }) => text(subject) },
        { title: 'id', cell: ({ id }) => text(id) },
        {
          title: 'when',
          cell: ({ when }) =>
            when === null
              ? 'at once'
              : when.kind === 'delay'
                ? `after ${length(when.ms)}`
                : new Date(when.ms).toISOString(),
        },
        {
          title: 'data',
          cell: ({ data, problem }) =>
            problem ?? (full ? text(JSON.stringify(data) ?? '', 500) : 'not shown'),
        },
      ]}
    />
  );

export const Changes: FC<{ caption: string; differences: Differences }> = ({
  caption,
  differences,
}) =>
  differences.list.length === 0 ? (
    <Empty>{`${caption}: no difference.`}</Empty>
  ) : (
    <Table
      caption={`${caption}${differences.more ? ' (the first differences)' : ''}`}
      rows={differences.list}
      columns={[
        { title: 'field', cell: ({ path }) => (path === '' ? '(all)' : text(path)) },
        { title: 'before', cell: (one) => json(one.before) },
        { title: 'after', cell: (one) => json(one.after) },
      ]}
    />
  );

const json = (value: unknown): string =>
  value === undefined ? '(none)' : text(JSON.stringify(value) ?? '', 500);
