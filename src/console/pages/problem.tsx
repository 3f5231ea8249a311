/** The page in place of one that could not be made: what is wrong, and the cure. */
import { connectionReason, HEALTH_REASONS } from '../../core/health-reason.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { DeadLetterNotFoundError } from '../../pipeline/dead/dead-letters.ts';
import { UnknownFunctionError } from '../../redis/counters.ts';
import type { PageContent, PageContext } from '../page.tsx';
import { Command, State } from '../parts.tsx';
import { text } from '../page-figures.ts';

export function problemPage(
  { deployment }: PageContext,
  error: unknown,
): readonly [PageContent, 400 | 404 | 500 | 503] {
  if (!(error instanceof MillraceError))
    return [
      {
        title: 'This page has failed',
        at: 'none',
        content: <p>The fault is one of Millrace. The log of this process has all of it.</p>,
      },
      500,
    ];
  if (!error.retryable) {
    const missing =
      error instanceof DeadLetterNotFoundError || error instanceof UnknownFunctionError;
    return [
      {
        title: missing ? 'Not found' : 'This cannot be shown',
        at: 'none',
        content: <p>{text(error.message, 2000)}</p>,
      },
      missing ? 404 : 400,
    ];
  }
  const reason = connectionReason(deployment.connection);
  const kind = reason === null ? null : HEALTH_REASONS[reason.code];
  return [
    {
      title: 'Redis does not answer',
      at: 'none',
      content: (
        <>
          <p>
            <State tone="bad">{kind === null ? 'the last call failed' : kind.meaning}</State>
          </p>
          <p>{text(error.message, 2000)}</p>
          {kind === null ? null : <p>{kind.cure}.</p>}
          <p>The console asks again when you reload the page. Nothing was changed.</p>
          <Command line="millrace doctor" />
        </>
      ),
    },
    503,
  ];
}
