/** The frame around every page: head, navigation, cost. */
import type { Context } from 'hono';
import type { Child, FC } from 'hono/jsx';
import type { ViewFold } from '../core/view-fold.ts';
import type { AccessRole } from '../admin/access.ts';
import type { Deployment } from '../deployment.ts';
import type { RatedLag } from '../lag/rates.ts';
import type { PayloadAccess } from '../payload/shown-payload.ts';
import type { DataShapes } from '../registry/data-shapes.ts';
import type { Cost } from './cost.ts';
import type { Mending } from './mending.ts';
import type { Origins } from './pages/origins.ts';
import { length } from './page-figures.ts';

/** All that a page needs. A page reads Redis through `deployment` only, so that it is counted. */
export interface PageContext {
  readonly c: Context;
  readonly deployment: Deployment;
  readonly lag: () => Promise<RatedLag>;
  readonly cost: Cost;
  readonly origins: Origins;
  readonly mending: Mending;
  /** Views whose code this process has, to fold states. */
  readonly folds: () => readonly ViewFold[];
  /** Way from the page to the root of the server: `./`, `../` and so on. */
  readonly root: string;
  /** Payloads that the client may see. */
  readonly access: PayloadAccess;
  readonly shapes: DataShapes;
  /** Role of the client. */
  readonly role: AccessRole;
  /** Whether changes are refused, whoever asks. */
  readonly readOnly: boolean;
}

export interface PageContent {
  readonly title: string;
  /** Path of the page in the navigation, as in NAVIGATION. */
  readonly at: string;
  readonly content: Child;
  /** Whether the content is replaced by newer content as long as the page is open. */
  readonly live?: boolean;
}

export type ConsolePage = (context: PageContext) => Promise<PageContent>;

const NAVIGATION: readonly (readonly [path: string, title: string])[] = [
  ['', 'Flow'],
  ['console/trend', 'Trend'],
  ['console/find', 'Find'],
  ['console/dead', 'Dead letters'],
  ['console/parked', 'Parked'],
  ['console/lanes', 'Lanes'],
  ['console/waiting', 'Waiting'],
  ['console/history', 'Histories'],
  ['console/views', 'Views'],
  ['console/schemas', 'Schemas'],
  ['console/alerts', 'Alerts'],
  ['console/losses', 'Losses'],
  ['console/audit', 'Audit'],
];

/** Returns the way from a path to the server's root. A proxy may stand in front of the root. */
export function rootOf(path: string): string {
  const depth = path.split('/').length - 2;
  return depth <= 0 ? './' : '../'.repeat(depth);
}

const Navigation: FC<{ root: string; at: string }> = ({ root, at }) => (
  <nav aria-label="Pages">
    <ul>
      {NAVIGATION.map(([path, title]) => (
        <li>
          <a
            href={path === '' ? root : root + path}
            aria-current={path === at ? 'page' : undefined}
          >
            {title}
          </a>
        </li>
      ))}
    </ul>
  </nav>
);

export const Frame: FC<{
  root: string;
  at: string;
  title: string;
  deployment: string;
  live: boolean;
  footer: string;
  children?: Child;
}> = ({ root, at, title, deployment, live, footer, children }) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>{`${title} · Millrace`}</title>
      <link rel="stylesheet" href={`${root}console/assets/console.css`} />
      <link rel="icon" href={`${root}console/assets/icon.svg`} type="image/svg+xml" />
      <script type="module" src={`${root}console/assets/console.js`}></script>
    </head>
    <body>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <p class="brand">
          <a href={root}>Millrace</a> <span class="muted">{deployment}</span>
        </p>
        <Navigation root={root} at={at} />
      </header>
      <main id="content" tabindex={-1}>
        <div class="head">
          <h1>{title}</h1>
          {live ? (
            <p class="live">
              <span id="live-state">Not live: reload for newer figures</span>{' '}
              <button type="button" id="live-pause" hidden>
                Pause
              </button>
            </p>
          ) : null}
        </div>
        <div id="part" data-live={live ? `${root}console/live` : undefined}>
          {children}
        </div>
      </main>
      <footer>
        <p class="muted">{footer}</p>
      </footer>
    </body>
  </html>
);

/** Returns the whole page as HTML. */
export function wholePage(
  { root, deployment, cost, readOnly, role }: PageContext,
  { title, at, content, live = false }: PageContent,
): string {
  const rights = readOnly ? 'read-only' : `role ${role}`;
  const footer = `This page: ${cost.calls} ${cost.calls === 1 ? 'call' : 'calls'} to Redis, ${length(cost.waitedMs)} waited · ${rights}`;
  const name = `${deployment.keys.namespace} on ${deployment.connection.target}`;
  const html = (
    <Frame root={root} at={at} title={title} deployment={name} live={live} footer={footer}>
      {content}
    </Frame>
  );
  return `<!doctype html>${String(html)}`;
}
