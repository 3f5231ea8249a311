import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'ordered',
  on: ['test.event', 'test.other'],
  ...POLICY,
  handle: (event, ctx) => handleOne('ordered', event, ctx.attempt, ctx.signal),
});
