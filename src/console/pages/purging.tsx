/** Letters are being discarded, so many at a time: how far it is, and the way on. */
import type { PageContent, PageContext } from '../page.tsx';
import { Command, State } from '../parts.tsx';
import { count, letterOptions } from '../page-figures.ts';

export interface Purging {
  readonly function: string;
  /** '': letters of all groups. */
  readonly group: string;
  /** Letters that died later stay: ms since 1970, by the server's clock. */
  readonly before: string;
  readonly purged: number;
}

export function purgingPage({ root }: PageContext, purging: Purging): PageContent {
  const { function: fn, group, purged } = purging;
  return {
    title: 'Discard',
    at: 'console/dead',
    content: (
      <>
        <p>
          <State tone="warn">{`${count(purged)} letters of ${fn} were discarded, others are left`}</State>
        </p>
        <form method="post" action={`${root}console/dead/purge-many`}>
          {Object.entries(purging).map(([name, value]) => (
            <input type="hidden" name={name} value={String(value)} />
          ))}
          <button type="submit" class="danger" data-again>
            Go on
          </button>
        </form>
        <p>
          <a href={`${root}console/dead/${encodeURIComponent(fn)}`}>Leave the others</a>
        </p>
        <Command line={`millrace dlq purge ${letterOptions(fn, group || undefined)} --yes`} />
      </>
    ),
  };
}
