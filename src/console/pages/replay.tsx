/** A replay of many letters: how far it is, and what became of the events. */
import { readReplayRun, type ReplayRunState } from '../../mend/replay-state.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { ChangeForm, Command, Facts, State, TimeAt, type Tone } from '../parts.tsx';
import { count, text } from '../page-figures.ts';
import { mayChange, refusalFor } from '../granted.ts';

const ENDS: Record<NonNullable<ReplayRunState['end']>, readonly [Tone, string]> = {
  finished: ['good', 'all chosen letters were handled'],
  interrupted: ['warn', 'it was stopped'],
  'canary-failed': ['bad', 'an event of the canary failed'],
  undecided: ['warn', 'events had no outcome in time'],
  'failure-rate': ['bad', 'more events failed than allowed'],
};

/** @throws ReplayRunError */
export async function replayPage(context: PageContext): Promise<PageContent> {
  const id = context.c.req.query('id') ?? '';
  const running = context.mending.stateOf(id);
  const state = running ?? (await readReplayRun(context.deployment, id));
  const { pace, outcomes, filter, end } = state;
  const [tone, what] =
    end === null
      ? (['good', running === null ? 'another process runs it, or has died' : 'it runs'] as const)
      : ENDS[end];
  return {
    title: 'Replay',
    at: 'console/dead',
    content: (
      <>
        <p>
          <State tone={tone}>{what}</State>
        </p>
        <Facts
          facts={[
            ['began', <TimeAt ms={state.startedMs} />],
            ['letters of', text(Object.values(filter).map(String).join(', ')) || 'all functions'],
            ['replayed', count(state.replayed)],
            ['gone meanwhile', count(state.gone)],
            ['hold no event', count(state.notReplayable)],
            [
              'canary',
              pace.canary === null
                ? 'none'
                : `${pace.canary}${state.canaryPassed ? ', passed' : ''}`,
            ],
            ['letters a second', pace.rate === null ? 'no bound' : count(pace.rate)],
            ['stops above', pace.stopAt === null ? 'never' : `${pace.stopAt * 100} % failures`],
            ['done', count(outcomes.done)],
            ['dead again', count(outcomes.dead)],
            ['in a retry', count(outcomes.retrying)],
            ['without an outcome yet', count(outcomes.open)],
          ]}
        />
        <p>
          <a href={`?id=${encodeURIComponent(id)}`}>Look again</a>
        </p>
        {end === 'finished' ? null : running === null ? (
          <Command line={`millrace dlq replay --resume ${id}`} />
        ) : (
          <ChangeForm
            title="Stop this replay"
            action={`${context.root}console/replay/stop`}
            allowed={mayChange(context, 'operate')}
            refusal={refusalFor(context, 'operate')}
            command="Ctrl-C in the process of millrace dlq replay"
            hidden={{ id }}
          >
            <p>
              No further letter is replayed. Those that were replayed stay so. The replay can go on
              later.
            </p>
          </ChangeForm>
        )}
      </>
    ),
  };
}
