import type { ErrorInfo } from '../core/thread-protocol.ts';
import { cut } from '../core/well-formed.ts';

const LIMITS = { name: 200, message: 4096, stack: 8192, cause: 2048 };
/**
 * Most errors of a chain of causes, and of an AggregateError. An AggregateError's own message says
 * nothing.
 */
const DEPTH = 5;
const GATHERED = 5;
const ONE_CAUSE = 500;
/** Most prototypes that are followed: a proxy may return a new prototype for ever. */
const MOST_PROTOTYPES = 100;

/**
 * Describes any thrown value as bounded, well-formed strings. Handlers throw strings, null, objects
 * with getters that throw, revoked proxies, and errors that cannot be cloned between threads. Never
 * throws.
 */
export function errorInfo(error: unknown): ErrorInfo {
  const read = (key: 'name' | 'message' | 'stack'): string => textOf(error, key, LIMITS[key]);
  if (isInstance(error, Error) || read('message') !== '' || read('name') !== '') {
    // An AggregateError, and some system errors, have their text elsewhere.
    const message = read('message') || gathered(error) || textOf(error, 'code', LIMITS.name);
    return { name: read('name') || 'Error', message, stack: read('stack'), ...withCause(error) };
  }
  return {
    name: 'NonError',
    message: cut(`thrown: ${thrownText(error)}`, LIMITS.message),
    stack: '',
  };
}

/** Returns any thrown value as an Error with its bounded texts, for a span. Never throws. */
export function errorOf(thrown: unknown): Error {
  const { name, message, stack } = errorInfo(thrown);
  return Object.assign(new Error(message), { name, stack });
}

/** Returns the chain of `error.cause` as text. */
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

/** Returns `TypeError: fetch failed`, with the code where the message does not contain it. */
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

/** Returns the messages of `error.errors`. */
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

/** Reads a property. Getters and proxies may throw. */
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
      // toString may return a value of any kind.
      if (typeof text === 'string') return text;
    } catch {
      // The next attempt needs less of the value.
    }
  }
  return 'a value that cannot be looked at (a revoked proxy)';
}

/** `instanceof` that is false for a value that cannot be examined: a revoked proxy throws. */
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

/**
 * Whether a value is a NonRetryableError or of a subclass, also from another copy of the package.
 */
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
