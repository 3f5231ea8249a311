/**
 * Access to the admin server. With a token (MILLRACE_TOKEN) every guarded route needs the token.
 *
 * Without a token, guarded routes may be read. Changes are allowed only where the server is bound
 * to loopback. There a web page that the operator visits must not change anything: names other than
 * loopback's and foreign origins are refused.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

export interface AccessRules {
  readonly token: string | undefined;
  /** Address that the server is bound to. */
  readonly host: string;
  /** Whether changes are refused, whoever asks for them. */
  readonly readOnly: boolean;
}

export interface AccessRequest {
  readonly changes: boolean;
  /** `Authorization` */
  readonly authorization: string | undefined;
  /** `Host`: the name that the client used. */
  readonly hostHeader: string | undefined;
  readonly origin: string | undefined;
}

export type AccessAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly status: 401 | 403; readonly message: string };

const YES: AccessAnswer = { ok: true };

export function decideAccess(rules: AccessRules, request: AccessRequest): AccessAnswer {
  const answer = decideWho(rules, request);
  if (!answer.ok || !request.changes || !rules.readOnly) return answer;
  return {
    ok: false,
    status: 403,
    message: 'this admin server is read-only: start it with millrace admin --allow-changes',
  };
}

/** Decides without regard to a read-only server. */
function decideWho(rules: AccessRules, request: AccessRequest): AccessAnswer {
  if (rules.token !== undefined) {
    const given = tokenOf(request.authorization);
    if (given !== null && same(given, rules.token)) return YES;
    return {
      ok: false,
      status: 401,
      message:
        'the token is missing or wrong: send "Authorization: Bearer <MILLRACE_TOKEN>", or basic authentication with the token as the password',
    };
  }
  if (!isLoopback(rules.host)) {
    return request.changes
      ? {
          ok: false,
          status: 403,
          message:
            'changes are refused, because the server has no token and is not bound to loopback: set MILLRACE_TOKEN',
        }
      : YES;
  }
  // A web page would reach the server through a name that resolves to 127.0.0.1.
  if (request.hostHeader !== undefined && !isLoopback(hostOf(request.hostHeader))) {
    return {
      ok: false,
      status: 403,
      message:
        'a server on loopback without a token answers to loopback names only, such as localhost: set MILLRACE_TOKEN to use another name',
    };
  }
  if (
    request.changes &&
    request.origin !== undefined &&
    !originFits(request.origin, request.hostHeader)
  ) {
    return {
      ok: false,
      status: 403,
      message:
        'a page of another site must not change anything here: set MILLRACE_TOKEN, and send the token',
    };
  }
  return YES;
}

/** Returns the token of `Bearer <token>` or `Basic base64(user:token)`. */
function tokenOf(authorization: string | undefined): string | null {
  const match = /^(Bearer|Basic) +(\S+)\s*$/i.exec(authorization ?? '');
  if (!match) return null;
  const value = match[2] as string;
  if ((match[1] as string).toLowerCase() === 'bearer') return value;
  const pair = Buffer.from(value, 'base64').toString('utf8');
  return pair.slice(pair.indexOf(':') + 1);
}

/** Compares in constant time: the time does not tell how much of a guess is right. */
function same(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    /^127(\.\d{1,3}){3}$/.test(name) ||
    /^::ffff:127(\.\d{1,3}){3}$/.test(name)
  );
}

/** Returns the name in a `Host` header, without the port. */
function hostOf(header: string): string {
  return header.replace(/:\d+$/, '');
}

function originFits(origin: string, hostHeader: string | undefined): boolean {
  try {
    return new URL(origin).host === hostHeader;
  } catch {
    // A sandboxed page sends "null".
    return false;
  }
}
