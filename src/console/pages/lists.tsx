/** Waiting events, losses, alerts, audit: one table each, the newest first. */
import { readAlerts, readEvaluator } from '../../alerts/alert-store.ts';
import { shownState } from '../../alerts/shown-alert.ts';
import { readSilences } from '../../alerts/silences.ts';
import { readAudit, type AuditedChange } from '../../audit/read-audit.ts';
import { readLosses } from '../../lag/losses.ts';
import { readOutboxes } from '../../outbox/outbox-state.ts';
import { serverTime } from '../../redis/server-time.ts';
import { listScheduled } from '../../upkeep/scheduled-events.ts';
import { readEvent } from '../../wire/batch-reader.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, State, Table, TimeAt } from '../parts.tsx';
import { count, length, size, text } from '../page-figures.ts';

const MOST = 100;

export async function waitingPage({ deployment }: PageContext): Promise<PageContent> {
  const [scheduled, outboxes] = await Promise.all([
    listScheduled(deployment, MOST),
    readOutboxes(deployment),
  ]);
  const filled = outboxes.filter(({ entries }) => entries > 0);
  return {
    title: 'Waiting',
    at: 'console/waiting',
    content: (
      <>
        {scheduled.length === 0 ? (
          <Empty>No event waits for its time.</Empty>
        ) : (
          <Table
            caption={`Scheduled events, the next ${MOST} at most`}
            rows={scheduled}
            columns={[
              { title: 'id', cell: (event) => text(event.id) },
              { title: 'due', cell: (event) => <TimeAt ms={event.dueMs} /> },
              { title: 'type', cell: (event) => event.type },
              { title: 'subject', cell: (event) => text(subjectOf(event.bytes)) },
              { title: 'partition', right: true, cell: (event) => event.partition },
            ]}
          />
        )}
        <Command line={`millrace scheduled list --limit ${MOST}`} />
        {filled.length === 0 ? (
          <Empty>No emitted event waits for another partition.</Empty>
        ) : (
          <Table
            caption="Outboxes"
            rows={filled}
            columns={[
              { title: 'partition', cell: ({ partition }) => partition },
              { title: 'flushes', right: true, cell: ({ entries }) => count(entries) },
              { title: 'size', right: true, cell: ({ bytes }) => size(bytes) },
              { title: 'oldest', right: true, cell: ({ oldestMs }) => length(oldestMs) },
              {
                title: 'for the partitions',
                cell: ({ targets }) => targets.map(({ partition }) => partition).join(', '),
              },
            ]}
          />
        )}
        <Command line="millrace outbox" />
      </>
    ),
  };
}

/** A record that cannot be read has no subject. */
function subjectOf(bytes: Uint8Array): string {
  try {
    return readEvent(bytes).subject;
  } catch {
    return '(unreadable)';
  }
}

export async function lossesPage({ deployment }: PageContext): Promise<PageContent> {
  const losses = (await readLosses(deployment)).sort((a, b) => b.atMs - a.atMs);
  return {
    title: 'Losses',
    at: 'console/losses',
    content: (
      <>
        {losses.length === 0 ? (
          <p>
            <State tone="good">No loss was ever noted</State>
          </p>
        ) : (
          <Table
            caption={`The newest ${Math.min(MOST, losses.length)} of ${losses.length} notes`}
            rows={losses.slice(0, MOST)}
            columns={[
              { title: 'when', cell: ({ atMs }) => <TimeAt ms={atMs} /> },
              { title: 'kind', cell: ({ kind }) => kind },
              { title: 'function', cell: (loss) => loss.function ?? '–' },
              { title: 'type', cell: (loss) => loss.type ?? '–' },
              { title: 'partition', right: true, cell: ({ partition }) => partition },
              { title: 'count', right: true, cell: (loss) => count(loss.count) },
              { title: 'message', cell: ({ message }) => text(message, 600) },
            ]}
          />
        )}
        <Command line="millrace losses" />
      </>
    ),
  };
}

export async function auditPage({ deployment, access }: PageContext): Promise<PageContent> {
  const changes = await readAudit(deployment, MOST);
  return {
    title: 'Audit',
    at: 'console/audit',
    content: (
      <>
        {changes.length === 0 ? (
          <Empty>Nobody has changed anything yet.</Empty>
        ) : (
          <Table
            caption={`The newest ${MOST} changes at most`}
            rows={changes}
            columns={[
              { title: 'when', cell: ({ atMs }) => <TimeAt ms={atMs} /> },
              { title: 'who', cell: ({ who, via }) => `${text(who)} (${via})` },
              { title: 'change', cell: ({ action, target }) => `${action} ${text(target)}` },
              {
                title: 'outcome',
                cell: ({ outcome }) => (
                  <State tone={outcome === 'done' ? 'good' : outcome === 'open' ? 'warn' : 'bad'}>
                    {outcome}
                  </State>
                ),
              },
              { title: 'wanted', cell: ({ wanted }) => json(wanted) },
              { title: 'after', cell: ({ after, error }) => text(error ?? json(after)) },
              ...(access === 'full'
                ? [{ title: 'data', cell: ({ data }: AuditedChange) => json(data) }]
                : []),
            ]}
          />
        )}
        <Command line="millrace audit" />
      </>
    ),
  };
}

const json = (value: unknown): string =>
  value === null || value === undefined ? '' : text(JSON.stringify(value), 300);

export async function alertsPage({ deployment }: PageContext): Promise<PageContent> {
  const nowMs = await serverTime(deployment);
  const [state, silences, evaluator] = await Promise.all([
    readAlerts(deployment),
    readSilences(deployment, nowMs),
    readEvaluator(deployment),
  ]);
  const alerts = [...state.alerts.values()].sort((a, b) => b.pendingMs - a.pendingMs);
  return {
    title: 'Alerts',
    at: 'console/alerts',
    content: (
      <>
        <p>
          {evaluator === null ? (
            <State tone="bad">Nobody evaluates alerts now</State>
          ) : (
            <State tone="good">{`Evaluated by ${text(evaluator)}`}</State>
          )}{' '}
          {state.evaluated === null ? '' : <TimeAt ms={state.evaluated.atMs} />}
        </p>
        {alerts.length === 0 ? (
          <Empty>No alert has fired.</Empty>
        ) : (
          <Table
            caption="Alerts"
            rows={alerts}
            columns={[
              { title: 'alert', cell: ({ name }) => name },
              {
                title: 'state',
                cell: (alert) => {
                  const shown = shownState(alert, silences);
                  return <State tone={shown === 'firing' ? 'bad' : 'quiet'}>{shown}</State>;
                },
              },
              {
                title: 'about',
                cell: ({ labels }) =>
                  text(
                    Object.entries(labels)
                      .map(([name, value]) => `${name} ${value}`)
                      .join(', '),
                  ),
              },
              { title: 'summary', cell: ({ summary }) => text(summary, 600) },
              { title: 'since', cell: ({ pendingMs }) => <TimeAt ms={pendingMs} /> },
            ]}
          />
        )}
        <Command line="millrace alerts list" />
      </>
    ),
  };
}
