/**
 * Reports unhandled errors, which end their thread. Such an error often comes long after its
 * handler has returned. It comes from a promise that nobody awaited, a timer, or a socket without
 * an 'error' listener. Before the thread ends, the report names its last events and the place of
 * the error.
 */
import type { ErrorInfo, UncaughtError } from '../core/thread-protocol.ts';
import { errorInfo } from './error-info.ts';

/**
 * Last event ids, in a ring buffer. One id is noted for every event, so noting allocates nothing.
 */
const LAST = 8;
const ids = new Array<string>(LAST).fill('');
let noted = 0;
/** Function and the number of its first event, for the last batches. */
const batches: { readonly fn: string; readonly from: number }[] = [];

export function noteEvent(id: string): void {
  ids[noted++ % LAST] = id;
}

export function noteBatch(fn: string): void {
  if (batches.length === LAST) batches.shift();
  batches.push({ fn, from: noted });
}

/** Returns the events that the thread took last, oldest first. Some of them may still run. */
function lastEvents(): { function: string; eventId: string }[] {
  const out: { function: string; eventId: string }[] = [];
  for (let i = Math.max(0, noted - LAST); i < noted; i++) {
    let fn = '';
    for (const batch of batches) if (batch.from <= i) fn = batch.fn;
    out.push({ function: fn, eventId: ids[i % LAST] as string });
  }
  return out;
}

/**
 * Reports unhandled errors and calls of process.exit.
 * @param sources path of each function's file, as stacks name it
 */
export function watchUncaught(
  report: (error: UncaughtError) => void,
  sources: ReadonlyMap<string, string>,
): void {
  let told = false;
  const tell = (origin: UncaughtError['origin'], error: ErrorInfo): void => {
    if (told) return;
    told = true;
    const events = lastEvents();
    const ran = [...new Set(events.map((event) => event.function))];
    const inStack = [...sources]
      .filter(([, source]) => error.stack.includes(source))
      .map(([fn]) => fn);
    report({
      origin,
      error,
      functions: inStack.length > 0 ? inStack : ran,
      certain: inStack.length === 1 || ran.length === 1,
      events,
    });
  };
  // The listener only watches: the thread ends as it would without the listener.
  process.on('uncaughtExceptionMonitor', (error: unknown, origin: string) => {
    tell(origin === 'unhandledRejection' ? 'rejection' : 'throw', errorInfo(error));
  });
  process.on('exit', (code) => {
    // The stack of this error leads to the caller of process.exit.
    const { stack = '' } = new Error(`process.exit(${code}) was called`);
    tell('exit', {
      name: 'ProcessExit',
      message: `process.exit(${code}) was called`,
      stack: stack.slice(0, 8192),
    });
  });
}
