/** Lanes: functions by partitions with their owners, and the dispatchers with their threads. */
import type { FC } from 'hono/jsx';
import { dispatcherOf, epochOf } from '../../core/lease-value.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import { readPresences, type LaneWork, type Presence } from '../../pipeline/ownership/presence.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, State, Table } from '../parts.tsx';
import { count, length, size, text } from '../page-figures.ts';

/** Functions whose lanes a page shows, and the first of them. */
const PAGE = 20;

interface Lanes {
  readonly fn: string;
  /** Owner and epoch of each partition's lane; null: nobody. */
  readonly owners: readonly ({ readonly dispatcher: string; readonly epoch: string } | null)[];
}

export async function lanesPage(context: PageContext): Promise<PageContent> {
  const { functions } = await context.lag();
  const from = Math.max(0, Number(context.c.req.query('from') ?? 0) || 0);
  const shown = functions.slice(from, from + PAGE);
  const lanes = await Promise.all(shown.map(({ name }) => readLanes(context, name)));
  const names = [
    ...new Set(lanes.flatMap(({ owners }) => owners.flatMap((one) => one?.dispatcher ?? []))),
  ].sort();
  const { connection, keys } = context.deployment;
  const presences = await readPresences(connection, keys, names);
  return {
    title: 'Lanes',
    at: 'console/lanes',
    content: (
      <>
        <p class="muted">
          A lane is one function in one partition. One dispatcher owns it by a lease.
        </p>
        <Dispatchers names={names} presences={presences} />
        {lanes.length === 0 ? (
          <Empty>No function has lanes.</Empty>
        ) : (
          <Owners
            lanes={lanes}
            names={names}
            partitions={context.deployment.partitions}
            work={workOf(presences)}
            stallMs={context.deployment.environment.MILLRACE_STALL_MS}
          />
        )}
        {functions.length > from + PAGE ? (
          <p>
            <a
              href={`?from=${from + PAGE}`}
            >{`Next functions (${count(functions.length - from - PAGE)} more)`}</a>
          </p>
        ) : null}
        <Command line="millrace top" />
      </>
    ),
  };
}

/** Work of the lanes, by `function/partition`. */
function workOf(presences: readonly Presence[]): ReadonlyMap<string, LaneWork> {
  const all = presences.flatMap(({ work }) => work ?? []);
  return new Map(all.map((one) => [`${one.function}/${one.partition}`, one]));
}

async function readLanes({ deployment }: PageContext, fn: string): Promise<Lanes> {
  const { connection, keys, partitions } = deployment;
  const leases = (await Promise.all(
    Array.from({ length: partitions }, (_, partition) =>
      connection.command('GET', keys.lease(partition, laneName(fn, OWNER))),
    ),
  )) as (string | null)[];
  return {
    fn,
    owners: leases.map((lease) =>
      lease === null ? null : { dispatcher: dispatcherOf(lease), epoch: epochOf(lease) },
    ),
  };
}

function Dispatchers({
  names,
  presences,
}: {
  readonly names: readonly string[];
  readonly presences: readonly Presence[];
}) {
  if (names.length === 0)
    return (
      <p>
        <State tone="bad">No dispatcher owns a lane</State>: start one with{' '}
        <code>millrace start</code>.
      </p>
    );
  const of = (name: string): Presence | undefined =>
    presences.find(({ dispatcher }) => dispatcher === name);
  return (
    <Table
      caption="Dispatchers"
      rows={names}
      columns={[
        { title: 'dispatcher', cell: (name) => `${names.indexOf(name) + 1}: ${name}` },
        { title: 'version', cell: (name) => of(name)?.version ?? '–' },
        { title: 'up', right: true, cell: (name) => length(of(name)?.upMs) },
        { title: 'lanes', right: true, cell: (name) => of(name)?.lanes ?? '–' },
        {
          title: 'threads busy',
          right: true,
          cell: (name) => {
            const one = of(name);
            return one === undefined ? '–' : `${one.busy} of ${one.threads}`;
          },
        },
        { title: 'batches queued', right: true, cell: (name) => of(name)?.queued ?? '–' },
        { title: 'thread deaths', right: true, cell: (name) => of(name)?.threadDeaths ?? '–' },
        {
          title: 'memory',
          right: true,
          cell: (name) => {
            const one = of(name);
            return one === undefined ? '–' : size(one.rssBytes);
          },
        },
      ]}
    />
  );
}

function Owners({
  lanes,
  names,
  partitions,
  work,
  stallMs,
}: {
  readonly lanes: readonly Lanes[];
  readonly names: readonly string[];
  readonly partitions: number;
  readonly work: ReadonlyMap<string, LaneWork>;
  /** Time without progress from which on a lane is shown as stalled, ms. */
  readonly stallMs: number;
}) {
  return (
    <div class="scroll" tabindex={0} role="region" aria-label="Owners of the lanes">
      <table class="lanes">
        <caption>
          Owners: the number is that of the dispatcher above. A lane at work shows its step, and the
          time since it got something done
        </caption>
        <thead>
          <tr>
            <th scope="col">function</th>
            {Array.from({ length: partitions }, (_, partition) => (
              <th scope="col">{partition}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lanes.map(({ fn, owners }) => (
            <tr>
              <th scope="row">{fn}</th>
              {owners.map((owner, partition) => (
                <td class="lane">
                  {owner === null ? (
                    <State tone="bad">none</State>
                  ) : (
                    <span title={`${owner.dispatcher}, epoch ${owner.epoch}`}>
                      {names.indexOf(owner.dispatcher) + 1}
                    </span>
                  )}
                  <Work of={work.get(`${fn}/${partition}`)} stallMs={stallMs} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const Work: FC<{ of: LaneWork | undefined; stallMs: number }> = ({ of, stallMs }) =>
  of === undefined ? null : of.quietMs > stallMs || of.doing === 'failing' ? (
    <State tone="bad">{`${text(of.doing)} ${length(of.quietMs)}`}</State>
  ) : (
    <span class="muted">{` ${text(of.doing)} ${length(of.quietMs)}`}</span>
  );
