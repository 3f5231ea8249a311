/**
 * The common part of the functions under chaos. They write their calls to the sink, and behave as
 * the event orders.
 */
import { threadId } from 'node:worker_threads';
import type { HandlerOp } from '../../../src/torture/run-record.ts';
import {
  behave,
  POLICY,
  type TestData,
  type TestEventView,
} from '../../lab/misbehaving-functions/behave.ts';
import { Sink } from '../sink.ts';

/** Quick retries, as in the tests. */
export const policy = POLICY;

let sink: Sink | null = null;
export const theSink = (): Sink => (sink ??= new Sink(process.env['CHAOS_SINK'] ?? ''));

export function opOf(
  what: HandlerOp['what'],
  fn: string,
  event: TestEventView,
  attempt: number,
): HandlerOp {
  const { id, type, subject, position } = event;
  return {
    what,
    fn,
    id,
    type,
    subject,
    number: (event.data as TestData).number,
    attempt,
    position,
    pid: process.pid,
    thread: threadId,
  };
}

/** Follows the order. Two more orders, `broken` and `held`, fail as long as the sink says so. */
export async function act(
  event: TestEventView,
  attempt: number,
  signal: AbortSignal,
): Promise<void> {
  const { order } = event.data as TestData;
  if (order !== 'broken' && order !== 'held') return behave(event, attempt, signal);
  if (await theSink().is(order)) throw new Error(`the called service is ${order}`);
}

export async function handleOne(
  fn: string,
  event: TestEventView,
  attempt: number,
  signal: AbortSignal,
  key: string,
): Promise<void> {
  await theSink().push(opOf('start', fn, event, attempt));
  try {
    await act(event, attempt, signal);
  } catch (error) {
    await theSink().push(opOf('fail', fn, event, attempt));
    throw error;
  }
  await theSink().effect(key, opOf('end', fn, event, attempt));
}
