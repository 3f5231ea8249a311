/**
 * Errors that nobody handles end their thread, often long after the handler has returned that
 * caused them: a promise nobody awaited, a timer, a socket without an 'error' listener. Before
 * that, this says what the thread ran last and where it threw.
 */
import type { ErrorInfo, UncaughtError } from '../core/thread-protocol.ts';
import { errorInfo } from './error-info.ts';

/** Event ids remembered, by turns; noted for every event, so without making anything. */
const LAST = 8;
const ids = new Array<string>(LAST).fill('');
let noted = 0;
/** Function and the number of its first event, of the last batches. */
const batches: { readonly fn: string; readonly from: number }[] = [];

export function noteEvent(id: string): void {
  ids[noted++ % LAST] = id;
}

export function noteBatch(fn: string): void {
  if (batches.length === LAST) batches.shift();
  batches.push({ fn, from: noted });
}

/** What the thread took last, oldest first; some of it may still run. */
function lastEvents(): { function: string; eventId: string }[] {
  const out: { function: string; eventId: string }[] = [];
  for (let i = Math.max(0, noted - LAST); i < noted; i++) {
    let fn = '';
    for (const batch of batches) if (batch.from <= i) fn = batch.fn;
    out.push({ function: fn, eventId: ids[i % LAST] as string });
  }
  return out;
}

/** @param sources path of each function's file, as stacks name it */
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
  // It only watches: the thread ends as it would without.
  process.on('uncaughtExceptionMonitor', (error: unknown, origin: string) => {
    tell(origin === 'unhandledRejection' ? 'rejection' : 'throw', errorInfo(error));
  });
  process.on('exit', (code) => {
    // Its stack leads to whoever called process.exit.
    const { stack = '' } = new Error(`process.exit(${code}) was called`);
    tell('exit', {
      name: 'ProcessExit',
      message: `process.exit(${code}) was called`,
      stack: stack.slice(0, 8192),
    });
  });
}
