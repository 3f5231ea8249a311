/**
 * The admin HTTP server, to which groups of routes are added (metrics, health, the schema
 * registry's API). It owns the socket, the guard before the routes, and the answer to uncaught
 * errors.
 */
import { serve, type ServerType } from '@hono/node-server';
import { Hono } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import type { AddressInfo } from 'node:net';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { Log } from '../core/log.ts';
import type { RedisSpace } from '../redis/source.ts';
import { openToPages, refusedName, type AccessRules, type RoleToken } from './access.ts';
import { addGuard } from './guard.ts';
import type { RouteGroup } from './route-group.ts';

export type { RouteGroup } from './route-group.ts';

const OPEN_TO_PAGES =
  'OPEN: the admin server has no token, and is not bound to loopback. Everybody who reaches it may read counts, schemas, alerts and the audit log. So may a web page in the browser of such a person (DNS rebinding). Set MILLRACE_READ_TOKEN or MILLRACE_TOKEN; or list the names of the server in MILLRACE_ALLOWED_HOSTS, which keeps such pages out';

export interface AdminOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Token of the role admin. */
  readonly token?: string | undefined;
  /** Tokens of all roles, beside `token`. Default: none. */
  readonly tokens?: readonly RoleToken[];
  /** See AccessRules. Default: any name. */
  readonly names?: readonly string[];
  /** Place of the audit log. Default: changes are not recorded. */
  readonly audit?: RedisSpace;
  /** Whether requests that change something are refused. Default false. */
  readonly readOnly?: boolean;
  readonly groups: readonly RouteGroup[];
  readonly log: Log;
}

export interface AdminServer {
  readonly port: number;
  readonly url: string;
  /** Stops listening, and ends open connections. Idempotent. */
  close(): Promise<void>;
}

/** The server cannot listen at the address: it is taken, or not of this machine. */
export class AdminAddressError extends MillraceError {
  readonly code = 'ADMIN_ADDRESS';
  readonly reason: string;
  constructor(host: string, port: number, cause: NodeJS.ErrnoException) {
    super(
      `the admin server cannot listen at ${host}:${port}: ${cause.code === 'EADDRINUSE' ? 'another process listens there' : cause.message}. Set MILLRACE_PORT (0: any free one) or MILLRACE_HOST`,
      { cause },
    );
    this.reason = cause.code ?? '';
  }
}

/** @throws AdminAddressError */
export async function startAdminServer(options: AdminOptions): Promise<AdminServer> {
  const rules = rulesOf(options);
  const app = createApp(options, rules);
  const { host, port } = options;
  let server: ServerType;
  const bound = await new Promise<AddressInfo>((resolve, reject) => {
    server = serve({ fetch: app.fetch, hostname: host, port }, resolve);
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(new AdminAddressError(host, port, error)),
    );
  });
  const url = `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
  options.log('info', 'admin server listens', { url });
  if (openToPages(rules)) options.log('warn', OPEN_TO_PAGES, { host, port: bound.port });
  let closed: Promise<void> | null = null;
  return {
    port: bound.port,
    url,
    close: () =>
      (closed ??= new Promise<void>((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      })),
  };
}

function rulesOf({ host, token, tokens = [], names = [], readOnly = false }: AdminOptions) {
  const own: RoleToken[] = token === undefined ? [] : [{ role: 'admin', current: () => token }];
  return { host, names, readOnly, tokens: [...tokens, ...own] } satisfies AccessRules;
}

function createApp(options: AdminOptions, rules: AccessRules): Hono {
  // A path with a trailing slash is the same path.
  const app = new Hono({ strict: false });
  const { audit = null } = options;
  app.use(
    secureHeaders({
      strictTransportSecurity: false,
      xFrameOptions: 'DENY',
      // Without a referrer, browsers send the origin "null" with the forms of the console.
      referrerPolicy: 'same-origin',
    }),
  );
  app.use(async (c, next) => {
    const refused = refusedName(rules, c.req.header('host'));
    return refused === null ? next() : c.json({ error: refused.message }, refused.status);
  });
  for (const group of options.groups) {
    addGuard(app, group, { rules, audit });
    group.mount(app);
  }
  app.notFound((c) =>
    c.json({ error_code: 404, error: 'there is no such path', message: 'HTTP 404 Not Found' }, 404),
  );
  app.onError((error, c) => {
    options.log('error', 'admin request failed', {
      method: c.req.method,
      path: c.req.path.slice(0, 300),
      err: error,
    });
    return c.json(
      {
        error_code: 50001,
        error: 'internal error; the log of the server says why',
        message: 'internal error; the log of the server says why',
      },
      500,
    );
  });
  return app;
}
