/**
 * Access to the admin server: the role that a request needs, and the role that the client has.
 *
 * - `read` looks. `operate` makes changes that can be undone, or that repeat work. `admin` makes
 *   all changes. Each role includes those before it.
 * - With a token of any role, every guarded route needs a token.
 * - Without tokens, guarded routes may be read. Changes are allowed only where the server is bound
 *   to loopback. Beyond loopback pages may read through any name, unless `names` restricts it: see
 *   openToPages().
 *
 * A web page that the operator visits must not act in the operator's name. Such a page reaches the
 * server through a name that resolves to its address (DNS rebinding): so names are checked. Or the
 * browser adds what it remembers, such as a password: so changes from other sites are refused. A
 * bearer token is never added by a browser, so this token is enough.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { isLoopback } from '../core/loopback.ts';

export const ROLES = ['read', 'operate', 'admin'] as const;
export type AccessRole = (typeof ROLES)[number];

export interface RoleToken {
  readonly role: AccessRole;
  /** Returns the token that counts now. Null: nobody has the role. */
  current(): string | null;
}

export interface AccessRules {
  /** Empty: the server asks for no token. */
  readonly tokens: readonly RoleToken[];
  /** Address that the server is bound to. */
  readonly host: string;
  /** Names that clients may use for the server (MILLRACE_ALLOWED_HOSTS). Empty: any name. */
  readonly names: readonly string[];
  /** Whether changes are refused, whoever asks for them. */
  readonly readOnly: boolean;
}

export interface AccessRequest {
  /** Role that the request needs. A request for more than `read` changes something. */
  readonly needs: AccessRole;
  /** `Authorization` */
  readonly authorization: string | undefined;
  /** `Host`: the name that the client used. */
  readonly hostHeader: string | undefined;
  readonly origin: string | undefined;
  /** `Sec-Fetch-Site`: the browser's word about the page behind the request. */
  readonly fetchSite: string | undefined;
}

export type AccessAnswer =
  | {
      readonly ok: true;
      /** Role of the client. */
      readonly role: AccessRole;
      /** User name of basic authentication. Nobody has checked this name. */
      readonly user: string | null;
      readonly byToken: boolean;
    }
  | Refusal;

interface Refusal {
  readonly ok: false;
  readonly status: 401 | 403;
  readonly message: string;
}

export function decideAccess(rules: AccessRules, request: AccessRequest): AccessAnswer {
  const named = refusedName(rules, request.hostHeader);
  if (named !== null) return named;
  const answer = rules.tokens.length > 0 ? byToken(rules, request) : byAddress(rules, request);
  if (!answer.ok || request.needs === 'read' || !rules.readOnly) return answer;
  return refusal(
    403,
    'this admin server is read-only: start it with millrace admin --allow-changes',
  );
}

/**
 * Whether a web page in the browser of somebody who reaches the server may read the guarded routes.
 * A name of the page's own resolves to the server's address then (DNS rebinding).
 */
export function openToPages({ tokens, names, host }: Omit<AccessRules, 'readOnly'>): boolean {
  return tokens.length === 0 && names.length === 0 && !isLoopback(host);
}

/** Refuses a name that is not allowed. An address is no name: nobody can rebind an address. */
export function refusedName(
  { names }: Pick<AccessRules, 'names'>,
  hostHeader: string | undefined,
): Refusal | null {
  if (names.length === 0 || hostHeader === undefined) return null;
  const name = hostOf(hostHeader);
  if (isLoopback(name) || isAddress(name) || names.includes(name)) return null;
  return refusal(
    403,
    'this server does not answer to that name: MILLRACE_ALLOWED_HOSTS lists its names',
  );
}

function byToken(rules: AccessRules, request: AccessRequest): AccessAnswer {
  const given = credentialsOf(request.authorization);
  const role = given === null ? null : roleOf(given.token, rules.tokens);
  if (given === null || role === null)
    return refusal(
      401,
      'the token is missing or wrong: send "Authorization: Bearer <token>", or basic authentication with the token as the password',
    );
  if (ROLES.indexOf(role) < ROLES.indexOf(request.needs))
    return refusal(
      403,
      `this needs the role ${request.needs}, and the token has the role ${role}: see MILLRACE_TOKEN and MILLRACE_OPERATE_TOKEN`,
    );
  // A browser adds a password that it remembers to the requests of any page.
  if (request.needs !== 'read' && given.scheme === 'basic' && fromElsewhere(rules, request))
    return refusal(403, 'a page of another site must not change anything here');
  return { ok: true, role, user: given.user, byToken: true };
}

function byAddress(rules: AccessRules, request: AccessRequest): AccessAnswer {
  const changes = request.needs !== 'read';
  const { hostHeader } = request;
  if (!isLoopback(rules.host)) {
    return changes
      ? refusal(
          403,
          'changes are refused, because the server has no token and is not bound to loopback: set MILLRACE_TOKEN',
        )
      : { ok: true, role: 'read', user: null, byToken: false };
  }
  // A web page would reach the server through a name that resolves to 127.0.0.1.
  const name = hostHeader === undefined ? null : hostOf(hostHeader);
  if (name !== null && !isLoopback(name) && !rules.names.includes(name)) {
    return refusal(
      403,
      'a server on loopback without a token answers to loopback names only, such as localhost: set MILLRACE_TOKEN to use another name',
    );
  }
  if (changes && fromElsewhere(rules, request)) {
    return refusal(
      403,
      'a page of another site must not change anything here: set MILLRACE_TOKEN, and send the token',
    );
  }
  return { ok: true, role: 'admin', user: null, byToken: false };
}

function refusal(status: 401 | 403, message: string): Refusal {
  return { ok: false, status, message };
}

interface Credentials {
  readonly scheme: 'bearer' | 'basic';
  readonly token: string;
  readonly user: string | null;
}

/** Returns the token of `Bearer <token>` or `Basic base64(user:token)`. */
function credentialsOf(authorization: string | undefined): Credentials | null {
  const match = /^(Bearer|Basic) +(\S+)\s*$/i.exec(authorization ?? '');
  if (!match) return null;
  const value = match[2] as string;
  if ((match[1] as string).toLowerCase() === 'bearer')
    return { scheme: 'bearer', token: value, user: null };
  const pair = Buffer.from(value, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return { scheme: 'basic', token: pair.slice(colon + 1), user: pair.slice(0, colon) || null };
}

/** Compares with every token, so that the time does not tell which one was nearly right. */
function roleOf(given: string, tokens: readonly RoleToken[]): AccessRole | null {
  let role: AccessRole | null = null;
  for (const token of tokens) {
    const expected = token.current();
    if (expected !== null && same(given, expected)) role = token.role;
  }
  return role;
}

/** Compares in constant time: the time does not tell how much of a guess is right. */
function same(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

function isAddress(name: string): boolean {
  return isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

/** Returns the name in a `Host` header, without the port. */
function hostOf(header: string): string {
  return header.replace(/:\d+$/, '').toLowerCase();
}

/** Whether a page of another site is behind the request. Programs tell neither site nor origin. */
function fromElsewhere(
  { names }: AccessRules,
  { fetchSite, origin, hostHeader }: AccessRequest,
): boolean {
  if (fetchSite !== undefined && fetchSite !== 'same-origin' && fetchSite !== 'none') return true;
  if (origin === undefined) return false;
  try {
    const { host, hostname } = new URL(origin);
    return host !== hostHeader && !names.includes(hostname);
  } catch {
    // A sandboxed page sends "null".
    return true;
  }
}
