/**
 * The guard before the routes of a group: access, the bound on bodies, and the audit of changes, in
 * this order.
 */
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, Hono, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { AuditRefusedError, AuditUnfinishedError } from '../audit/audit-errors.ts';
import { makeAudited, type Actor } from '../audit/make-audited.ts';
import type { RedisSpace } from '../redis/source.ts';
import { decideAccess, type AccessAnswer, type AccessRules, type AccessRole } from './access.ts';
import type { RouteGroup } from './route-group.ts';

/** Largest body of a request, in bytes: enough for a schema with its imports. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Longest part of a body in the audit log, in UTF-16 units. */
const AUDITED_BODY = 1000;

export type Granted = Extract<AccessAnswer, { ok: true }>;

// By the context: the request is another object after a middleware has read its body.
const granted = new WeakMap<Context, Granted>();

/** Returns what the guard has granted to the client of a guarded route. */
export function grantedTo(c: Context): Granted {
  const access = granted.get(c);
  if (access === undefined) throw new Error('the route has no guard');
  return access;
}

export interface GuardOptions {
  readonly rules: AccessRules;
  /** Place of the audit log. Null: changes are not recorded. */
  readonly audit: RedisSpace | null;
}

/** Adds the guard before the group's routes. */
export function addGuard(app: Hono, group: RouteGroup, options: GuardOptions): void {
  if (group.access === 'open') return;
  const { audit } = options;
  const handlers = [accessOf(group, options), boundOf(group)];
  if (audit !== null && !group.recordsItself) handlers.push(auditOf(group, audit));
  for (const handler of handlers.map(oncePerRequest)) {
    for (const prefix of group.prefixes) {
      for (const path of prefix === '/' ? ['/'] : [prefix, `${prefix}/*`]) app.use(path, handler);
    }
  }
}

/** Hono runs a handler of `/x/*` for `/x` as well. A change is recorded once all the same. */
function oncePerRequest(handler: MiddlewareHandler): MiddlewareHandler {
  const seen = new WeakSet<Context>();
  return (c, next) => {
    if (seen.has(c)) return next();
    seen.add(c);
    return handler(c, next);
  };
}

function boundOf(group: RouteGroup): MiddlewareHandler {
  const message = `the body is larger than ${MAX_BODY_BYTES} bytes`;
  return bodyLimit({
    maxSize: MAX_BODY_BYTES,
    onError: (c) => c.json(errorOf(group, 413, message), 413),
  });
}

function auditOf(group: RouteGroup, audit: RedisSpace): MiddlewareHandler {
  return async (c, next) => {
    if (neededFor(group, c) === 'read') return next();
    try {
      await recordChange(c, next, { audit, group, access: grantedTo(c) });
    } catch (error) {
      if (!(error instanceof AuditRefusedError || error instanceof AuditUnfinishedError))
        throw error;
      const status = error instanceof AuditRefusedError ? 503 : 500;
      c.res = undefined;
      c.res = c.json(errorOf(group, status, error.message), status);
    }
    return undefined;
  };
}

function errorOf(group: RouteGroup, status: number, message: string): object {
  return (group.errorBody?.(status, message) ?? { error: message }) as object;
}

function accessOf(group: RouteGroup, { rules }: GuardOptions): MiddlewareHandler {
  return async (c, next) => {
    const answer = decideAccess(rules, {
      needs: neededFor(group, c),
      authorization: c.req.header('authorization'),
      hostHeader: c.req.header('host'),
      origin: c.req.header('origin'),
      fetchSite: c.req.header('sec-fetch-site'),
    });
    if (answer.ok) {
      granted.set(c, answer);
      return next();
    }
    if (answer.status === 401)
      c.header('www-authenticate', 'Basic realm="millrace", charset="UTF-8"');
    return c.json(errorOf(group, answer.status, answer.message), answer.status);
  };
}

function neededFor(group: RouteGroup, c: Context): AccessRole {
  const { method, path } = c.req;
  if (group.needs) return group.needs(method, path);
  return ['GET', 'HEAD', 'OPTIONS'].includes(method) ? 'read' : 'admin';
}

async function recordChange(
  c: Context,
  next: () => Promise<void>,
  { audit, group, access }: { audit: RedisSpace; group: RouteGroup; access: Granted },
): Promise<void> {
  const wanted = (await c.req.text()).slice(0, AUDITED_BODY);
  const before = await group.stateBefore?.(c.req.path)?.catch(() => undefined);
  await makeAudited(audit, actorOf(c, access), {
    action: c.req.method,
    target: `${c.req.path}${new URL(c.req.url).search}`,
    ...(wanted === '' ? {} : { wanted: jsonOr(wanted) }),
    before,
    async make() {
      await next();
      const text = (await c.res.clone().text()).slice(0, AUDITED_BODY);
      return { status: c.res.status, text };
    },
    after: (result) => result && { status: result.status, answer: jsonOr(result.text) },
    problemOf: ({ status, text }) => (status < 400 ? null : `HTTP ${status}: ${text}`),
  });
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Returns the client of a request, for the audit log. */
export function actorOf(c: Context, { role, user, byToken }: Granted): Actor {
  const { address } = getConnInfo(c).remote;
  const by = byToken ? `token of the role ${role}` : 'no token';
  return {
    who: `${user === null ? '' : `${user}, `}${by}, from ${address ?? 'an unknown address'}`,
    via: 'http',
  };
}
