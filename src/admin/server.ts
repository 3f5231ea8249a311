/**
 * The admin HTTP server, to which groups of routes are added (metrics, health, the schema
 * registry's API). It owns the socket, access, the bound on bodies, and the answer to uncaught
 * errors.
 */
import { serve, type ServerType } from '@hono/node-server';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { AddressInfo } from 'node:net';
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { Log } from '../core/log.ts';
import { decideAccess } from './access.ts';

/** A group of routes. */
export interface RouteGroup {
  /** First segments of the group's paths: `/subjects` stands for itself and all paths below it. */
  readonly prefixes: readonly string[];
  /** `open`: for everybody who reaches the port (health, metrics). `guarded`: see access.ts. */
  readonly access: 'open' | 'guarded';
  /** Whether a request changes something. Default: every method but GET, HEAD and OPTIONS does. */
  readonly changes?: (method: string, path: string) => boolean;
  mount(app: Hono): void;
  /** Form of the group's errors. Default `{ "error": message }`. */
  readonly errorBody?: (status: number, message: string) => unknown;
}

export interface AdminOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly token: string | undefined;
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

/** Largest body of a request, in bytes: enough for a schema with its imports. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

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
  const app = createApp(options);
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

function createApp(options: AdminOptions): Hono {
  // A path with a trailing slash is the same path.
  const app = new Hono({ strict: false });
  for (const group of options.groups) {
    for (const prefix of group.prefixes) {
      for (const path of prefix === '/' ? ['/'] : [prefix, `${prefix}/*`])
        guard(app, path, group, options);
    }
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

/** Adds the access check and the bound on bodies, before the group's routes under the path. */
function guard(app: Hono, path: string, group: RouteGroup, options: AdminOptions): void {
  const body = group.errorBody ?? ((_, message) => ({ error: message }));
  app.use(path, async (c, next) => {
    if (group.access === 'open') return next();
    const { method } = c.req;
    const answer = decideAccess(
      { ...options, readOnly: options.readOnly ?? false },
      {
        changes:
          group.changes?.(method, c.req.path) ?? !['GET', 'HEAD', 'OPTIONS'].includes(method),
        authorization: c.req.header('authorization'),
        hostHeader: c.req.header('host'),
        origin: c.req.header('origin'),
      },
    );
    if (answer.ok) return next();
    if (answer.status === 401)
      c.header('www-authenticate', 'Basic realm="millrace", charset="UTF-8"');
    return c.json(body(answer.status, answer.message) as object, answer.status);
  });
  app.use(
    path,
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: (c) =>
        c.json(body(413, `the body is larger than ${MAX_BODY_BYTES} bytes`) as object, 413),
    }),
  );
}
