/**
 * The console: pages for people, at `/` and below `/console` of the admin server.
 *
 * Every page is whole HTML, and works without scripts. No page loads anything from another server,
 * and the content security policy allows neither inline scripts nor inline styles. A page reads
 * bounded pages of Redis only, and shows what it has asked for.
 */
import type { Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { AccessRole } from '../admin/access.ts';
import { actorOf, grantedTo } from '../admin/guard.ts';
import { payloadAccess } from '../admin/payload-access.ts';
import type { RouteGroup } from '../admin/route-group.ts';
import { makeAudited, type Change } from '../audit/make-audited.ts';
import { sleep } from '../core/clock.ts';
import type { ViewFold } from '../core/view-fold.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { Deployment } from '../deployment.ts';
import type { RatedLag } from '../lag/rates.ts';
import { DataShapes } from '../registry/data-shapes.ts';
import {
  checkEdit,
  editLetter,
  purgeLetter,
  purgeMany,
  rehearseLetter,
  replayLetter,
  replayMany,
  rollBack,
  runNow,
  stopReplay,
  switchVersion,
  type Action,
} from './actions.ts';
import { Cost, MeteredConnection } from './cost.ts';
import { rootOf, wholePage, type ConsolePage, type PageContext } from './page.tsx';
import { deadOfPage, deadPage, letterPage } from './pages/dead.tsx';
import { eventPage } from './pages/event.tsx';
import { findPage } from './pages/find.tsx';
import { flowPage } from './pages/flow.tsx';
import { functionPage } from './pages/function.tsx';
import { historyPage } from './pages/history.tsx';
import { lanesPage } from './pages/lanes.tsx';
import { alertsPage, auditPage, lossesPage, waitingPage } from './pages/lists.tsx';
import { schemaPage, schemasPage } from './pages/schemas.tsx';
import { viewsPage } from './pages/views.tsx';
import { Mending, type FunctionsFolder } from './mending.ts';
import { mountAssets, pageHeaders } from './mount-assets.ts';
import { editFormPage } from './pages/edit.tsx';
import { Origins } from './pages/origins.ts';
import { replayPage } from './pages/replay.tsx';
import { parkedPage } from './pages/parked.tsx';
import { problemPage } from './pages/problem.tsx';
import { rowPage } from './pages/row.tsx';
import { trendPage } from './pages/trend.tsx';

export interface ConsoleSources {
  readonly deployment: Deployment;
  readonly lag: () => Promise<RatedLag>;
  /** Whether changes are refused, whoever asks. */
  readonly readOnly: boolean;
  /** Functions for rehearsals. Null: this process knows none. */
  readonly functions: FunctionsFolder | null;
  /** Views whose code this process has. */
  readonly folds: () => readonly ViewFold[];
}

const PAGES: Readonly<Record<string, ConsolePage>> = {
  '/': flowPage,
  '/console': flowPage,
  '/console/functions/:function': functionPage,
  '/console/trend': trendPage,
  '/console/find': findPage,
  '/console/event': eventPage,
  '/console/dead': deadPage,
  '/console/dead/:function': deadOfPage,
  '/console/letter': letterPage,
  '/console/letter/edit': editFormPage,
  '/console/replay': replayPage,
  '/console/parked': parkedPage,
  '/console/lanes': lanesPage,
  '/console/waiting': waitingPage,
  '/console/history': historyPage,
  '/console/views': viewsPage,
  '/console/views/row': rowPage,
  '/console/schemas': schemasPage,
  '/console/schema': schemaPage,
  '/console/alerts': alertsPage,
  '/console/losses': lossesPage,
  '/console/audit': auditPage,
};

/** Time between two contents of a live page, ms. */
const LIVE_MS = 2000;
/** Live pages served at once. */
const MOST_LIVE = 64;

/** Forms: their path, the role that each needs, and what each does. A check changes nothing. */
const FORMS: Readonly<Record<string, readonly [AccessRole, Action]>> = {
  '/console/dead/replay': ['operate', replayLetter],
  '/console/dead/replay-many': ['operate', replayMany],
  '/console/replay/stop': ['operate', stopReplay],
  '/console/dead/purge': ['admin', purgeLetter],
  '/console/dead/purge-many': ['admin', purgeMany],
  '/console/letter/rehearse': ['operate', rehearseLetter],
  '/console/letter/check': ['read', checkEdit],
  '/console/letter/edit': ['operate', editLetter],
  '/console/parked/run-now': ['operate', runNow],
  '/console/views/rollback': ['operate', rollBack],
  '/console/views/switch': ['operate', switchVersion],
};

/** The group of routes, and what must be ended with the server. */
export interface ConsoleRoutes {
  readonly group: RouteGroup;
  close(): Promise<void>;
}

export function consoleRoutes(sources: ConsoleSources): ConsoleRoutes {
  const mending = new Mending(sources.deployment, sources.functions);
  const origins = new Origins();
  const { registry, catalog, environment } = sources.deployment;
  const shapes = new DataShapes(registry, catalog);
  const contextOf = (c: Context, path: string): PageContext => {
    const cost = new Cost();
    const connection = new MeteredConnection(sources.deployment.connection, cost);
    const granted = grantedTo(c);
    return {
      c,
      deployment: { ...sources.deployment, connection },
      lag: sources.lag,
      cost,
      origins,
      mending,
      folds: sources.folds,
      root: rootOf(path),
      access: payloadAccess(granted, environment),
      shapes,
      role: granted.role,
      readOnly: sources.readOnly,
    };
  };
  const group: RouteGroup = {
    prefixes: ['/', '/console'],
    access: 'guarded',
    // Forms and pages have data of payloads, which is for fewer eyes than the audit log.
    recordsItself: true,
    needs: (method, path) =>
      ['GET', 'HEAD', 'OPTIONS'].includes(method)
        ? 'read'
        : (FORMS[path.replace(/\/$/, '')]?.[0] ?? 'admin'),
    mount(app) {
      for (const [path, page] of Object.entries(PAGES)) {
        app.get(path, (c, next) =>
          // A client of the schema registry asks for JSON at the root.
          path === '/' && !acceptsHtml(c) ? next() : servePage(contextOf(c, c.req.path), page),
        );
      }
      mountAssets(app);
      mountLive(app, (c) => contextOf(c, '/'));
      for (const [path, [, action]] of Object.entries(FORMS))
        app.post(path, (c) => serveForm(contextOf(c, c.req.path), action));
    },
  };
  return { group, close: () => mending.close() };
}

const acceptsHtml = (c: Context): boolean =>
  (c.req.header('accept') ?? '').toLowerCase().includes('text/html');

function html(c: Context, text: string, status: 200 | 400 | 404 | 500 | 503 = 200): Response {
  pageHeaders(c);
  return c.html(text, status);
}

async function servePage(context: PageContext, page: ConsolePage): Promise<Response> {
  try {
    return html(context.c, wholePage(context, await page(context)));
  } catch (error) {
    return problem(context, error);
  }
}

/** Returns the page of an error. A fault of the console itself goes to the log, whole. */
function problem(context: PageContext, error: unknown): Response {
  const { c, deployment } = context;
  if (!(error instanceof MillraceError))
    deployment.log('error', 'a page of the console failed', {
      path: c.req.path.slice(0, 300),
      err: error,
    });
  const [content, status] = problemPage(context, error);
  return html(c, wholePage(context, content), status);
}

async function serveForm(context: PageContext, action: Action): Promise<Response> {
  const { c, root, deployment } = context;
  const audited = <T>(change: Change<T>): Promise<T> =>
    makeAudited(deployment, actorOf(c, grantedTo(c)), change);
  try {
    const form = new URLSearchParams(await c.req.text());
    const followed = await action({ ...context, audited }, form);
    return 'to' in followed
      ? c.redirect(root + followed.to, 303)
      : html(c, wholePage(context, followed.page));
  } catch (error) {
    return problem(context, error);
  }
}

/** Sends the content of the first page again and again, as HTML within server-sent events. */
function mountLive(app: Hono, contextOf: (c: Context) => PageContext): void {
  let open = 0;
  app.get('/console/live', (c) => {
    if (open >= MOST_LIVE) return c.json({ error: 'too many live pages are open' }, 503);
    open++;
    return streamSSE(c, async (stream) => {
      const gone = new AbortController();
      stream.onAbort(() => gone.abort());
      try {
        while (!gone.signal.aborted) {
          await stream.writeSSE(await partOf(contextOf(c)));
          await sleep(LIVE_MS, gone.signal);
        }
      } finally {
        open--;
      }
    });
  });
}

async function partOf(context: PageContext): Promise<{ event: string; data: string }> {
  try {
    const { content } = await flowPage(context);
    return { event: 'part', data: JSON.stringify(String(content)) };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return { event: 'problem', data: JSON.stringify('Not live: Redis does not answer') };
  }
}
