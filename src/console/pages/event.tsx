/** One event: attributes, data, its state for each function, its causes and effects as a tree. */
import type { FC } from 'hono/jsx';
import { eventStates } from '../../find/event-states.ts';
import { EventNotFoundError } from '../../find/find-errors.ts';
import type { FoundEvent } from '../../find/found-event.ts';
import { lookUpEvents } from '../../find/look-up-events.ts';
import { traceEvent } from '../../find/trace-event.ts';
import type { EventTree, TracedEvent, TraceNode, TraceStep } from '../../find/event-tree.ts';
import { showData, wholeValueAt } from '../../payload/show-data.ts';
import { NO_ACCESS, showUndecoded, type Cut, type Shown } from '../../payload/shown-payload.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Facts, State, TimeAt } from '../parts.tsx';
import { readEventBytes } from '../reads/event-bytes.ts';
import { count, length, shellWord, text } from '../page-figures.ts';
import { Value } from '../shown-value.tsx';
import { readValuePath } from '../value-path.ts';
import { StateTable } from './find.tsx';

/** Bounds of a trace: a page answers within some hundred milliseconds. */
const TRACE = { maxEvents: 2000, maxMs: 150, most: 100, share: 1 } as const;

/** @throws EventNotFoundError, FindOptionError, InvalidTextError */
export async function eventPage(context: PageContext): Promise<PageContent> {
  const where = context.c.req.query('where') ?? '';
  const { deployment } = context;
  const [event] = (await lookUpEvents(deployment, { position: where })).events;
  if (event === undefined)
    throw new EventNotFoundError(`the event at ${where}`, 'Its entry is not in the stream');
  const [states, tree, data] = await Promise.all([
    eventStates(deployment, event, { quotes: context.access === 'full' }),
    traceEvent(deployment, { position: where }, TRACE),
    dataOf(context, event),
  ]);
  const whole = (cut: Cut): string =>
    `?${new URLSearchParams({ where, path: JSON.stringify(cut.path) }).toString()}`;
  return {
    title: text(event.id),
    at: 'console/find',
    content: (
      <>
        <Attributes root={context.root} event={event} />
        <h2>Data</h2>
        <Value value={data} whole={whole} />
        <h2>For each function</h2>
        <StateTable
          context={context}
          id={event.id}
          subject={event.subject}
          states={states.flatMap(({ state }) => (state === null ? [] : [state]))}
        />
        <h2>Causes and effects</h2>
        <Tree root={context.root} tree={tree} />
        <Command line={`millrace trace ${shellWord(where)}`} />
        <Command line={`millrace explain ${shellWord(event.id)}`} />
      </>
    ),
  };
}

const Attributes: FC<{ root: string; event: FoundEvent }> = ({ root, event }) => (
  <Facts
    facts={[
      ['type', event.type],
      [
        'subject',
        <a href={`${root}console/find?subject=${encodeURIComponent(event.subject)}`}>
          {text(event.subject)}
        </a>,
      ],
      ['source', text(event.source)],
      ['position', event.where],
      ['published', <TimeAt ms={event.timeMs} />],
      ['appended', <TimeAt ms={event.appendedMs} />],
      ['schema', event.schema === 0 ? 'none named' : `id ${event.schema}`],
      ...Object.entries(event.extensions).map(
        ([name, value]) => [text(name, 40), text(value)] as const,
      ),
    ]}
  />
);

/** Returns the data as the client may see it: all of it, or the value at the asked path. */
async function dataOf(context: PageContext, event: FoundEvent): Promise<Shown> {
  const { access, shapes, deployment, c } = context;
  if (access === 'none') return NO_ACCESS;
  const found = await readEventBytes(deployment, event.type, event.where);
  if (found === null) return { kind: 'unreadable', problem: 'its entry is gone' };
  const shape = await shapes.find(event.type, found.schema);
  if (shape === null) return showUndecoded(found.data, access);
  const path = readValuePath(c.req.query('path'));
  if (path === null) return showData(shape, found.data, access);
  return (
    wholeValueAt(shape, found.data, path, access) ?? {
      kind: 'unreadable',
      problem: 'there is no such value',
    }
  );
}

const eventPath = (root: string, where: string): string =>
  `${root}console/event?where=${encodeURIComponent(where)}`;

const Traced: FC<{ root: string; event: TracedEvent }> = ({ root, event }) => (
  <>
    <strong>{event.type}</strong>{' '}
    {event.where === null ? (
      text(event.id)
    ) : (
      <a href={eventPath(root, event.where)}>{text(event.id)}</a>
    )}{' '}
    <span class="muted">{text(event.subject)}</span>
  </>
);

const Tree: FC<{ root: string; tree: EventTree }> = ({ root, tree }) => (
  <>
    {tree.causes.length === 0 ? null : (
      <>
        <p>
          {tree.complete ? 'Caused by, the first one first:' : 'Caused by (not all was found):'}
        </p>
        <ol class="tree">
          {tree.causes.map((event) => (
            <li>
              <Traced root={root} event={event} />
            </li>
          ))}
        </ol>
      </>
    )}
    {tree.root.steps.length === 0 ? (
      <Empty>No function has read it.</Empty>
    ) : (
      <ul class="tree">
        <Node root={root} node={tree.root} />
      </ul>
    )}
    <p class="muted">
      {`${count(tree.events)} events, ${length(tree.totalMs)} from the first publish to the last append. Searched ${count(tree.searched.back)} events back and ${count(tree.searched.forward)} forward.`}
    </p>
    {tree.notes.map((note) => (
      <p class="muted">{text(note, 500)}</p>
    ))}
  </>
);

const Node: FC<{ root: string; node: TraceNode }> = ({ root, node }) => (
  <li>
    <Traced root={root} event={node.event} />{' '}
    {node.untilAppendMs === null ? null : (
      <span class="muted">{`appended after ${length(node.untilAppendMs)}`}</span>
    )}
    {node.again ? <span class="muted"> (there already)</span> : null}
    {node.event.waits === null ? null : (
      <span class="muted">{` waits in the ${node.event.waits.kind}`}</span>
    )}
    {node.steps.length === 0 ? null : (
      <ul class="tree">
        {node.steps.map((step) => (
          <Step root={root} step={step} />
        ))}
      </ul>
    )}
  </li>
);

const Step: FC<{ root: string; step: TraceStep }> = ({ root, step }) => (
  <li>
    <State
      tone={step.state?.state === 'dead' ? 'bad' : step.state?.state === 'done' ? 'good' : 'quiet'}
    >
      {`${step.function}: ${step.state?.state ?? 'not asked'}`}
    </State>{' '}
    {step.doneWithinMs === null ? null : (
      <span class="muted">{`done within ${length(step.doneWithinMs)}`}</span>
    )}
    {step.emitted.length === 0 ? null : (
      <ul class="tree">
        {step.emitted.map((node) => (
          <Node root={root} node={node} />
        ))}
      </ul>
    )}
  </li>
);
