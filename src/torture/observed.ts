/**
 * A user's function that writes down each call of its handler and the outcome. The pool's threads
 * load it in place of the function's own file. It behaves like the function, with shorter delays
 * between attempts.
 */
import { openSync, writeSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import type { DefinedFunction } from '../define/define-function.ts';
import type { HandlerOp } from './run-record.ts';

/**
 * Wraps the function. Processes of one machine append to the file: a short line is written whole,
 * so the lines stand in the order of the calls.
 */
export function observed(definition: DefinedFunction, file: string): DefinedFunction {
  const { spec, handle, handleBatch, view } = definition;
  const write = createWriter(spec.name, file);
  return {
    ...definition,
    spec: {
      ...spec,
      retry: {
        ...spec.retry,
        minDelayMs: Math.min(spec.retry.minDelayMs, 10),
        maxDelayMs: Math.min(spec.retry.maxDelayMs, 200),
      },
    },
    handle: handle && observedHandler(handle, write),
    handleBatch: handleBatch && observedBatchHandler(handleBatch, write, spec.ordering),
    view: view && { ...view, evolve: observedEvolve(view, write) },
  };
}

type Observable = Pick<HandlerOp, 'id' | 'type' | 'subject' | 'position'>;
type Write = (what: HandlerOp['what'], event: Observable, attempt: number) => void;
type Of<Field extends 'handle' | 'handleBatch' | 'view'> = NonNullable<DefinedFunction[Field]>;

function createWriter(fn: string, file: string): Write {
  const history = openSync(file, 'a');
  return (what, { id, type, subject, position }, attempt) => {
    const op: HandlerOp = {
      what,
      fn,
      id,
      type,
      subject,
      number: numberOf(id),
      attempt,
      position,
      pid: process.pid,
      thread: threadId,
    };
    writeSync(history, `${JSON.stringify(op)}\n`);
  };
}

function observedHandler(handle: Of<'handle'>, write: Write): Of<'handle'> {
  return async (event, ctx) => {
    write('start', event, ctx.attempt);
    try {
      await handle(event, ctx);
    } catch (error) {
      write('fail', event, ctx.attempt);
      throw error;
    }
    write('end', event, ctx.attempt);
  };
}

function observedBatchHandler(
  handleBatch: Of<'handleBatch'>,
  write: Write,
  ordering: DefinedFunction['spec']['ordering'],
): Of<'handleBatch'> {
  return async (events, ctx) => {
    for (const event of events) write('start', event, ctx.attemptOf(event));
    let answer: unknown;
    try {
      answer = await handleBatch(events, ctx);
    } catch (error) {
      for (const event of events) write('fail', event, ctx.attemptOf(event));
      throw error;
    }
    const failed = failedIds(answer);
    const stopped = new Set<string>();
    for (const event of events) {
      if (failed.has(event.id)) stopped.add(event.subject);
      // An event behind a failed one of its subject runs again: this is no success yet.
      const again = failed.has(event.id) || (stopped.has(event.subject) && ordering === 'key');
      write(again ? 'fail' : 'end', event, ctx.attemptOf(event));
    }
    return answer;
  };
}

function failedIds(answer: unknown): Set<unknown> {
  if (!Array.isArray(answer)) return new Set();
  return new Set((answer as { readonly id?: unknown }[]).map((failure) => failure.id));
}

function observedEvolve(view: Of<'view'>, write: Write): Of<'view'>['evolve'] {
  return (row, event) => {
    write('start', event, 1);
    let next: unknown;
    try {
      next = view.evolve(row, event);
    } catch (error) {
      write('fail', event, 1);
      throw error;
    }
    write('end', event, 1);
    return next;
  };
}

/** Ids of torture's events end with their number within the subject. */
export const eventId = (subject: string, number: number): string => `${subject}#${number}`;
const numberOf = (id: string): number => Number(id.slice(id.lastIndexOf('#') + 1));
