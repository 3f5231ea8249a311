/**
 * A user's function that writes down when its handler is called and how that ends. Loaded in the
 * pool's threads, in place of the function's own file; behaves as the function does, but for the
 * delays between attempts, which are cut short.
 */
import { openSync, writeSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import type { DefinedFunction } from '../define/define-function.ts';
import type { HandlerOp } from './run-record.ts';

/**
 * Lines appended by processes of one machine: a short line is written whole, and the file's order
 * is theirs.
 */
export function observed(definition: DefinedFunction, file: string): DefinedFunction {
  const { spec, handle, handleBatch, view } = definition;
  const history = openSync(file, 'a');
  const write = (
    what: HandlerOp['what'],
    { id, type, subject, position }: Pick<HandlerOp, 'id' | 'type' | 'subject' | 'position'>,
    attempt: number,
  ): void => {
    const op: HandlerOp = {
      what,
      fn: spec.name,
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
    handle:
      handle &&
      (async (event, ctx) => {
        write('start', event, ctx.attempt);
        try {
          await handle(event, ctx);
        } catch (error) {
          write('fail', event, ctx.attempt);
          throw error;
        }
        write('end', event, ctx.attempt);
      }),
    handleBatch:
      handleBatch &&
      (async (events, ctx) => {
        for (const event of events) write('start', event, ctx.attemptOf(event));
        let answer: unknown;
        try {
          answer = await handleBatch(events, ctx);
        } catch (error) {
          for (const event of events) write('fail', event, ctx.attemptOf(event));
          throw error;
        }
        const failed = new Set(
          Array.isArray(answer)
            ? (answer as { readonly id?: unknown }[]).map((failure) => failure.id)
            : [],
        );
        const stopped = new Set<string>();
        for (const event of events) {
          if (failed.has(event.id)) stopped.add(event.subject);
          // Behind a failed one of its subject it will run again: no success yet.
          write(
            (stopped.has(event.subject) && spec.ordering === 'key') || failed.has(event.id)
              ? 'fail'
              : 'end',
            event,
            ctx.attemptOf(event),
          );
        }
        return answer;
      }),
    view: view && {
      ...view,
      evolve(row, event) {
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
      },
    },
  };
}

/** Ids of torture's events end in their number within the subject. */
export const eventId = (subject: string, number: number): string => `${subject}#${number}`;
const numberOf = (id: string): number => Number(id.slice(id.lastIndexOf('#') + 1));
