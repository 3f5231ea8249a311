import type { ErrorInfo } from '../core/thread-protocol.ts';
import { cut } from '../core/well-formed.ts';

const LIMITS = { name: 200, message: 4096, stack: 8192, cause: 2048 };
/**
 * Of a chain of causes, and of the errors that one of them gathers: an AggregateError says nothing
 * itself.
 */
const DEPTH = 5;
const GATHERED = 5;
const ONE_CAUSE = 500;
/** A proxy may answer with a new prototype for ever. */
const MOST_PROTOTYPES = 100;

/**
 * Whatever was thrown, as bounded, well-formed strings: handlers throw strings, null, objects with
 * getters that throw, revoked proxies, and errors that cannot be cloned between threads. Never
 * throws.
 */
export function errorInfo(error: unknown): ErrorInfo {
  const read = (key: 'name' | 'message' | 'stack'): string => textOf(error, key, LIMITS[key]);
  if (isInstance(error, Error) || read('message') !== '' || read('name') !== '') {
    // An AggregateError, and some of the system's, have their text elsewhere.
    const message = read('message') || gathered(error) || textOf(error, 'code', LIMITS.name);
    return { name: read('name') || 'Error', message, stack: read('stack'), ...withCause(error) };
  }
  return {
    name: 'NonError',
    message: cut(`thrown: ${thrownText(error)}`, LIMITS.message),
    stack: '',
  };
}

/** `error.cause`, what that was caused by, and so on. */
function withCause(error: unknown): { cause?: string } {
  const chain: string[] = [];
  const seen = new Set<unknown>([error]);
  for (
    let one = valueOf(error, 'cause');
    one !== undefined && one !== null && !seen.has(one);
    one = valueOf(one, 'cause')
  ) {
    if (chain.length === DEPTH) {
      chain.push('…');
      break;
    }
    seen.add(one);
    chain.push(describeOne(one));
  }
  return chain.length === 0 ? {} : { cause: cut(chain.join('; caused by '), LIMITS.cause) };
}

/** `TypeError: fetch failed`, with its code where the message does not say that. */
function describeOne(error: unknown): string {
  const name = textOf(error, 'name', LIMITS.name);
  const message = textOf(error, 'message', ONE_CAUSE) || gathered(error);
  if (typeof error !== 'object' || (name === '' && message === ''))
    return cut(thrownText(error), ONE_CAUSE);
  const code = textOf(error, 'code', 50);
  return cut(
    `${name || 'Error'}${message === '' ? '' : `: ${message}`}${code === '' || message.includes(code) ? '' : ` (${code})`}`,
    ONE_CAUSE,
  );
}

/** Messages of `error.errors`. */
function gathered(error: unknown): string {
  const errors = valueOf(error, 'errors');
  try {
    if (!Array.isArray(errors)) return '';
    const texts = errors
      .slice(0, GATHERED)
      .map((one) => textOf(one, 'message', ONE_CAUSE) || textOf(one, 'code', 50))
      .filter((text) => text !== '');
    return cut(texts.join(', '), ONE_CAUSE);
  } catch {
    return '';
  }
}

function textOf(from: unknown, key: string, most: number): string {
  const value = valueOf(from, key);
  return typeof value === 'string' ? cut(value, most) : '';
}

/** Getters and proxies may throw. */
function valueOf(from: unknown, key: string): unknown {
  try {
    return (from as Record<string, unknown> | null | undefined)?.[key];
  } catch {
    return undefined;
  }
}

function thrownText(value: unknown): string {
  for (const attempt of [
    () => (typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))),
    () => String(value),
    () => Object.prototype.toString.call(value),
  ]) {
    try {
      const text: unknown = attempt();
      // toString may return anything
      if (typeof text === 'string') return text;
    } catch {
      // the next one asks it less
    }
  }
  return 'a value that cannot be looked at (a revoked proxy)';
}

/** `instanceof` that is false for what cannot be asked: a revoked proxy throws. */
export function isInstance<T>(
  value: unknown,
  type: abstract new (...args: never[]) => T,
): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}

/** True for NonRetryableError and its subclasses, also from another copy of the package. */
export function isNonRetryable(error: unknown): boolean {
  try {
    let left = MOST_PROTOTYPES;
    for (
      let e = error;
      typeof e === 'object' && e !== null && left > 0;
      e = Object.getPrototypeOf(e) as unknown, left--
    ) {
      if ((e as { code?: unknown }).code === 'NON_RETRYABLE') return true;
      if ((e as { constructor?: { name?: unknown } }).constructor?.name === 'NonRetryableError')
        return true;
    }
  } catch {
    return false;
  }
  return false;
}
