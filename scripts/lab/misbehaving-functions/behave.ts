/**
 * Behaviour of the test functions: each follows the payload's `order`, and writes every run to the
 * file TEST_HISTORY.
 */
import { openSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { NonRetryableError } from '../../../src/define/index.ts';
import type { HistoryLine } from '../history.ts';

/**
 * An order is `name` or `name:ms`: wait, then behave.
 *
 * - throw-once: fails the first attempt only.
 * - late-throw, unhandled: fails after the handler has returned. `unhandled:500` fails while the
 *   handler still runs.
 * - gate: waits for the test's `openGate`, then follows its order.
 */
export const ORDERS = [
  'ok',
  'slow',
  'throw',
  'throw-once',
  'reject',
  'non-retryable',
  'non-error',
  'uncloneable',
  'hang',
  'hang-polite',
  'loop',
  'exit',
  'oom',
  'late-throw',
  'unhandled',
  'kill-dispatcher',
  'gate',
] as const;
export type Order = (typeof ORDERS)[number];

export interface TestEventView {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly position: string;
  readonly data: unknown;
}
export interface TestData {
  readonly key: string;
  readonly number: number;
  readonly order: string;
  readonly filler: Uint8Array;
}

declare module '../../../src/define/index.ts' {
  interface EventTypes {
    'test.event': TestData;
    'test.other': TestData;
    'test.third': TestData;
    'test.twice': TestData;
    'test.later': TestData;
    'test.held': TestData;
  }
}

let file: number | null = null;

export function record(
  what: HistoryLine['what'],
  fn: string,
  event: TestEventView,
  attempt: number,
): void {
  const path = process.env['TEST_HISTORY'];
  if (path === undefined) return;
  file ??= openSync(path, 'a');
  const { number, order } = event.data as TestData;
  const line: HistoryLine = {
    what,
    fn,
    id: event.id,
    type: event.type,
    subject: event.subject,
    number,
    order,
    attempt,
    position: event.position,
    pid: process.pid,
    thread: threadId,
  };
  writeSync(file, `${JSON.stringify(line)}\n`);
}

export function orderOf(event: TestEventView): { readonly name: Order; readonly ms: number } {
  const [name = '', ms = ''] = (event.data as TestData).order.split(':');
  if (!(ORDERS as readonly string[]).includes(name))
    throw new NonRetryableError(`the test ordered ${name}`);
  return { name: name as Order, ms: Number(ms) };
}

/** Follows the order. Returns a promise only where it has to: the plain case stays synchronous. */
export function behave(
  event: TestEventView,
  attempt: number,
  signal: AbortSignal,
): Promise<void> | void {
  const { name, ms } = orderOf(event);
  if (name === 'unhandled') {
    void Promise.reject(new Error('nobody handles this'));
    return ms > 0 ? delay(ms) : undefined;
  }
  if (name === 'gate') return gateOf(event.id, signal).then((order) => act(order, attempt, signal));
  if (ms > 0) return delay(ms).then(() => act(name, attempt, signal));
  return act(name, attempt, signal);
}

/** Waits for the order that the test writes for the event. */
async function gateOf(id: string, signal: AbortSignal): Promise<Order> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return readFileSync(`${process.env['TEST_HISTORY']}.gate-${id}`, 'utf8') as Order;
    } catch {
      await delay(10);
    }
  }
}

function act(name: Order, attempt: number, signal: AbortSignal): Promise<void> | void {
  switch (name) {
    case 'ok':
    case 'slow':
    case 'unhandled':
    case 'gate':
      return;
    case 'kill-dispatcher':
      // as the kernel's out-of-memory killer would
      process.kill(process.pid, 'SIGKILL');
      return;
    case 'throw':
      throw new Error('thrown as ordered');
    case 'throw-once':
      if (attempt === 1) throw new Error('thrown once as ordered');
      return;
    case 'reject':
      return Promise.reject(new Error('rejected as ordered'));
    case 'non-retryable':
      throw new NonRetryableError('never to be tried again');
    case 'non-error':
      throw 'a string is no error';
    case 'uncloneable':
      throw Object.assign(new Error('cannot be cloned'), {
        f: () => 1,
        s: Symbol('s'),
        self: globalThis,
      });
    case 'hang':
      return new Promise(() => {});
    case 'hang-polite':
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
      );
    case 'loop':
      for (;;) Math.random();
    case 'exit':
      process.exit(3);
    case 'oom': {
      const hoard: unknown[] = [];
      for (;;) hoard.push(new Array(10_000).fill(Math.random()));
    }
    case 'late-throw':
      setTimeout(() => {
        throw new Error('thrown when it was all over');
      }, 5);
      return;
  }
}

/** Runs a whole handler for one event: start, behave, end. */
export function handleOne(
  fn: string,
  event: TestEventView,
  attempt: number,
  signal: AbortSignal,
): Promise<void> | void {
  record('start', fn, event, attempt);
  const failed = (error: unknown): never => {
    record('fail', fn, event, attempt);
    throw error;
  };
  try {
    const outcome = behave(event, attempt, signal);
    if (outcome) return outcome.then(() => record('end', fn, event, attempt), failed);
  } catch (error) {
    return failed(error);
  }
  record('end', fn, event, attempt);
}

/** Quick retries, and a timeout that a handler does not exceed on a busy machine by itself. */
export const POLICY = {
  timeoutMs: 1500,
  retry: { attempts: 3, minDelayMs: 10, maxDelayMs: 50 },
} as const;
