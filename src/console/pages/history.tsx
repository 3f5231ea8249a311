/** A history with a slider: its events, the state after each, and what each one changed. */
import type { FC } from 'hono/jsx';
import {
  readSlider,
  wholeEventValue,
  type Slider,
  type SliderStep,
} from '../../store/history-slider.ts';
import { PAGE_LIMITS, WHOLE_LIMITS, type Cut, type Shown } from '../../payload/shown-payload.ts';
import { viewSteps } from '../../views/history-steps.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, Empty, Facts, TimeAt } from '../parts.tsx';
import { count, shellWord, text } from '../page-figures.ts';
import { ChangedValues } from '../changed-values.tsx';
import { Value } from '../shown-value.tsx';
import { readValuePath } from '../value-path.ts';

/** Events of a page. */
const EVENTS = 20;

export async function historyPage(context: PageContext): Promise<PageContent> {
  const value = (name: string): string => context.c.req.query(name) ?? '';
  const [category, id] = [value('category'), value('id')];
  return {
    title: id === '' ? 'Histories' : `${text(category)} ${text(id)}`,
    at: 'console/history',
    content: (
      <>
        <form class="find" method="get" role="search">
          <label>
            Category
            <input name="category" value={category} required />
          </label>
          <label>
            Id
            <input name="id" value={id} required />
          </label>
          <button type="submit" class="primary">
            Show
          </button>
        </form>
        {category === '' || id === '' ? (
          <Empty>A history has all events of one aggregate, in order.</Empty>
        ) : (
          await historyOf(context, category, id)
        )}
      </>
    ),
  };
}

async function historyOf(context: PageContext, category: string, id: string) {
  const { deployment, shapes, access, c, folds } = context;
  const number = (name: string): number | undefined => {
    const value = Number(c.req.query(name));
    return Number.isSafeInteger(value) && value > 0 ? value : undefined;
  };
  const [first, at, revision] = [number('first'), number('at'), number('whole')];
  const parts = { source: deployment, shapeOf: shapes.find, access };
  if (revision !== undefined)
    return <Whole value={await wholeOf(context, parts, { category, id, revision })} />;
  const wantsState = c.req.query('whole') === 'state';
  const view = c.req.query('view') ?? '';
  const fold = folds().find(({ spec }) => spec.name === view);
  const slider = await readSlider(
    {
      ...parts,
      steps: fold === undefined ? null : viewSteps(deployment, fold),
      limits: wantsState ? WHOLE_LIMITS : PAGE_LIMITS,
    },
    category,
    id,
    {
      events: EVENTS,
      ...(first !== undefined && { first }),
      ...(at !== undefined && { at }),
    },
  );
  if (slider.revision === 0) return <Empty>There is no such history.</Empty>;
  if (wantsState) return <Whole value={slider.folded?.state ?? null} />;
  const link = (more: Record<string, string>): string =>
    `?${new URLSearchParams({ category, id, ...(view === '' ? {} : { view }), ...more }).toString()}`;
  const views = folds().map(({ spec }) => spec.name);
  return (
    <>
      <Facts
        facts={[
          ['revision', count(slider.revision)],
          ['partition', slider.partition],
          ['state by', slider.folded?.by ?? 'no view is chosen'],
        ]}
      />
      {views.length === 0 ? null : (
        <p>
          {'State by the view '}
          {views.map((name) => (
            <>
              <a
                href={`?${new URLSearchParams({ category, id, view: name }).toString()}`}
                aria-current={name === view ? 'true' : undefined}
              >
                {name}
              </a>{' '}
            </>
          ))}
        </p>
      )}
      <Steps slider={slider} link={link} />
      <Pages slider={slider} link={link} />
      <Command line={`millrace history ${shellWord(category)} ${shellWord(id)}`} />
    </>
  );
}

/** Returns one value of an event whole. Null: there is none. */
function wholeOf(
  { c }: PageContext,
  parts: Parameters<typeof wholeEventValue>[0],
  event: Parameters<typeof wholeEventValue>[1],
): Promise<Shown | null> {
  return wholeEventValue(parts, event, readValuePath(c.req.query('path')) ?? []);
}

const Whole: FC<{ value: Shown | null }> = ({ value }) =>
  value === null ? <Empty>There is no such value.</Empty> : <Value value={value} whole={noWay} />;

/** Way of a value that is shown whole already. */
const noWay = (): string => '#';

type Link = (more: Record<string, string>) => string;

const Pages: FC<{ slider: Slider; link: Link }> = ({ slider, link }) => (
  <p>
    {slider.previous === null ? null : (
      <a href={link({ first: String(slider.previous) })}>Earlier events</a>
    )}{' '}
    {slider.next === null ? null : <a href={link({ first: String(slider.next) })}>Later events</a>}
  </p>
);

const Steps: FC<{ slider: Slider; link: Link }> = ({ slider, link }) => {
  const { steps, folded } = slider;
  const first = steps[0]?.revision ?? 1;
  const last = steps.at(-1)?.revision ?? 1;
  const at = folded?.at ?? last;
  const page = { first: String(first) };
  const wholeState = (revision: number) => (): string =>
    link({ ...page, at: String(revision), whole: 'state' });
  return (
    <>
      <form class="find slider" method="get" action={link({})}>
        {[...new URLSearchParams(link({ first: String(first) }).slice(1))].map(([name, value]) => (
          <input type="hidden" name={name} value={value} />
        ))}
        <label class="wide">
          {`State after revision (${first} to ${last})`}
          <input type="range" name="at" min={first} max={last} value={at} />
        </label>
        <button type="submit">Show</button>
      </form>
      {folded === null ? null : (
        <>
          <h2>{`State after revision ${at}`}</h2>
          {folded.state === null ? (
            <Empty>{folded.problem?.error.message ?? 'There is no state to show.'}</Empty>
          ) : (
            <Value value={folded.state} whole={wholeState(at)} />
          )}
        </>
      )}
      <h2>Events</h2>
      <ol class="steps">
        {steps.map((step) => (
          <Step
            step={step}
            isAt={step.revision === at}
            href={link({ ...page, at: String(step.revision) })}
            wholeState={wholeState(step.revision)}
            whole={({ path }) => link({ whole: String(step.revision), path: JSON.stringify(path) })}
          />
        ))}
      </ol>
    </>
  );
};

const Step: FC<{
  step: SliderStep;
  isAt: boolean;
  href: string;
  wholeState: (cut: Cut) => string;
  whole: (cut: Cut) => string;
}> = ({ step, isAt, href, wholeState, whole }) => (
  <li value={step.revision}>
    <details open={isAt}>
      <summary>
        {step.event === null ? (
          text(step.problem ?? 'unreadable')
        ) : (
          <>
            <strong>{step.event.type}</strong> <TimeAt ms={step.event.timeMs} />
          </>
        )}
      </summary>
      <div>
        <p>
          <a href={href} aria-current={isAt ? 'true' : undefined}>
            The state after this event
          </a>
        </p>
        {step.stateChanges === null ? null : (
          <ChangedValues
            title="Changed in the state"
            difference={step.stateChanges}
            whole={wholeState}
          />
        )}
        {step.dataChanges === null || step.stateChanges !== null ? null : (
          <ChangedValues
            title={`Changed since revision ${step.dataChanges.since}`}
            difference={step.dataChanges}
            whole={() => whole({ bytes: null, path: [] })}
          />
        )}
        {step.data === null ? null : <Value value={step.data} whole={whole} />}
      </div>
    </details>
  </li>
);
