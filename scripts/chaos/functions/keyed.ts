import { defineFunction } from '../../../src/define/index.ts';
import type { TestData } from '../../lab/misbehaving-functions/behave.ts';
import { EMITS, plannedEmissions } from '../function-rules.ts';
import { handleOne, policy } from './_observed.ts';

export default defineFunction({
  name: 'keyed',
  on: ['test.event', 'test.other'],
  ...policy,
  handle(event, ctx) {
    const { number } = event.data as TestData;
    const planned = event.type === EMITS.on ? plannedEmissions(event.subject, number) : [];
    for (const { subject, order } of planned)
      ctx.emit(EMITS.type, { key: subject, number, order, filler: new Uint8Array(0) });
    return handleOne('keyed', event, ctx.attempt, ctx.signal, ctx.idempotencyKey);
  },
});
