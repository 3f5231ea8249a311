import type { ErrorInfo } from '../core/batch-task.ts';

const LIMITS = { name: 200, message: 4096, stack: 8192, cause: 2048 };
/** Of a chain of causes, and of the errors that one of them gathers: an AggregateError says nothing itself. */
const DEPTH = 5;
const GATHERED = 5;
const ONE_CAUSE = 500;

/**
 * Whatever was thrown, as bounded strings: handlers throw strings, null, objects with getters that throw, and
 * errors that cannot be cloned between threads.
 */
export function errorInfo(error: unknown): ErrorInfo {
  const read = (key: 'name' | 'message' | 'stack'): string => textOf(error, key, LIMITS[key]);
  if (error instanceof Error || read('message') !== '' || read('name') !== '') {
    // An AggregateError, and some of the system's, have their text elsewhere.
    const message = read('message') || gathered(error) || textOf(error, 'code', LIMITS.name);
    return { name: read('name') || 'Error', message, stack: read('stack'), ...withCause(error) };
  }
  return { name: 'NonError', message: `thrown: ${thrownText(error)}`.slice(0, LIMITS.message), stack: '' };
}

/** `error.cause`, what that was caused by, and so on. */
function withCause(error: unknown): { cause?: string } {
  const chain: string[] = [];
  const seen = new Set<unknown>([error]);
  for (let one = valueOf(error, 'cause'); one !== undefined && one !== null && !seen.has(one); one = valueOf(one, 'cause')) {
    if (chain.length === DEPTH) {
      chain.push('…');
      break;
    }
    seen.add(one);
    chain.push(describeOne(one));
  }
  return chain.length === 0 ? {} : { cause: chain.join('; caused by ').slice(0, LIMITS.cause) };
}

/** `TypeError: fetch failed`, with its code where the message does not say that. */
function describeOne(error: unknown): string {
  const name = textOf(error, 'name', LIMITS.name);
  const message = textOf(error, 'message', ONE_CAUSE) || gathered(error);
  if (typeof error !== 'object' || (name === '' && message === '')) return thrownText(error).slice(0, ONE_CAUSE);
  const code = textOf(error, 'code', 50);
  return `${name || 'Error'}${message === '' ? '' : `: ${message}`}${code === '' || message.includes(code) ? '' : ` (${code})`}`.slice(0, ONE_CAUSE);
}

/** Messages of `error.errors`. */
function gathered(error: unknown): string {
  const errors = valueOf(error, 'errors');
  if (!Array.isArray(errors)) return '';
  const texts = errors.slice(0, GATHERED).map((one) => textOf(one, 'message', ONE_CAUSE) || textOf(one, 'code', 50)).filter((text) => text !== '');
  return texts.join(', ').slice(0, ONE_CAUSE);
}

function textOf(from: unknown, key: string, most: number): string {
  const value = valueOf(from, key);
  return typeof value === 'string' ? value.slice(0, most) : '';
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
  try {
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** True for NonRetryableError and its subclasses, also from another copy of the package. */
export function isNonRetryable(error: unknown): boolean {
  try {
    for (let e = error; typeof e === 'object' && e !== null; e = Object.getPrototypeOf(e) as unknown) {
      if ((e as { code?: unknown }).code === 'NON_RETRYABLE') return true;
      if ((e as { constructor?: { name?: unknown } }).constructor?.name === 'NonRetryableError') return true;
    }
  } catch {
    return false;
  }
  return false;
}
