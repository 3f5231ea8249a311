import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'handle',
  on: ['test.event'],
  ...POLICY,
  handle: (event, ctx) => handleOne('handle', event, ctx.attempt, ctx.signal),
});
