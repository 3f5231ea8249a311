import { defineFunction } from '../../../../src/define/index.ts';
import { handleOne, POLICY } from '../behave.ts';

export default defineFunction({
  name: 'late',
  on: ['test.event'],
  startFrom: 'end',
  ...POLICY,
  handle: (event, ctx) => handleOne('late', event, ctx.attempt, ctx.signal),
});
