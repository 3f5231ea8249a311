/** Schemas: versions, their differences and users, and the effects of a deletion. */
import type { FC } from 'hono/jsx';
import { readSchemaUsers, type SchemaUsers } from '../../registry/schema-users.ts';
import { textDifferences, type FileDifference } from '../../registry/text-difference.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Facts, Table, TimeAt } from '../parts.tsx';
import { count, shellWord, text } from '../page-figures.ts';

const MOST = 100;

export async function schemasPage({ deployment, root }: PageContext): Promise<PageContent> {
  const { registry } = deployment;
  const subjects = (await registry.subjects()).sort();
  const shown = subjects.slice(0, MOST);
  const rows = await Promise.all(
    shown.map(async (subject) => ({
      subject,
      versions: await registry.versions(subject),
      level: await registry.level(subject),
    })),
  );
  return {
    title: 'Schemas',
    at: 'console/schemas',
    content: (
      <>
        {rows.length === 0 ? (
          <Empty>No schema is registered yet.</Empty>
        ) : (
          <Table
            caption={`${shown.length} of ${subjects.length} event types`}
            rows={rows}
            columns={[
              {
                title: 'subject',
                cell: ({ subject }) => (
                  <a href={`${root}console/schema?subject=${encodeURIComponent(subject)}`}>
                    {text(subject)}
                  </a>
                ),
              },
              {
                title: 'versions',
                cell: ({ versions }) => versions.map(({ version }) => version).join(', '),
              },
              {
                title: 'newest id',
                right: true,
                cell: ({ versions }) => versions.at(-1)?.id ?? '–',
              },
              {
                title: 'compatibility',
                cell: ({ level }) => `${level.level}${level.own ? '' : ' (of the deployment)'}`,
              },
            ]}
          />
        )}
        <Command line="millrace schema list" />
      </>
    ),
  };
}

/** @throws RegistryInputError */
export async function schemaPage(context: PageContext): Promise<PageContent> {
  const subject = context.c.req.query('subject') ?? '';
  const { deployment } = context;
  const users = await readSchemaUsers(deployment, subject);
  const { versions } = users;
  const [before, after] = versions.slice(-2);
  const differences =
    before === undefined || after === undefined ? [] : await between(context, before.id, after.id);
  return {
    title: text(subject),
    at: 'console/schemas',
    content: (
      <>
        {versions.length === 0 ? <Empty>The registry has no version of it.</Empty> : null}
        <Writers users={users} />
        <Readers users={users} />
        {differences.length === 0 ? null : (
          <>
            <h2>{`From version ${before?.version ?? ''} to ${after?.version ?? ''}`}</h2>
            {differences.map((file) => (
              <Differences file={file} />
            ))}
          </>
        )}
        <Command line={`millrace schema users ${shellWord(subject)}`} />
        <Command line={`millrace schema diff ${shellWord(subject)}`} />
      </>
    ),
  };
}

async function between(
  { deployment: { registry } }: PageContext,
  before: number,
  after: number,
): Promise<FileDifference[]> {
  const [older, newer] = await Promise.all([registry.schema(before), registry.schema(after)]);
  return textDifferences(older.files, newer.files);
}

const Writers: FC<{ users: SchemaUsers }> = ({ users: { written, sample } }) => (
  <>
    {written.length === 0 ? (
      <Empty>No entry of this type is in the streams.</Empty>
    ) : (
      <Table
        caption="Writers: the newest entries, a sample"
        rows={written}
        columns={[
          {
            title: 'version',
            cell: ({ version, schema }) =>
              version ?? (schema === 0 ? 'none named' : `id ${schema}, no version of it`),
          },
          { title: 'events', right: true, cell: ({ events }) => count(events) },
          { title: 'newest', cell: ({ newestMs }) => <TimeAt ms={newestMs} /> },
          { title: 'sources', cell: ({ sources }) => text(sources.join(', ')) },
        ]}
      />
    )}
    <Facts
      facts={[
        ['entries looked at', `${count(sample.entries)} of ${count(sample.ofEntries)}`],
        ['events in them', count(sample.events)],
        ['unreadable entries', count(sample.unreadable)],
      ]}
    />
  </>
);

const Readers: FC<{ users: SchemaUsers }> = ({ users: { readers } }) =>
  readers.length === 0 ? (
    <Empty>No function reads this type.</Empty>
  ) : (
    <Table
      caption="Readers"
      rows={readers}
      columns={[
        { title: 'function', cell: ({ name }) => name },
        {
          title: 'version',
          cell: ({ dispatchers }) =>
            [...new Set(dispatchers.map(({ version }) => String(version ?? 'not known')))].join(
              ', ',
            ) || 'no dispatcher serves it',
        },
        { title: 'dispatchers', right: true, cell: ({ dispatchers }) => dispatchers.length },
      ]}
    />
  );

const SIGNS = { same: ' ', added: '+', removed: '-' } as const;

const Differences: FC<{ file: FileDifference }> = ({ file }) => (
  <>
    <p>
      <code>{text(file.name)}</code> {file.kind}
    </p>
    <pre>
      {file.hunks.map(({ before, after, lines }) => (
        <>
          <span class="muted">{`@@ line ${before} to line ${after}\n`}</span>
          {lines.map(({ kind, text: line }) => (
            <span class={kind}>{`${SIGNS[kind]}${text(line, 500)}\n`}</span>
          ))}
        </>
      ))}
    </pre>
    {file.more ? <p class="muted">Further lines are left out.</p> : null}
  </>
);
