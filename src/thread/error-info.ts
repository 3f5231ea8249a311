import type { ErrorInfo } from '../core/batch-task.ts';

const LIMITS = { name: 200, message: 4096, stack: 8192 };

/**
 * Whatever was thrown, as three bounded strings: handlers throw strings, null, objects with getters that throw, and
 * errors that cannot be cloned between threads.
 */
export function errorInfo(error: unknown): ErrorInfo {
  const read = (key: 'name' | 'message' | 'stack'): string => {
    try {
      const value = (error as Record<string, unknown> | null | undefined)?.[key];
      return typeof value === 'string' ? value.slice(0, LIMITS[key]) : '';
    } catch {
      return '';
    }
  };
  if (error instanceof Error || read('message') !== '' || read('name') !== '') {
    return { name: read('name') || 'Error', message: read('message'), stack: read('stack') };
  }
  let text: string;
  try {
    text = typeof error === 'string' ? error : (JSON.stringify(error) ?? String(error));
  } catch {
    text = Object.prototype.toString.call(error);
  }
  return { name: 'NonError', message: `thrown: ${text}`.slice(0, LIMITS.message), stack: '' };
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
