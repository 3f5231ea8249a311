/** Emits as the event's payload says. */
import { defineFunction, type DefinedFunction } from '../../../../src/define/index.ts';
import { record } from '../behave.ts';
import { follow, planOf } from './_plan.ts';

export const emitter = (ordering: 'key' | 'none'): DefinedFunction =>
  defineFunction({
    name: 'emitter',
    ordering,
    on: ['test.event'],
    timeoutMs: 5000,
    retry: { attempts: 3, minDelayMs: 10, maxDelayMs: 50 },
    async handle(event, ctx) {
      record('start', 'emitter', event, ctx.attempt);
      await follow(planOf(event.data), ctx.emit.bind(ctx) as never, ctx.attempt);
      record('end', 'emitter', event, ctx.attempt);
    },
  });
