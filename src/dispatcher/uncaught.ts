/** Tells the log of an uncaught error, or a call of process.exit, that ended a pool thread. */
import type { FailureBursts } from '../core/failure-bursts.ts';
import type { Log } from '../core/log.ts';
import type { UncaughtError } from '../core/thread-protocol.ts';

const CAUSES = {
  exit: 'process.exit',
  rejection: 'a rejection that nobody handled',
  throw: 'an error that nobody caught',
} as const;

const AWAIT =
  'Await every promise before the handler returns, and handle the errors of work that goes on after it: .catch(), on("error")';
const CURES = {
  exit: 'Throw instead: a thread is shared by all functions',
  rejection: AWAIT,
  throw: AWAIT,
} as const;

/** @param bursts bounds the lines */
export function sayUncaught(log: Log, bursts: FailureBursts, uncaught: UncaughtError): void {
  const { origin, error, events, functions } = uncaught;
  const topic = {
    key: `uncaught:${functions.join()}`,
    level: 'error',
    more: 'threads were ended by uncaught errors',
    fields: { functions },
  } as const;
  if (!bursts.note(topic, error, () => ({ origin, lastEvents: events }))) return;
  const text = `a thread was ended by ${CAUSES[origin]}, ${ownerOf(uncaught)}. ${CURES[origin]}`;
  log('error', text, {
    functions,
    lastEvents: events,
    error: error.message,
    errorName: error.name,
    ...(error.cause ? { cause: error.cause } : {}),
    stack: error.stack,
  });
}

/** Names the functions whose code ended the thread, as far as is known. */
function ownerOf({ functions, certain }: UncaughtError): string {
  if (functions.length === 0) return 'before any function ran';
  return certain
    ? `of function "${functions.join('", "')}"`
    : `of one of the functions that ran last: ${functions.join(', ')}`;
}
