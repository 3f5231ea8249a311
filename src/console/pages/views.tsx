/** Views: versions, rows, what is left to fold, builds, and the changes between versions. */
import type { FC } from 'hono/jsx';
import { readViewStatus, type GenerationStatus, type ViewStatus } from '../../views/view-status.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { ChangeForm, Command, Empty, State, Table } from '../parts.tsx';
import { count, shellWord } from '../page-figures.ts';
import { mayChange, refusalFor } from '../granted.ts';

export async function viewsPage(context: PageContext): Promise<PageContent> {
  const views = await readViewStatus(context.deployment);
  return {
    title: 'Views',
    at: 'console/views',
    content: (
      <>
        {views.length === 0 ? <Empty>There is no view yet.</Empty> : null}
        {views.map((view) => (
          <View context={context} status={view} />
        ))}
        <Command line="millrace view status" />
      </>
    ),
  };
}

function stateOf({ live, previous, build }: GenerationStatus) {
  if (live) return <State tone="good">live</State>;
  if (build !== null) return <State tone="warn">being built</State>;
  return <State tone="quiet">{previous ? 'kept for a rollback' : 'beside the live one'}</State>;
}

const View: FC<{ context: PageContext; status: ViewStatus }> = ({ context, status }) => (
  <section>
    <h2>{status.view}</h2>
    <p>
      <a
        href={`${context.root}console/views/row?${new URLSearchParams({ view: status.view }).toString()}`}
      >
        A row, with the events that made it
      </a>
    </p>
    <Table
      caption={`Versions of ${status.view}`}
      rows={status.generations}
      columns={[
        { title: 'version', cell: ({ version }) => version },
        { title: 'state', cell: stateOf },
        { title: 'rows', right: true, cell: ({ rows }) => count(rows) },
        { title: 'events left to fold', right: true, cell: ({ left }) => count(left) },
        {
          title: 'build',
          cell: ({ build }) =>
            build === null
              ? ''
              : `${count(build.folded)} of ${count(build.events)} events in ${build.partitions} partitions`,
        },
        { title: 'types', cell: ({ types }) => types.join(', ') },
        { title: 'indexes', cell: ({ indexes }) => indexes.join(', ') },
      ]}
    />
    {status.previous === null ? null : (
      <ChangeForm
        title={`Roll ${status.view} back`}
        action={`${context.root}console/views/rollback`}
        allowed={mayChange(context, 'operate')}
        refusal={refusalFor(context, 'operate')}
        command={`millrace view rollback ${shellWord(status.view)}`}
        hidden={{ view: status.view }}
      >
        <p>{`Queries read version ${status.previous} instead of ${status.live} from then on.`}</p>
      </ChangeForm>
    )}
    {status.generations
      .filter(({ live, previous, build }) => !live && !previous && build === null)
      .map(({ version, rows, left }) => (
        <ChangeForm
          title={`Switch ${status.view} to version ${version}`}
          action={`${context.root}console/views/switch`}
          allowed={mayChange(context, 'operate')}
          refusal={refusalFor(context, 'operate')}
          command={`millrace view switch ${shellWord(status.view)} ${version}`}
          hidden={{ view: status.view, version: String(version) }}
        >
          <p>
            {`Queries read version ${version} with ${count(rows)} rows from then on. ${count(left)} events are not folded into it yet. The version is verified first.`}
          </p>
        </ChangeForm>
      ))}
  </section>
);
